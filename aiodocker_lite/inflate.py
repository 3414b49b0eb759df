"""gzip, zstd, xz and bzip2: compressed bytes in, plain bytes out, in this process and bounded.

What it is, the first bytes say: media types and file names lie in the wild (T11). Output comes in
blocks whatever the ratio, and a window or dictionary larger than any default is refused.
RFC 1952 (gzip, several members), RFC 8878 (zstd, several frames, skippable frames).
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from typing import Literal, Protocol

Compression = Literal["gzip", "zstd", "xz", "bzip2"]

BLOCK = 1 << 20
"""Bytes of the largest block that comes out at once."""
SNIFFED = 6
"""Bytes that are needed to tell what it is."""
_FOREIGN = {b"\x04\x22\x4d\x18": "lz4", b"PK\x03\x04": "zip"}
_ZSTD_WINDOW_LOG_MAX = 27
_XZ_MEMORY_MAX = 256 << 20
_GZIP_HEADER_MAX = 1 << 20


class Damaged(ValueError):
    """Compressed data that is broken, truncated, or followed by something else; the text says which."""


class _Decoder(Protocol):
    """What the decompressors have in common: one member, frame or stream."""

    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int) -> bytes: ...


def compression_of(first: bytes) -> Compression | None:
    """What data that begins with these bytes is compressed with."""
    if first.startswith(b"\x1f\x8b"):
        return "gzip"
    # zstd data may begin with skippable frames, whose magic has 16 forms.
    if first.startswith(b"\x28\xb5\x2f\xfd") or (first[1:4] == b"\x2a\x4d\x18" and first[0] >> 4 == 5):
        return "zstd"
    if first.startswith(b"\xfd7zXZ\x00"):
        return "xz"
    return "bzip2" if first.startswith(b"BZh") else None


def unsupported_of(first: bytes) -> str | None:
    """What data is compressed with, if that is nothing for a layer."""
    if (kind := compression_of(first)) in ("xz", "bzip2"):
        return kind
    return next((name for magic, name in _FOREIGN.items() if first.startswith(magic)), None)


def decompressed(compressed: Iterator[bytes], kind: Compression) -> Iterator[bytes]:
    """Decompress one member after the other, in blocks; zeros behind a member are padding.

    The input is read to its end. Raises Damaged.
    """
    new = _new_decoder(kind)
    decoder, fresh = new(), True
    for piece in compressed:
        data = piece
        while data or not (fresh or decoder.needs_input):
            if fresh:
                if not (data := data.lstrip(b"\0")):
                    break
                if kind == "gzip":
                    data = _with_whole_header(data, compressed)
            try:
                if fresh and kind == "zstd":
                    # A frame that comes whole is decoded in one go, and its window has no limit then.
                    decoder.decompress(data[:1], BLOCK)
                    data = data[1:]
                block = decoder.decompress(data, BLOCK)
            except Exception as error:  # isal, zlib, zstd, lzma and bz2 have no common class of errors
                raise Damaged(f"its {kind} data is damaged ({error})") from error
            data, fresh = b"", False
            if block:
                yield block
            if decoder.eof:
                data = decoder.unused_data
                decoder, fresh = new(), True
    if not fresh:
        raise Damaged(f"it is truncated: its {kind} data ends too early")


def load_decoders() -> None:
    """Import what layers need, for a process that soon cannot import anything any more."""
    _new_decoder("gzip")
    _new_decoder("zstd")


def _new_decoder(kind: Compression) -> Callable[[], _Decoder]:
    match kind:
        case "gzip":
            try:
                from isal import igzip_lib
            except ImportError:
                return _ZlibGzip
            return lambda: igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_GZIP)
        case "zstd":
            return _zstd_decoder()
        case "xz":
            import lzma

            return lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_XZ_MEMORY_MAX)
        case "bzip2":
            import bz2

            return bz2.BZ2Decompressor


def _zstd_decoder() -> Callable[[], _Decoder]:
    try:
        from backports.zstd import DecompressionParameter, ZstdDecompressor
    except ImportError:
        from compression.zstd import (  # type: ignore[import-not-found,no-redef]
            DecompressionParameter,
            ZstdDecompressor,
        )
    options = {int(DecompressionParameter.window_log_max): _ZSTD_WINDOW_LOG_MAX}
    return lambda: ZstdDecompressor(options=options)


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


def _with_whole_header(data: bytes, compressed: Iterator[bytes]) -> bytes:
    """Enough input that the header of a gzip member is in one piece.

    ISA-L (2.31) loses its place in a header that has both an extra field and a name and comes
    in two pieces. What never gets whole is left for the decoder to refuse.
    """
    while not _has_whole_header(data) and len(data) < _GZIP_HEADER_MAX:
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
