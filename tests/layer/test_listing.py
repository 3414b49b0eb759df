"""A tree against the list that was made of it."""

from __future__ import annotations

import io
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from aiodocker_lite.digest import Digest
from aiodocker_lite.layer.listing import compare_listing, write_listing

NAMES = [b"a", b"a.b", b"a-", b"\xff\xfe", b"new\nline", b'quote"', "ä".encode(), b"z"]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Directories and files with names that sort in another way than their paths do."""
    top = tmp_path / "top"
    top.mkdir()
    for name in NAMES:
        for inner in (b"", b".x", b"x"):
            path = top / os.fsdecode(name) / os.fsdecode(b"inner" + inner)
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(b"a")
            path.chmod(0o644)
    return top


@contextmanager
def opened(top: Path) -> Iterator[int]:
    """An open directory; the current one is as it was afterwards."""
    before, fd = (os.open(path, os.O_RDONLY | os.O_DIRECTORY) for path in (".", top))
    try:
        yield fd
    finally:
        os.fchdir(before)
        os.close(before)
        os.close(fd)


def listed(top: Path, notes: bytes = b"") -> bytes:
    file = io.BytesIO()
    with opened(top) as root:
        digest = write_listing(root, notes, file)
    assert digest == Digest.of(file.getvalue())
    return file.getvalue()


def differences(listing: bytes, top: Path, notes: bytes = b"") -> dict[bytes, str]:
    with opened(top) as root:
        return dict(compare_listing(io.BytesIO(listing), notes, root))


def test_a_tree_is_what_its_list_says(tree: Path) -> None:
    """Whatever its names are, and in the same order on every file system."""
    listing = listed(tree)
    assert listing == listed(tree)
    assert differences(listing, tree) == {}
    assert len(listing.splitlines()) == 1 + 1 + len(NAMES) * 4


def test_what_is_missing_and_what_is_more_is_named(tree: Path) -> None:
    """At the beginning, in the middle and at the end, with all that is in it."""
    listing, times = listed(tree), {path: path.stat().st_mtime_ns for path in (tree, *tree.iterdir())}
    shutil.rmtree(tree / "a")
    shutil.rmtree(tree / "z")
    (tree / "a.b" / "inner.x").unlink()
    for name in ("0", "m/n", "zz"):
        (tree / name).mkdir(parents=True)
    for path, time in times.items():
        if path.exists():
            os.utime(path, ns=(time, time))
    gone = [
        b"a",
        b"a/inner",
        b"a/inner.x",
        b"a/innerx",
        b"a.b/inner.x",
        b"z",
        b"z/inner",
        b"z/inner.x",
        b"z/innerx",
    ]
    more = [b"0", b"m", b"m/n", b"zz"]
    assert differences(listing, tree) == {
        **dict.fromkeys(gone, "it is missing"),
        **dict.fromkeys(more, "it does not belong there"),
    }


def test_what_was_changed_is_named(tree: Path) -> None:
    """Content first, and one difference for each path."""
    (tree / "link").symlink_to("a")
    listing, names = listed(tree), ("inner", "inner.x", "innerx")
    kept = {path: path.stat().st_mtime_ns for path in [tree, *(tree / "a" / name for name in names)]}
    (tree / "a" / "inner").write_bytes(b"b")
    (tree / "a" / "inner.x").write_bytes(b"longer")
    (tree / "a" / "innerx").chmod(0o600)
    (tree / "link").unlink()
    (tree / "link").symlink_to("z")
    for path, time in kept.items():
        os.utime(path, ns=(time, time))
    assert differences(listing, tree) == {
        b"a/inner": "its content is another",
        b"a/inner.x": "it has 6 bytes, not 1",
        b"a/innerx": "its mode is 0600, not 0644",
        b"link": "it leads elsewhere",
    }


def test_the_notes_beside_it_count(tree: Path) -> None:
    """Joints are made of them."""
    assert differences(listed(tree, b"notes"), tree, b"notes") == {}
    assert differences(listed(tree, b"notes"), tree, b"") == {b"": "the notes about it are damaged"}
