"""A part of a blob, as an answer brings it: where it begins, and that it does not end early.

RFC 9110, 14 (Range Requests); some registries ignore a range, and some storage gives another.
"""

from __future__ import annotations

from typing import Self

from aiodocker_lite.errors import RegistryMisbehaved, RegistryUnavailable, SizeMismatch
from aiodocker_lite.manifest import Descriptor
from aiodocker_lite.registry.answers import HTML, content_range_of, media_type_of
from aiodocker_lite.registry.wire import Answer


class Part:
    """A part of a blob, up to `end`: drops what comes before it, and says so when it ends early."""

    def __init__(self, answer: Answer, *, skip: int, start: int, end: int) -> None:
        self.end = end
        self._answer = answer
        self._skip = skip
        self._missing = end - start

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        while True:
            try:
                chunk = await anext(self._answer.body)
            except StopAsyncIteration:
                if self._missing > 0:
                    raise RegistryUnavailable(
                        self._answer.sender, f"the connection ended {self._missing} bytes early"
                    ) from None
                raise
            if self._skip:
                dropped = min(self._skip, len(chunk))
                self._skip -= dropped
                chunk = chunk[dropped:]
            if chunk:
                self._missing -= len(chunk)
                return chunk


def range_header(offset: int, end: int, size: int) -> dict[str, str]:
    """What asks for these bytes of so many; nothing where it is all of them."""
    if (offset, end) == (0, size):
        return {}
    return {"Range": f"bytes={offset}-" if end == size else f"bytes={offset}-{end - 1}"}


def extent_of(answer: Answer, blob: Descriptor, offset: int, end: int) -> tuple[int, int]:
    """The first byte of an answer and the byte after its last. Raises where it is not of this blob."""
    length = answer.headers.get("Content-Length", "")
    if answer.status == 206:
        extent = content_range_of(answer.headers)
        if (
            extent is None
            or extent[0] != offset
            or not offset < extent[1] <= end
            or extent[2] not in (None, blob.size)
        ):
            given = answer.headers.get("Content-Range", media_type_of(answer.headers))
            raise RegistryUnavailable(
                answer.sender, f"it sent '{given}' where bytes {offset} to {end} were asked for"
            )
        return offset, extent[1]
    media_type = media_type_of(answer.headers)
    encoding = answer.headers.get("Content-Encoding", "identity").lower()
    if length != str(blob.size):
        if media_type in HTML:
            raise RegistryMisbehaved(answer.sender, f"it sent '{media_type}' instead of a blob")
        if encoding != "identity":
            raise RegistryMisbehaved(answer.sender, f"it sent a blob with the encoding '{encoding}'")
        if length:
            raise SizeMismatch(f"blob {blob.digest.short}", blob.size, int(length))
    return 0, blob.size
