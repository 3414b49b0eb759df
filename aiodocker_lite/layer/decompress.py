"""A layer's compressed bytes to its plain bytes: gzip, zstd, or plain as it is."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

from aiodocker_lite.errors import InvalidLayer, UnsupportedMediaType
from aiodocker_lite.inflate import SNIFFED, Damaged, compression_of, decompressed

_OTHERS = {b"\x04\x22\x4d\x18": "lz4", b"PK\x03\x04": "zip"}


def plain_blocks(compressed: Iterator[bytes], layer: str) -> Iterator[bytes]:
    """Yield the plain bytes of a layer in bounded blocks; the input is read to its end.

    Raises InvalidLayer for broken or truncated data, UnsupportedMediaType for other compressors.
    """
    first = b""
    for chunk in compressed:
        first += chunk
        if len(first) >= SNIFFED:
            break
    kind = compression_of(first)
    foreign = next((name for magic, name in _OTHERS.items() if first.startswith(magic)), None)
    if kind in ("xz", "bzip2") or foreign:
        raise UnsupportedMediaType(f"layer {layer}", kind or foreign or "")
    whole = chain([first] if first else [], compressed)
    if kind is None:
        yield from whole
        return
    try:
        yield from decompressed(whole, kind)
    except Damaged as error:
        raise InvalidLayer(layer, str(error)) from error
