"""Writing so that a power cut leaves the old state or the new one, and nothing between."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from aiodocker_lite.errors import DiskFull, StoreUnwritable


@contextmanager
def store_errors(path: Path) -> Iterator[None]:
    """Translate what the operating system says about the store. Raises DiskFull, StoreUnwritable."""
    try:
        yield
    except OSError as error:
        where = str(error.filename or path)
        reason = os.strerror(error.errno) if error.errno else str(error)
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskFull(where, reason) from error
        raise StoreUnwritable(where, reason) from error


def sync_directory(path: Path) -> None:
    """Make the names in a directory durable."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def write_durably(path: Path, content: bytes, *, beside: Path) -> None:
    """Put a small file in place, whole: written in `beside`, synced, renamed, directory synced.

    Raises DiskFull, StoreUnwritable; then the file is as it was.
    """
    temporary = beside / f"{path.name}.{os.getpid()}.tmp"
    with store_errors(path):
        try:
            with temporary.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            temporary.rename(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        sync_directory(path.parent)


def remove_tree(path: Path) -> None:
    """Remove a directory with all that is in it, also what its modes forbid to its owner."""
    import shutil

    def open_up(
        retry: Callable[[str], object], name: str, error: tuple[object, BaseException, object]
    ) -> None:
        if not isinstance(error[1], PermissionError) or Path(name).is_symlink():
            raise error[1]
        Path(name).parent.chmod(0o700)
        if Path(name).is_dir():
            Path(name).chmod(0o700)
            shutil.rmtree(name)
        else:
            retry(name)

    with store_errors(path):
        shutil.rmtree(path, onerror=open_up)
