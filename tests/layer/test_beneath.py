"""Paths that strangers name, resolved below one directory: by openat2, and by our own walk."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from aiodocker_lite.layer.beneath import Beneath, Components, remove_tree


@pytest.fixture(params=[True, False], ids=["openat2", "walk"])
def beneath(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Beneath]:
    """A root with a forbidden neighbour, resolved both ways."""
    (tmp_path / "root/a/b").mkdir(parents=True)
    (tmp_path / "outside").mkdir()
    fd = os.open(tmp_path / "root", os.O_RDONLY | os.O_DIRECTORY)
    beneath = Beneath(fd, has_openat2=request.param)
    yield beneath
    beneath.close()
    os.close(fd)


def where(beneath: Beneath, path: str) -> str:
    """The directory that a path leads to, seen from the parent of the root."""
    components: Components = tuple(os.fsencode(part) for part in path.split("/"))
    found = Path(os.readlink(f"/proc/self/fd/{beneath.directory(components)}"))  # noqa: PTH115
    root = Path(os.readlink(f"/proc/self/fd/{beneath.root}"))  # noqa: PTH115
    return str(found.relative_to(root.parent))


LINKS = {
    "relative": "a/b",
    "absolute": "/a/b",
    "up": "../../../..",
    "out": "../outside",
    "absolute-out": "/../outside",
    "chain": "relative",
    "dots": "a/./b/../../a",
    "dangling": "not/there",
    "dangling-absolute": "/not/there",
    "a/to-root": "/",
    "a/hop": "..",
    "a/hop-out": "hop/../outside",
}


@pytest.mark.parametrize(
    ("path", "place"),
    [
        ("a", "root/a"),
        ("a/b", "root/a/b"),
        ("relative", "root/a/b"),
        ("absolute", "root/a/b"),
        ("chain", "root/a/b"),
        ("dots", "root/a"),
        ("up", "root"),
        ("up/a", "root/a"),
        ("out", "root/outside"),
        ("absolute-out", "root/outside"),
        ("a/to-root", "root"),
        ("a/to-root/a/b", "root/a/b"),
        ("a/hop/a", "root/a"),
        ("a/hop-out", "root/outside"),
        ("dangling", "root/not/there"),
        ("dangling-absolute/x", "root/not/there/x"),
        ("new/deep/er", "root/new/deep/er"),
    ],
)
def test_links_are_followed_inside_the_root_and_never_out(beneath: Beneath, path: str, place: str) -> None:
    """The root is `/` for every link; what is missing is made inside (L04-L06, L18)."""
    for name, target in LINKS.items():
        os.symlink(target, name, dir_fd=beneath.root)
    assert where(beneath, path) == place


def test_a_circle_of_links_is_refused(beneath: Beneath) -> None:
    """Forty hops are enough, as for the kernel (L19)."""
    os.symlink("two", "one", dir_fd=beneath.root)
    os.symlink("one", "two", dir_fd=beneath.root)
    with pytest.raises(OSError, match="symbolic links") as caught:
        beneath.directory((b"one", b"x"))
    assert caught.value.errno == errno.ELOOP


def test_a_file_is_no_parent(beneath: Beneath) -> None:
    """A path through a regular file is an error, as Docker has it (L17)."""
    os.close(os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=beneath.root))
    with pytest.raises(NotADirectoryError):
        beneath.directory((b"file", b"x"))
    assert beneath.existing_directory((b"file", b"x")) is None


def test_what_was_forgotten_is_resolved_anew(beneath: Beneath) -> None:
    """A directory that was replaced by a link does not stay in the cache."""
    assert where(beneath, "a/b") == "root/a/b"
    os.rename("a", "old", src_dir_fd=beneath.root, dst_dir_fd=beneath.root)
    os.symlink("elsewhere", "a", dir_fd=beneath.root)
    beneath.forget()
    assert where(beneath, "a/b") == "root/elsewhere/b"


def test_many_directories_need_few_descriptors(beneath: Beneath) -> None:
    """The cache is bounded: ten thousand directories do not exhaust the descriptors."""
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    for number in range(300):
        beneath.directory((b"many", b"%d" % number))
    assert len(os.listdir("/proc/self/fd")) - before <= 65  # noqa: PTH208


def test_removing_does_not_follow_links(beneath: Beneath, tmp_path: Path) -> None:
    """Links inside a removed tree go, their targets stay (W03)."""
    (tmp_path / "outside/kept").touch()
    os.symlink(tmp_path / "outside", "a/b/link", dir_fd=beneath.root)
    remove_tree(b"a", beneath.root)
    assert not (tmp_path / "root/a").exists()
    assert (tmp_path / "outside/kept").exists()
