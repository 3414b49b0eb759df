"""Sections: bytes of an open file, by position."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from aiodocker_lite.archive.section import BLOCK, Section
from aiodocker_lite.errors import InvalidArchive


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[int]:
    """A descriptor of a file with the ten digits in it."""
    path = tmp_path / "digits"
    path.write_bytes(b"0123456789")
    fd = os.open(path, os.O_RDWR)
    yield fd
    os.close(fd)


@pytest.mark.parametrize(
    ("offset", "length", "expected"),
    [(0, 3, b"234"), (4, 100, b"67"), (6, 1, b""), (7, 1, b""), (0, 0, b"")],
)
def test_a_section_ends_where_it_ends(opened: int, offset: int, length: int, expected: bytes) -> None:
    """Positions count from the section's beginning, and what is behind its end is not shown."""
    assert Section(opened, 2, 6, "x.tar").read_at(offset, length) == expected


def test_a_part_of_a_section_is_a_section(opened: int) -> None:
    """Offsets add up."""
    assert Section(opened, 2, 6, "x.tar").part(1, 3).read_at(0, 9) == b"345"


def test_a_file_that_became_shorter_is_an_error(opened: int) -> None:
    """Nobody gets fewer bytes than promised without a word."""
    section = Section(opened, 0, 10, "x.tar")
    os.ftruncate(opened, 4)

    with pytest.raises(InvalidArchive, match="it became shorter while it was read"):
        section.read_at(0, 10)


def test_blocks_are_the_whole_section(opened: int) -> None:
    """A large section comes in pieces of one block, in order."""
    os.ftruncate(opened, 2 * BLOCK + 10)
    blocks = list(Section(opened, 3, 2 * BLOCK + 7, "x.tar").blocks())

    assert [len(block) for block in blocks] == [BLOCK, BLOCK, 7]
    assert blocks[0].startswith(b"3456789")
