"""Compressed bytes to plain bytes: what is accepted, and what is refused in a sentence."""

from __future__ import annotations

import bz2
import gzip
import lzma
import subprocess
import zlib
from collections.abc import Iterator

import pytest

from aiodocker_lite.errors import InvalidLayer, UnsupportedMediaType
from aiodocker_lite.inflate import BLOCK
from aiodocker_lite.layer.decompress import plain_blocks


def zstd(content: bytes, *options: str) -> bytes:
    return subprocess.run(
        ["zstd", "-q", "-c", *options], input=content, capture_output=True, check=True
    ).stdout


def pieces(content: bytes, size: int = 1000) -> Iterator[bytes]:
    for start in range(0, len(content), size):
        yield content[start : start + size]


def plain(content: bytes, size: int = 1000) -> bytes:
    return b"".join(plain_blocks(pieces(content, size), "abc"))


TEXT = b"a layer's plain bytes, " * 5000
SKIPPABLE = b"\x5a\x2a\x4d\x18" + (7).to_bytes(4, "little") + b"ignored"


@pytest.mark.parametrize(
    "compressed",
    [
        TEXT,
        gzip.compress(TEXT),
        gzip.compress(TEXT[:100]) + gzip.compress(TEXT[100:]),
        gzip.compress(TEXT) + bytes(3000),
        b"\x1f\x8b\x08\x1c" + bytes(6) + b"\x05\x00extra" + b"name\0" + b"comment\0" + gzip.compress(TEXT)[10:],
        zstd(TEXT),
        zstd(TEXT, "--no-check", "--no-content-size"),
        zstd(TEXT[:100]) + zstd(TEXT[100:]),
        SKIPPABLE + zstd(TEXT) + SKIPPABLE,
        SKIPPABLE + SKIPPABLE + zstd(TEXT),
    ],
    ids=[
        "plain", "gzip", "gzip-members", "gzip-trailing-zeros", "gzip-extra-fields",
        "zstd", "zstd-without-checksum", "zstd-frames", "zstd-skippable-frames", "zstd-skippable-first",
    ],
)  # fmt: skip
@pytest.mark.parametrize("size", [1, 7, 1000, 1 << 20])
def test_every_usual_compression_gives_the_same_bytes(compressed: bytes, size: int) -> None:
    """Members, frames and padding do not show in the result, however the input is cut (T07-T09)."""
    assert plain(compressed, size) == TEXT


@pytest.mark.parametrize(
    ("compressed", "reason"),
    [
        (gzip.compress(TEXT)[:-20], "ends too early"),
        (gzip.compress(TEXT)[:-1], "ends too early"),
        (gzip.compress(TEXT)[:-8] + bytes(8), "damaged"),
        (gzip.compress(TEXT) + b"junk that is no member", "damaged"),
        (gzip.compress(TEXT) + gzip.compress(TEXT)[:40], "ends too early"),
        (zstd(TEXT)[:-10], "ends too early"),
        (zstd(TEXT) + b"junk", "damaged"),
        (zstd(TEXT)[:-4] + bytes(4), "damaged"),
    ],
)
def test_damaged_data_is_refused_with_a_reason(compressed: bytes, reason: str) -> None:
    """Truncation, wrong checksums and junk end in one sentence (T06)."""
    with pytest.raises(InvalidLayer, match=reason):
        plain(compressed)


@pytest.mark.parametrize("size", [1, 5, 6, 1000])
def test_a_zstd_window_is_refused_in_whatever_pieces_it_comes(size: int) -> None:
    """A frame that comes whole would be decoded without a look at its window (1 GiB here); found by fuzzing."""
    frame = b"\x28\xb5\x2f\xfd\x80\xa0" + (5).to_bytes(4, "little") + b"\x29\0\0hello"
    allowed = frame[:5] + b"\x88" + frame[6:]
    assert plain(allowed, size) == b"hello"
    with pytest.raises(InvalidLayer, match="damaged"):
        plain(frame, size)


def test_a_zstd_window_above_128_mib_is_refused() -> None:
    """A frame cannot make us allocate what it likes (T09)."""
    frame = b"\x28\xb5\x2f\xfd" + b"\x00" + bytes([(31 - 10) << 3]) + b"\x01\x00\x00"
    with pytest.raises(InvalidLayer, match="damaged"):
        plain(frame)


@pytest.mark.parametrize(
    ("content", "name"),
    [(bz2.compress(TEXT), "bzip2"), (lzma.compress(TEXT), "xz"), (b"PK\x03\x04" + TEXT, "zip")],
)
def test_other_compressors_are_named(content: bytes, name: str) -> None:
    """What no registry should serve is refused by its name (T11)."""
    with pytest.raises(UnsupportedMediaType, match=name):
        plain(content)


def test_a_bomb_comes_out_in_bounded_blocks() -> None:
    """A thousandfold ratio costs time, not memory (T10)."""
    compressor = zlib.compressobj(9, wbits=31)
    bomb = compressor.compress(bytes(64 << 20)) + compressor.flush()
    total = 0
    for block in plain_blocks(iter([bomb]), "abc"):
        assert len(block) <= BLOCK
        total += len(block)
    assert total == 64 << 20


def test_an_empty_blob_is_an_empty_stream() -> None:
    """No bytes are no blocks; that a layer needs more is for others to say."""
    assert plain(b"") == b""
