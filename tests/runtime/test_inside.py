"""Paths of an image, resolved as if its root were `/`: every way leads to a place inside."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from aiodocker_lite.runtime.inside import directory_inside, file_inside, open_inside, open_real


@pytest.fixture
def root(tmp_path: Path) -> Iterator[int]:
    """A root with links of every kind, and something outside of it."""
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "canary").write_text("alive")
    top = tmp_path / "root"
    (top / "real" / "sub").mkdir(parents=True)
    (top / "real" / "file").write_text("x")
    for name, target in {
        "absolute": "/real",
        "relative": "real/sub",
        "up": "../../../../../real",
        "out": str(tmp_path / "outside"),
        "chain": "absolute",
        "dangling": "/made/later",
        "loop": "loop",
        "to-file": "real/file",
        "through": "real/file/more",
    }.items():
        (top / name).symlink_to(target)
    fd = os.open(top, os.O_PATH)
    yield fd
    os.close(fd)
    assert [path.name for path in (tmp_path / "outside").iterdir()] == ["canary"]


def place(fd: int) -> str:
    path = Path(f"/proc/self/fd/{fd}").readlink()
    os.close(fd)
    return str(path).partition("/root")[2]


@pytest.mark.parametrize(
    ("path", "lands"),
    [
        ("/", ""),
        ("/real/sub", "/real/sub"),
        ("real//./sub/", "/real/sub"),
        ("/real/../real", "/real"),
        ("/../../real", "/real"),
        ("/absolute", "/real"),
        ("/relative", "/real/sub"),
        ("/up", "/real"),
        ("/chain/sub", "/real/sub"),
        ("/new", "/new"),
        ("/new/and/deeper", "/new/and/deeper"),
        ("/absolute/new", "/real/new"),
        ("/dangling", "/made/later"),
        ("/dangling/deeper", "/made/later/deeper"),
        ("/new/../other", "/other"),
    ],
)
def test_a_directory_is_found_or_made_inside(root: int, path: str, lands: str) -> None:
    """Links are followed, missing parts are made, and twice gives the same."""
    assert place(directory_inside(root, path)) == lands
    assert place(directory_inside(root, path)) == lands


def test_a_link_that_says_outside_leads_inside(root: int, tmp_path: Path) -> None:
    """The path that it names is made below the root."""
    found = directory_inside(root, "/out/new")
    path = Path(f"/proc/self/fd/{found}").readlink()
    assert str(path) == f"{tmp_path}/root{tmp_path}/outside/new"
    os.close(found)


@pytest.mark.parametrize(
    ("path", "lands"),
    [
        ("/real/file", "/real/file"),
        ("/to-file", "/real/file"),
        ("/real/new", "/real/new"),
        ("/dangling", "/made/later"),
        ("/deep/new/file", "/deep/new/file"),
    ],
)
def test_a_file_is_found_or_made_inside(root: int, path: str, lands: str) -> None:
    """Made empty, with its directories."""
    assert place(file_inside(root, path)) == lands


@pytest.mark.parametrize("path", ["/loop", "/loop/x", "/through", "/real/file", "/real/file/x"])
def test_what_cannot_be_a_directory_is_refused(root: int, path: str) -> None:
    """Circles and files end in an error, not in a place."""
    with pytest.raises(OSError, match=r"directory|symbolic links"):
        directory_inside(root, path)


def test_a_directory_is_no_file(root: int) -> None:
    """And is not taken for one."""
    with pytest.raises(IsADirectoryError):
        file_inside(root, "/real")


def test_magic_links_are_not_followed(root: int, tmp_path: Path) -> None:
    """A descriptor's link in a procfs below the root leads to no descriptor."""
    host = os.open("/", os.O_PATH)
    fd = os.open(tmp_path, os.O_PATH)
    try:
        with pytest.raises(OSError, match="symbolic links"):
            open_inside(host, f"/proc/self/fd/{fd}", os.O_PATH)
    finally:
        os.close(fd)
        os.close(host)


@pytest.mark.parametrize("path", ["/absolute", "/absolute/sub", "/loop"])
def test_a_real_path_has_no_links(root: int, path: str) -> None:
    """Not at its end, and not on the way."""
    with pytest.raises(OSError, match="symbolic links"):
        open_real(root, path)
    assert place(open_real(root, "/real/sub")) == "/real/sub"
