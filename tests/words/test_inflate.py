"""Compressed bytes in every usual shape and some broken ones."""

from __future__ import annotations

import bz2
import gzip
import lzma
from collections.abc import Iterator
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiodocker_lite import inflate
from aiodocker_lite.inflate import BLOCK, Compression, Damaged, compression_of, decompressed
from tests.fakes.archives import run_tool

TEXT = b"the plain bytes of an archive, " * 4000
FIELDS = b"\x05\x00extra" + b"name\0" + b"comment\0"
WITH_FIELDS = b"\x1f\x8b\x08\x1c" + bytes(6) + FIELDS + gzip.compress(TEXT)[10:]
SKIPPABLE = b"\x5a\x2a\x4d\x18" + (7).to_bytes(4, "little") + b"ignored"


def zstd(content: bytes, *options: str) -> bytes:
    return run_tool("zstd", "-q", "-c", *options, stdin=content)


def pieces(content: bytes, size: int) -> Iterator[bytes]:
    for start in range(0, len(content), size):
        yield content[start : start + size]


def plain(content: bytes, kind: Compression, size: int = 1000) -> bytes:
    return b"".join(decompressed(pieces(content, size), kind))


def compressed_forms() -> list[tuple[str, Compression, bytes]]:
    return [
        ("gzip", "gzip", gzip.compress(TEXT)),
        ("gzip-members", "gzip", gzip.compress(TEXT[:100]) + gzip.compress(TEXT[100:])),
        ("gzip-padded", "gzip", gzip.compress(TEXT) + bytes(3000)),
        ("gzip-extra-fields", "gzip", WITH_FIELDS),
        ("xz", "xz", lzma.compress(TEXT)),
        ("xz-streams", "xz", lzma.compress(TEXT[:100]) + bytes(8) + lzma.compress(TEXT[100:])),
        ("bzip2", "bzip2", bz2.compress(TEXT)),
        ("bzip2-streams", "bzip2", bz2.compress(TEXT[:100]) + bz2.compress(TEXT[100:])),
        ("zstd", "zstd", zstd(TEXT)),
        ("zstd-frames", "zstd", zstd(TEXT[:100]) + zstd(TEXT[100:])),
        ("zstd-skippable", "zstd", SKIPPABLE + zstd(TEXT) + SKIPPABLE),
    ]


FORMS = compressed_forms()


@pytest.mark.parametrize(("kind", "content"), [form[1:] for form in FORMS], ids=[form[0] for form in FORMS])
@pytest.mark.parametrize("size", [1, 7, 1000, 1 << 20])
def test_every_usual_compression_gives_the_same_bytes(kind: Compression, content: bytes, size: int) -> None:
    """Members, frames and padding do not show in the result, however the input is cut."""
    assert compression_of(content) == kind
    assert plain(content, kind, size) == TEXT


@pytest.mark.parametrize(("kind", "content"), [form[1:] for form in FORMS], ids=[form[0] for form in FORMS])
def test_what_is_cut_off_is_truncated(kind: Compression, content: bytes) -> None:
    """Never a short result without a word (T06)."""
    end = 3001 if content.endswith(bytes(3000)) else 1
    with pytest.raises(Damaged, match=f"its {kind} data (ends too early|is damaged)"):
        plain(content[:-end], kind)


@pytest.mark.parametrize(("kind", "content"), [form[1:] for form in FORMS], ids=[form[0] for form in FORMS])
def test_junk_behind_the_end_is_refused(kind: Compression, content: bytes) -> None:
    """It may be half of something that was to be there (T08)."""
    with pytest.raises(Damaged, match=r"damaged|ends too early"):
        plain(content + b"junk", kind)


def test_blocks_are_bounded_whatever_the_ratio() -> None:
    """A bomb comes out bit by bit, so that its reader can stop."""
    bomb = gzip.compress(bytes(20 << 20))
    sizes = [len(block) for block in decompressed(iter([bomb]), "gzip")]

    assert sum(sizes) == 20 << 20
    assert max(sizes) <= BLOCK


@pytest.mark.parametrize(
    ("kind", "content"),
    [
        ("xz", lzma.compress(TEXT, filters=[{"id": lzma.FILTER_LZMA2, "dict_size": 1 << 29}])),
        ("zstd", zstd(TEXT, "--long=30", "--no-content-size")),
    ],
)
def test_giant_dictionaries_are_refused(kind: Compression, content: bytes) -> None:
    """Memory is not given to whoever asks for it (T09)."""
    with pytest.raises(Damaged, match="damaged"):
        plain(content, kind)


@pytest.mark.parametrize("first", [b"", b"P", b"plain text", b"\x5a\x2a\x4d", b"\x6a\x2a\x4d\x18xxxx"])
def test_what_is_not_compressed_has_no_compression(first: bytes) -> None:
    """Only the magic numbers count."""
    assert compression_of(first) is None


def test_pythons_own_zlib_does_the_same_where_isal_is_missing() -> None:
    """The adapter keeps the promises of the others, with members, bounded blocks and truncation."""
    content = gzip.compress(TEXT)
    decoder = inflate._ZlibGzip()
    out = decoder.decompress(content + b"rest", 100)
    assert len(out) == 100
    assert not decoder.needs_input
    while not decoder.eof:
        out += decoder.decompress(b"", 1000)

    assert out == TEXT
    assert decoder.unused_data == b"rest"


@given(st.binary(max_size=300), st.sampled_from(["gzip", "zstd", "xz", "bzip2"]))
def test_any_bytes_end_in_bytes_or_one_error(junk: bytes, kind: Compression) -> None:
    """No hang, and no error of a library."""
    with suppress(Damaged):
        plain(junk, kind)
