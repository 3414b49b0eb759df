"""The content of one file into another: shared where the file system can, else copied, holes left out."""

from __future__ import annotations

import errno
import fcntl
import os

_FICLONE = 0x40049409  # ioctl_ficlonerange(2)
_AT_ONCE = 1 << 30


def copy_content(reading: int, writing: int) -> None:
    """Make an empty file the same as another; both are descriptors. Raises OSError."""
    try:
        fcntl.ioctl(writing, _FICLONE, reading)
    except OSError:  # this file system cannot share blocks
        _copy_data(reading, writing)


def _copy_data(reading: int, writing: int) -> None:
    size = os.fstat(reading).st_size
    os.ftruncate(writing, size)
    end = 0
    while (start := _next_data(reading, end)) is not None:
        end = os.lseek(reading, start, os.SEEK_HOLE)
        os.lseek(writing, start, os.SEEK_SET)
        while start < end:
            sent = os.sendfile(writing, reading, start, min(end - start, _AT_ONCE))
            if not sent:
                return  # it became shorter meanwhile
            start += sent


def _next_data(fd: int, position: int) -> int | None:
    try:
        return os.lseek(fd, position, os.SEEK_DATA)
    except OSError as error:
        if error.errno != errno.ENXIO:
            raise
        return None
