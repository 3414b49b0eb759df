"""Where an archive goes: a file that is whole or absent, or a stream that may have a slow reader."""

from __future__ import annotations

import errno
import io
import os
import select
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from aiodocker_lite.archive.pack import Write
from aiodocker_lite.errors import ArchiveUnwritable, DiskFull

_IMPATIENCE = 500
"""Milliseconds after which a writer to a full pipe asks whether anybody still wants it."""
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_NO_UNNAMED = (errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL, errno.ENOENT)
"""What a file system or a kernel says that has no files without a name."""


@contextmanager
def open_output(target: Path | BinaryIO, name: str, on_wait: Callable[[], None]) -> Iterator[Write]:
    """Write to a file, which is in its place and durable when the block has ended well; or to a stream.

    `name` stands in errors. A path that leads to a pipe or a device is a stream too. `on_wait` is
    called while a stream takes nothing; what it raises ends the writing. Raises
    ArchiveUnwritable, DiskFull, and BrokenPipeError where the reader of a stream has gone.
    """
    with _errors(name):
        if not isinstance(target, Path):
            with _stream(target) as fd:
                yield target.write if fd is None else _writer(fd, name, on_wait)
        elif _is_stream(target):
            fd = os.open(target, os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
            with os.fdopen(fd, "wb", buffering=0):
                yield _writer(fd, name, on_wait)
        else:
            # A link stays, and what it leads to is replaced.
            with _new_file(target.resolve()) as fd:
                yield _writer(fd, name, on_wait)


def _is_stream(path: Path) -> bool:
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return False
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    return not stat.S_ISREG(mode)


@contextmanager
def _new_file(path: Path) -> Iterator[int]:
    """A file without a name, where that can be had, so that whoever is killed leaves nothing behind."""
    temporary = f".{os.urandom(8).hex()}.tmp"
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fd, has_name = _open_new(temporary, directory)
        try:
            yield fd
            os.fsync(fd)
            if not has_name:
                # Not straight to its place: a link replaces nothing.
                os.link(f"/proc/self/fd/{fd}", temporary, src_dir_fd=directory, dst_dir_fd=directory)
            os.rename(temporary, path.name, src_dir_fd=directory, dst_dir_fd=directory)
        finally:
            os.close(fd)
            with suppress(FileNotFoundError):
                os.unlink(temporary, dir_fd=directory)
        os.fsync(directory)
    finally:
        os.close(directory)


def _open_new(temporary: str, directory: int) -> tuple[int, bool]:
    """The descriptor of a new file that only its owner may read, as docker's, and whether it has a name."""
    flags = os.O_WRONLY | os.O_CLOEXEC
    try:
        return os.open(".", flags | os.O_TMPFILE, 0o600, dir_fd=directory), False
    except OSError as error:
        if error.errno not in _NO_UNNAMED:
            raise
    return os.open(temporary, flags | os.O_CREAT | os.O_EXCL, 0o600, dir_fd=directory), True


@contextmanager
def _stream(target: BinaryIO) -> Iterator[int | None]:
    """A descriptor for the stream that does not block, where that can be had; None if it has none at all."""
    try:
        given = target.fileno()
    except io.UnsupportedOperation:
        yield None
        return
    fd = os.dup(given)
    if stat.S_ISFIFO(os.fstat(fd).st_mode):
        # Opened anew, for not to block is a property that all who share an open file would have.
        with suppress(OSError):  # somebody else's pipe: a writer that waits for it cannot be called back
            anew = os.open(f"/proc/self/fd/{fd}", os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            os.close(fd)
            fd = anew
    try:
        yield fd
    finally:
        os.close(fd)


def _writer(fd: int, name: str, on_wait: Callable[[], None]) -> Write:
    if os.isatty(fd):
        raise ArchiveUnwritable(name, "cowardly refusing to save to a terminal; give a file, or redirect")
    ready = select.poll()
    ready.register(fd, select.POLLOUT)

    def write(content: bytes) -> None:
        left = memoryview(content)
        while left:
            while not ready.poll(_IMPATIENCE):
                on_wait()
            with suppress(BlockingIOError):  # another writer was faster
                left = left[os.write(fd, left) :]

    return write


@contextmanager
def _errors(name: str) -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        reason = error.strerror or str(error)
        if error.errno in _FULL:
            raise DiskFull(name, reason) from error
        raise ArchiveUnwritable(name, reason) from error
