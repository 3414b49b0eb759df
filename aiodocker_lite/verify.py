"""Checking bytes against a promise while they pass by."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from aiodocker_lite.errors import DigestMismatch, SizeMismatch

if TYPE_CHECKING:
    from aiodocker_lite.digest import Digest


class Verifier:
    """Told what to expect, fed every byte, ends in silence or in an error.

    `finish` belongs after the end of the stream that has the digest, never after the end of
    something inside it: a tail that nobody read is a tail that nobody checked.
    """

    def __init__(self, what: str, expected: Digest, size: int | None = None) -> None:
        self.received = 0
        self._what = what
        self._expected = expected
        self._size = size
        self._hash = hashlib.new(expected.algorithm)

    def update(self, chunk: bytes | bytearray | memoryview) -> None:
        """Take the next bytes. Raises SizeMismatch as soon as there are too many."""
        self.received += len(chunk)
        if self._size is not None and self.received > self._size:
            raise SizeMismatch(self._what, self._size, self.received)
        self._hash.update(chunk)

    def finish(self) -> None:
        """Everything was fed. Raises SizeMismatch or DigestMismatch."""
        if self._size is not None and self.received != self._size:
            raise SizeMismatch(self._what, self._size, self.received)
        actual = f"{self._expected.algorithm}:{self._hash.hexdigest()}"
        if actual != str(self._expected):
            raise DigestMismatch(self._what, str(self._expected), actual)


def verify(what: str, content: bytes, expected: Digest, size: int | None = None) -> None:
    """Check bytes that are all there. Raises SizeMismatch or DigestMismatch."""
    verifier = Verifier(what, expected, size)
    verifier.update(content)
    verifier.finish()
