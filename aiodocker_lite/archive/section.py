"""Some bytes of an open file, read by position: threads share it without a lock."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace

from aiodocker_lite.errors import InvalidArchive

BLOCK = 1 << 20
"""Bytes that are read at once where somebody reads a whole section."""


@dataclass(frozen=True, slots=True)
class Section:
    """`size` bytes from `offset` on of an open file that belongs to the archive of this name."""

    fd: int
    offset: int
    size: int
    archive: str

    def part(self, offset: int, size: int) -> Section:
        """A section of this section; the caller has checked that it lies inside."""
        return replace(self, offset=self.offset + offset, size=size)

    def read_at(self, offset: int, length: int) -> bytes:
        """All of these bytes, fewer only at the end. Raises InvalidArchive where the file lacks them."""
        wanted = min(length, self.size - offset)
        pieces: list[bytes] = []
        while wanted > 0:
            try:
                piece = os.pread(self.fd, min(wanted, BLOCK), self.offset + offset)
            except OSError as error:
                raise InvalidArchive(self.archive, f"it cannot be read: {error.strerror}") from error
            if not piece:
                raise InvalidArchive(self.archive, "it became shorter while it was read")
            pieces.append(piece)
            offset += len(piece)
            wanted -= len(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def blocks(self) -> Iterator[bytes]:
        """Everything, in order, in pieces of at most `BLOCK` bytes."""
        for offset in range(0, self.size, BLOCK):
            yield self.read_at(offset, BLOCK)
