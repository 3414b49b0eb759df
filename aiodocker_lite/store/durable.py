"""Writing so that a power cut leaves the old state or the new one, and nothing between."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from aiodocker_lite import syscalls
from aiodocker_lite.errors import DiskFull, StoreCorrupt, StoreUnreadable, StoreUnwritable


@contextmanager
def store_errors(path: Path) -> Iterator[None]:
    """Translate what the operating system says about the store. Raises DiskFull, StoreUnwritable."""
    try:
        yield
    except OSError as error:
        # Of two names the second one is the place; a name below an open directory says too little.
        named = error.filename2 or error.filename
        where = named if isinstance(named, str) and named.startswith("/") else str(path)
        reason = os.strerror(error.errno) if error.errno else str(error)
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskFull(where, reason) from error
        raise StoreUnwritable(where, reason) from error


@contextmanager
def reading_errors(path: Path) -> Iterator[None]:
    """The same where nothing is written. Raises StoreUnreadable."""
    try:
        yield
    except OSError as error:
        where = error.filename if isinstance(error.filename, str) else str(path)
        raise StoreUnreadable(where, error.strerror or str(error)) from error


def cannot_read(path: Path, error: OSError) -> StoreCorrupt | StoreUnreadable:
    """What to say of a file that cannot be read: it is no file, or this user, or the disk, does not permit it."""
    is_no_file = error.errno in (errno.ELOOP, errno.EISDIR, errno.ENOTDIR)
    kind = StoreCorrupt if is_no_file else StoreUnreadable
    return kind(str(path), error.strerror or str(error))


def sync_directory(path: Path) -> None:
    """Make the names in a directory durable."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def sync_filesystem(path: Path) -> None:
    """Make everything durable that was written to the file system of this directory."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        syscalls.syncfs(fd)
    finally:
        os.close(fd)


def write_durably(path: Path, content: bytes, *, beside: Path, replace: bool = True) -> None:
    """Put a small file in place, whole: written in `beside`, synced, renamed, directory synced.

    Without `replace`, one that is there already stays. Raises DiskFull, StoreUnwritable; then the
    file is as it was, or, if only the directory could not be synced, new and whole.
    """
    # Not our process ID: two containers that share a store may have the same.
    temporary = beside / f"{path.name}.{os.urandom(6).hex()}.tmp"
    with store_errors(path):
        try:
            with temporary.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            if replace:
                temporary.rename(path)
            else:
                with suppress(FileExistsError):
                    path.hardlink_to(temporary)
        finally:
            temporary.unlink(missing_ok=True)
        sync_directory(path.parent)
