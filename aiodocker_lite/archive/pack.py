"""A tar file, member after member, into whatever takes its bytes.

POSIX.1-2001 pax(1): ustar headers, with extended ones only for what these cannot say. Nothing of
this machine is in it, no times, owners or rights: the same content is the same tar file.
"""

from __future__ import annotations

import tarfile
from collections.abc import Callable, Iterable
from typing import TypeAlias

Write: TypeAlias = Callable[[bytes], object]
"""Takes the next bytes, all of them."""

_RECORD = 512
_END = bytes(2 * _RECORD)


class Packer:
    """Writes one tar file; `end` belongs to it."""

    def __init__(self, write: Write) -> None:
        self._write = write

    def file(self, name: str, size: int, blocks: Iterable[bytes]) -> None:
        """Add a regular file, whose size stands before its content."""
        header = tarfile.TarInfo(name)
        header.size = size
        self._write(header.tobuf(tarfile.PAX_FORMAT))
        written = 0
        for block in blocks:
            written += len(block)
            self._write(block)
        assert written == size, f"{name} has {written} bytes, and its header says {size}"
        self._write(bytes(-size % _RECORD))

    def end(self) -> None:
        """Write the end mark, without which a tar file counts as cut off."""
        self._write(_END)
