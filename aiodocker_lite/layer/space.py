"""Free space: a layer may not take the last of it from whoever else writes to this disk."""

from __future__ import annotations

import os
from pathlib import Path

from aiodocker_lite.errors import DiskFull

_SHARE = 20
_EVERY = 64 << 20
_ENTRY = 4096


def room_in(directory: int | Path, kept: int) -> int:
    """Bytes that may be taken of the file system of a directory, with as much left free; negative if none may."""
    found = os.statvfs(directory)
    return found.f_bavail * found.f_frsize - _kept(found, kept)


def _kept(found: os.statvfs_result, kept: int) -> int:
    return min(kept, found.f_blocks * found.f_frsize // _SHARE)


class Space:
    """Looks now and then how much is left."""

    def __init__(self, directory: int, kept: int) -> None:
        """`kept` bytes stay free of the file system of this open directory, or 5 % of it if that is less."""
        self._directory = directory
        self._kept = _kept(os.fstatvfs(directory), kept)
        self._taken = _EVERY

    def take(self, size: int) -> None:
        """An entry of so many bytes comes. Raises DiskFull before there is too little left."""
        self._taken += size + _ENTRY
        if self._kept and self._taken >= _EVERY:
            self._taken = 0
            found = os.fstatvfs(self._directory)
            free = found.f_bavail * found.f_frsize - size
            if free < self._kept:
                reason = f"{max(free, 0)} bytes would be left, and {self._kept} have to stay free (--limit free_bytes=…)"
                raise DiskFull("the layer's directory", reason)
