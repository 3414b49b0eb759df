"""Sparse files: GNU tar writes them in five ways, and a map can lie."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from aiodocker_lite.errors import EngineError, InvalidLayer, LimitExceeded, UnsafeEntry
from aiodocker_lite.layer.rules import UnpackRules
from aiodocker_lite.layer.sparse import check_map
from aiodocker_lite.settings import Limits
from tests.fakes import layers
from tests.fakes.tars import END, file, header, padded, pax, pax_raw, record

FORMATS = {
    "old": ["--format=oldgnu"],
    "gnu": ["--format=gnu"],
    "0.0": ["--format=pax", "--sparse-version=0.0"],
    "0.1": ["--format=pax", "--sparse-version=0.1"],
    "1.0": ["--format=pax", "--sparse-version=1.0"],
}


def unpack(content: bytes, root: Path, limits: Limits | None = None, size: int = 700) -> None:
    root.mkdir(exist_ok=True)
    pieces: Iterator[bytes] = (content[n : n + size] for n in range(0, len(content), size))
    layers.unpack(pieces, root, UnpackRules(os.geteuid() == 0, limits or Limits()))


def make(path: Path, size: int, *pieces: tuple[int, bytes]) -> None:
    with path.open("wb") as out:
        out.truncate(size)
        for offset, content in pieces:
            out.seek(offset)
            out.write(content)


@pytest.mark.parametrize("options", FORMATS.values(), ids=FORMATS)
def test_what_gnu_tar_packs_is_unpacked_with_its_holes(tmp_path: Path, options: list[str]) -> None:
    """Content and size are the same, megabytes of nothing take no space, and what follows is found."""
    source = tmp_path / "source"
    source.mkdir()
    make(source / "hole", 3 << 20)
    make(source / "end", (64 << 20) + 3, (64 << 20, b"end"))
    make(source / "many", 61 << 17, *((n << 17, bytes([65 + n % 26]) * 700) for n in range(60)))
    make(source / "next", 5, (0, b"after"))
    packed = subprocess.run(
        ["tar", "--sparse", *options, "-C", str(tmp_path), "-cf", "-", "source"],
        check=True,
        stdout=subprocess.PIPE,
    ).stdout

    unpack(packed, tmp_path / "root")
    subprocess.run(["diff", "-r", source, tmp_path / "root/source"], check=True)
    assert sum(path.stat().st_blocks for path in (tmp_path / "root/source").iterdir()) * 512 < 1 << 20


def mapped(text: bytes, stored: int, size: int) -> bytes:
    """An entry in format 0.1 with this map."""
    count = b"%d" % (len(text.split(b",")) // 2)
    records = {b"GNU.sparse.map": text, b"GNU.sparse.numblocks": count, b"GNU.sparse.size": b"%d" % size}
    return pax(records) + file(b"f", b"x" * stored)


def in_data(text: bytes, **more: bytes) -> bytes:
    """An entry in format 1.0 whose data begins with this text as its map."""
    records = {b"GNU.sparse.major": b"1", b"GNU.sparse.minor": b"0", b"GNU.sparse.realsize": b"10"}
    return pax({**records, **{k.encode(): v for k, v in more.items()}}) + file(b"f", padded(text))


OLD_LOOP = header(b"f", b"S")[:482] + b"\1" + header(b"f", b"S")[483:]


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (mapped(b"0,5,3,5", 10, 20), UnsafeEntry),
        (mapped(b"9,1,0,1", 2, 20), UnsafeEntry),
        (mapped(b"0,5", 5, 4), UnsafeEntry),
        (mapped(b"0,5", 6, 10), UnsafeEntry),
        (mapped(b"0,x", 5, 10), UnsafeEntry),
        (mapped(b"0", 5, 10), UnsafeEntry),
        (mapped(b"0,-5", 5, 10), UnsafeEntry),
        (pax({b"GNU.sparse.map": b"0,1", b"GNU.sparse.size": b"1"}) + file(b"f", b"x"), UnsafeEntry),
        (pax({b"GNU.sparse.major": b"2", b"GNU.sparse.minor": b"0"}) + file(b"f", b"x"), UnsafeEntry),
        (in_data(b"1\n0\n"), UnsafeEntry),
        (in_data(b"one\n"), UnsafeEntry),
        (in_data(b"999999999999\n" + b"0\n" * 5000), UnsafeEntry),
        (in_data(b"9" * 600), UnsafeEntry),
        (mapped(b"0,1", 1, 1 << 50), LimitExceeded),
        (pax_raw(record(b"GNU.sparse.offset", b"0") * 3) + file(b"f", b"x"), UnsafeEntry),
        (header(b"f", b"S"), None),
        (OLD_LOOP, InvalidLayer),
    ],
)  # fmt: skip
def test_a_map_that_lies_is_refused(tmp_path: Path, content: bytes, error: type[EngineError] | None) -> None:
    """Overlaps, ends behind the end, other amounts, no numbers, giant maps and giant holes (T04)."""
    if error is None:
        unpack(content + END, tmp_path / "root")
        assert (tmp_path / "root/f").stat().st_size == 0
    else:
        with pytest.raises(error):
            unpack(content + END, tmp_path / "root", Limits(unpacked_bytes=1 << 40))


def test_a_map_may_touch_and_may_be_empty() -> None:
    """Pieces that follow each other at once, and pieces of nothing at the end, as GNU tar writes them."""
    check_map([(0, 5), (5, 5), (10, 0)], 10, 10)
    check_map([], 1 << 40, 0)
