"""Subordinate ids: what is granted, and the map that is made of it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from aiodocker_lite import subids
from tests.fakes.processes import program

OWNERS = ("nobody", "65534")


@pytest.mark.parametrize(
    ("content", "ranges"),
    [
        ("nobody:100:5\n", [(100, 5)]),
        ("nobody:100:5", [(100, 5)]),
        ("65534:100:5\n", [(100, 5)]),
        ("\nroot:1:2\nnobody:1:2\nsomebody:8:9\nnobody:3:4\n", [(1, 2), (3, 4)]),
        ("nobody:100\nnobody:7:1\n", [(7, 1)]),
        ("nobody:1:2\r\n", []),
        ("nobody:100:5 \n", []),
        (" nobody:100:5\n", []),
        ("#nobody:100:5\n", []),
        ("nobody::5\nnobody:5:\n", []),
        ("Nobody:100:5\n", []),
        ("", []),
    ],
)
@pytest.mark.root
def test_lines_are_read_as_by_newuidmap(tmp_path: Path, content: str, ranges: list[tuple[int, int]]) -> None:
    """By name or by number, several of them, and what is no line is passed over."""
    assert list(subids.ranges_of(content.encode(), OWNERS)) == ranges
    (tmp_path / "subuid").write_bytes(content.encode())
    script = f"mount --bind '{tmp_path}/subuid' /etc/subuid && {program('getsubids')} nobody"
    done = subprocess.run(["unshare", "-m", "sh", "-c", script], capture_output=True, text=True, check=False)
    theirs = [line.split()[2:4] for line in done.stdout.splitlines()]
    assert [(int(first), int(count)) for first, count in theirs] == ranges


@pytest.mark.parametrize(
    "line",
    [
        "nobody:100:5:6", "nobody:0x10:5", "nobody:010:5", "nobody:-5:5", "nobody:+5:5", "nobody: 5:5",
        "nobody:5:0", "nobody:4294967290:6", "nobody:4294967295:1", "nobody:99999999999:1",
        "nobody:1:99999999999", "nobody:1_0:5", "nobody:\u0661:5",
    ],
)  # fmt: skip
def test_what_would_have_to_be_guessed_is_no_grant(line: str) -> None:
    """Octal or not, out of range or not: other lines count all the same."""
    content = f"{line}\nnobody:7:8\n".encode()
    assert list(subids.ranges_of(content, OWNERS)) == [(7, 8)]


@pytest.mark.parametrize(
    ("ranges", "rows"),
    [
        ([], []),
        ([(100_000, 65_536)], [(1, 100_000, 65_536)]),
        ([(500, 10), (100, 5)], [(1, 500, 10), (11, 100, 5)]),
        ([(998, 5)], [(1, 998, 2), (3, 1001, 2)]),
        ([(1000, 1)], []),
        ([(1000, 3)], [(1, 1001, 2)]),
        ([(100, 10), (100, 10)], [(1, 100, 10)]),
        ([(100, 10), (105, 10)], [(1, 100, 10), (11, 110, 5)]),
        ([(104, 2), (100, 10)], [(1, 104, 2), (3, 100, 4), (7, 106, 4)]),
        ([(0, 2**32 - 1)], [(1, 0, 1000), (1001, 1001, 2**32 - 2 - 1000)]),
    ],
)
def test_ranges_become_a_map_without_gaps(
    ranges: list[tuple[int, int]], rows: list[tuple[int, int, int]]
) -> None:
    """The user is 0; what comes twice is there once, and his own id is never somebody else's."""
    made = subids.map_of(1000, ranges)
    assert made == ((0, 1000, 1), *rows)
    assert subids.count_of(made) <= 2**32 - 1


def test_a_map_has_a_limit() -> None:
    """What the kernel would not take is left out."""
    made = subids.map_of(1000, [(10_000 * n, 10) for n in range(1, 1000)])
    assert len(made) == 100
    assert len(subids.to_text((made, made))) < 4096


def test_maps_are_text_and_back() -> None:
    """For a command line, and to be compared."""
    maps = ((0, 1000, 1), (1, 100_000, 65_536)), ((0, 1001, 1), (1, 5, 2), (3, 9, 9))
    assert subids.to_text(maps) == "0:1000:1,1:100000:65536/0:1001:1,1:5:2,3:9:9"
    assert subids.from_text(subids.to_text(maps)) == maps
    assert subids.from_text(subids.to_text(None)) is None


@pytest.mark.root
def test_root_needs_none() -> None:
    """Whatever the files say, he has all ids that there are."""
    assert subids.granted() is None
