"""Undoing a Content-Encoding that nobody asked for, as some caches apply it (RFC 9110, 8.4)."""

from __future__ import annotations

import zlib
from collections.abc import AsyncIterator, Mapping
from typing import Self

from aiodocker_lite.errors import RegistryUnavailable

_WINDOW_BITS = {"gzip": 31, "x-gzip": 31, "deflate": 15}
_BLOCK = 1 << 20


def encoding_of(headers: Mapping[str, str]) -> str:
    """Content-Encoding in lower case; empty where the bytes are as they are stored."""
    encoding = headers.get("Content-Encoding", "").strip().lower()
    return "" if encoding == "identity" else encoding


def can_undo(encoding: str) -> bool:
    """Whether `Decoded` knows an encoding."""
    return encoding in _WINDOW_BITS


class Decoded:
    """The bytes behind an encoding, in blocks however well it compresses: who reads sets the limit.

    A plain iterator and not a generator: one that is left half-way has nothing to clean up.
    """

    def __init__(self, body: AsyncIterator[bytes], encoding: str, sender: str) -> None:
        self._body = body
        self._sender = sender
        self._bits = _WINDOW_BITS[encoding]
        self._inflate = zlib.decompressobj(self._bits)
        self._rest = b""

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        while True:
            if not self._rest:
                try:
                    self._rest = await anext(self._body)
                except StopAsyncIteration:
                    if self._inflate.eof:
                        raise
                    raise self._damaged("it ends early") from None
            if self._inflate.eof:
                self._inflate = zlib.decompressobj(self._bits)  # gzip may have several members
            try:
                block = self._inflate.decompress(self._rest, _BLOCK)
            except zlib.error as error:
                raise self._damaged(str(error)) from error
            self._rest = self._inflate.unconsumed_tail or self._inflate.unused_data
            if block:
                return block

    def _damaged(self, reason: str) -> RegistryUnavailable:
        return RegistryUnavailable(self._sender, f"the encoding of what it sent is damaged: {reason}")
