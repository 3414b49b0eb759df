"""gzip, zstd or plain: compressed bytes in, plain bytes out, told apart by their first bytes.

Media types lie in the wild (T11), so nobody here asks for them. Output comes in bounded blocks,
whatever the ratio. RFC 1952 (gzip, several members), RFC 8878 (zstd, several frames,
skippable frames).
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from typing import Protocol

from aiodocker_lite.errors import InvalidLayer, UnsupportedMediaType

BLOCK = 1 << 20
"""Bytes of the largest block that comes out at once."""
_GZIP = b"\x1f\x8b"
_ZSTD = b"\x28\xb5\x2f\xfd"
_ZSTD_SKIPPABLE = b"\x2a\x4d\x18"
_ZSTD_WINDOW_LOG_MAX = 27
_OTHERS = {b"BZh": "bzip2", b"\xfd7zXZ\x00": "xz", b"\x04\x22\x4d\x18": "lz4", b"PK\x03\x04": "zip"}
_SNIFFED = 6
_HEADER_MAX = 1 << 20


class Decoder(Protocol):
    """What isal, zlib and zstd have in common: one gzip member or zstd frame."""

    @property
    def eof(self) -> bool:
        """The member or frame is complete."""

    @property
    def needs_input(self) -> bool:
        """Nothing more comes without more input."""

    @property
    def unused_data(self) -> bytes:
        """What was fed beyond the end."""

    def decompress(self, data: bytes, max_length: int) -> bytes:
        """Feed `data`, get at most `max_length` bytes."""


class _ZlibGzip:
    """Python's own zlib in the same shape, for machines without isal."""

    def __init__(self) -> None:
        self._inflate = zlib.decompressobj(wbits=31)

    @property
    def eof(self) -> bool:
        return self._inflate.eof

    @property
    def needs_input(self) -> bool:
        return not self._inflate.unconsumed_tail and not self.eof

    @property
    def unused_data(self) -> bytes:
        return self._inflate.unused_data

    def decompress(self, data: bytes, max_length: int) -> bytes:
        return self._inflate.decompress(self._inflate.unconsumed_tail + data, max_length)


def _gzip_decoder() -> Callable[[], Decoder]:
    try:
        from isal import igzip_lib
    except ImportError:
        return _ZlibGzip
    return lambda: igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_GZIP)


def _zstd_decoder() -> Callable[[], Decoder]:
    try:
        from backports.zstd import DecompressionParameter, ZstdDecompressor
    except ImportError:
        from compression.zstd import (  # type: ignore[import-not-found,no-redef]
            DecompressionParameter,
            ZstdDecompressor,
        )
    options = {int(DecompressionParameter.window_log_max): _ZSTD_WINDOW_LOG_MAX}
    return lambda: ZstdDecompressor(options=options)


def plain_blocks(compressed: Iterator[bytes], layer: str) -> Iterator[bytes]:
    """Yield the plain bytes of a layer in blocks of at most `BLOCK`; the input is read to its end.

    Raises InvalidLayer for broken or truncated data, UnsupportedMediaType for other compressors.
    """
    first = b""
    for chunk in compressed:
        first += chunk
        if len(first) >= _SNIFFED:
            break
    if first.startswith(_GZIP):
        whole = _with_whole_header(first, compressed)
        yield from _decoded(whole, compressed, _gzip_decoder(), layer, "gzip")
    elif first.startswith(_ZSTD) or first[1:4] == _ZSTD_SKIPPABLE:
        yield from _decoded(first, compressed, _zstd_decoder(), layer, "zstd")
    else:
        for magic, name in _OTHERS.items():
            if first.startswith(magic):
                raise UnsupportedMediaType(f"layer {layer}", name)
        if first:
            yield first
        yield from compressed


def _decoded(
    data: bytes, compressed: Iterator[bytes], new_decoder: Callable[[], Decoder], layer: str, name: str
) -> Iterator[bytes]:
    """One member after the other, until the input ends where a member ends."""
    decoder = new_decoder()
    fed = False
    while True:
        if not data and decoder.needs_input and not decoder.eof:
            data = next(compressed, b"")
            if not data:
                if fed:
                    raise InvalidLayer(layer, f"its {name} data ends too early")
                return
        fed = fed or bool(data)
        try:
            block = decoder.decompress(data, BLOCK)
        except Exception as error:  # isal, zlib and zstd have no common class of errors
            raise InvalidLayer(layer, f"its {name} data is damaged ({error})") from error
        data = b""
        if block:
            yield block
        if decoder.eof:
            data = _next_member(decoder.unused_data, compressed, name)
            if name == "gzip":
                data = _with_whole_header(data, compressed)
            if not data:
                return
            decoder = new_decoder()
            fed = False


def _next_member(rest: bytes, compressed: Iterator[bytes], name: str) -> bytes:
    """What follows a member. Zeros after gzip are padding, as tape drives and gzip(1) have it."""
    while True:
        if name == "gzip":
            rest = rest.lstrip(b"\0")
        if rest:
            return rest
        rest = next(compressed, b"")
        if not rest:
            return b""


def _with_whole_header(data: bytes, compressed: Iterator[bytes]) -> bytes:
    """Enough input that the header of a gzip member is in one piece.

    ISA-L (2.31) loses its place in a header that has both an extra field and a name and comes
    in two pieces. What never gets whole is left for the decoder to refuse.
    """
    while data and not _has_whole_header(data) and len(data) < _HEADER_MAX:
        more = next(compressed, b"")
        if not more:
            break
        data += more
    return data


def _has_whole_header(data: bytes) -> bool:
    """RFC 1952, 2.3: ten bytes, then an extra field, a name and a comment as the flags say."""
    if len(data) < 10:
        return False
    flags = data[3]
    position = 10
    if flags & 0x04:
        if len(data) < position + 2:
            return False
        position += 2 + int.from_bytes(data[position : position + 2], "little")
    for flag in (0x08, 0x10):
        if flags & flag:
            position = data.find(b"\0", position) + 1
            if position == 0:
                return False
    return len(data) >= position + (2 if flags & 0x02 else 0)
