"""Lists: a name a line."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiodocker_lite.errors import InvalidSource
from aiodocker_lite.sources import lists, read

NAMES = st.from_regex(r"x/[a-z0-9]{1,8}:[a-z0-9]{1,8}", fullmatch=True)
PLATFORMS = st.sampled_from(["", "linux/amd64", "linux/arm64", "linux/arm/v6"])


def seen(text: str) -> list[tuple[str, str, str]]:
    return [
        (one.reference.familiar, str(one.platform or ""), one.sources[0])
        for one in lists.images(text, "a.txt")
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("\n \n\t\n# nothing\n", []),
        ("alpine", [("alpine:latest", "", "a.txt: line 1")]),
        ("alpine\r\n\r\nquay.io/a/b:1\r\n", [("alpine:latest", "", "a.txt: line 1"), ("quay.io/a/b:1", "", "a.txt: line 3")]),
        ("  alpine:3  # the base\n", [("alpine:3", "", "a.txt: line 1")]),
        ("alpine\tlinux/arm64", [("alpine:latest", "linux/arm64", "a.txt: line 1")]),
        ("alpine arm", [("alpine:latest", "linux/arm/v7", "a.txt: line 1")]),
        ("#alpine\nbusybox #linux/arm64", [("busybox:latest", "", "a.txt: line 2")]),
    ],
)  # fmt: skip
def test_a_line_is_a_name_and_perhaps_a_platform(text: str, expected: list[tuple[str, str, str]]) -> None:
    """Blank lines and comments count as lines, and for nothing else."""
    assert seen(text) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("alpine\nAlpine!", "a.txt: line 2: invalid reference format: 'Alpine!'"),
        ("alpine linux/", "a.txt: line 1: the platform 'linux/' is not"),
        ("\n\nalpine linux/amd64 more", "a.txt: line 3: 'more' is too much"),
        ("https://quay.io/x", "write quay.io/x"),
        ("{{image}}", "rendered"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(text: str, message: str) -> None:
    """One sentence, with the file, the line and what stands there."""
    with pytest.raises(InvalidSource, match=r"a\.txt: line") as caught:
        list(lists.images(text, "a.txt"))
    assert message in str(caught.value)
    assert caught.value.exit_code == 125


@given(st.lists(st.tuples(NAMES, PLATFORMS)))
def test_a_list_that_was_written_is_read_as_it_was(wanted: list[tuple[str, str]]) -> None:
    """Every name, with its platform, on its line."""
    text = "\n".join(f"{name} {platform}" for name, platform in wanted)
    found = list(lists.images(text, "a"))
    assert [one.sources for one in found] == [(f"a: line {line}",) for line in range(1, len(wanted) + 1)]
    assert [(one.reference.familiar, str(one.platform or "")) for one in found] == wanted


@pytest.mark.parametrize(
    "data", [b"alpine:3\n", b"\xef\xbb\xbfalpine:3\r\n", "alpine:3\r\n".encode("utf-16"), b"alpine:3"]
)
def test_marks_and_encodings_of_windows_are_taken(tmp_path: Path, data: bytes) -> None:
    """A byte order mark is no part of a name; `>` in PowerShell writes UTF-16."""
    (tmp_path / "images.txt").write_bytes(data)
    assert [str(one.reference) for one in read(str(tmp_path / "images.txt"))] == [
        "docker.io/library/alpine:3"
    ]


def test_standard_input_is_a_source(monkeypatch: pytest.MonkeyPatch) -> None:
    """`-` is it, and messages call it so."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"alpine\nbusybox\n")))
    assert [one.sources for one in read("-")] == [("standard input: line 1",), ("standard input: line 2",)]
