"""A layer's compressed bytes to its plain bytes: gzip, zstd, or plain as it is."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

from aiodocker_lite.errors import InvalidLayer, UnsupportedCompression
from aiodocker_lite.inflate import SNIFFED, Damaged, compression_of, decompressed, unsupported_of


def plain_blocks(compressed: Iterator[bytes], layer: str) -> Iterator[bytes]:
    """Yield the plain bytes of a layer in bounded blocks; the input is read to its end.

    Raises InvalidLayer for broken or truncated data, UnsupportedCompression for other compressors.
    """
    first = b""
    for chunk in compressed:
        first += chunk
        if len(first) >= SNIFFED:
            break
    if unsupported := unsupported_of(first):
        raise UnsupportedCompression(f"layer {layer}", unsupported)
    whole = chain([first] if first else [], compressed)
    if (kind := compression_of(first)) is None:
        yield from whole
        return
    try:
        yield from decompressed(whole, kind)
    except Damaged as error:
        raise InvalidLayer(layer, str(error)) from error
