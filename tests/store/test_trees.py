"""Removing trees that do not want to be removed."""

from __future__ import annotations

import os
import resource
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from aiodocker_lite.errors import StoreUnwritable
from aiodocker_lite.store.trees import remove_tree
from tests.store.conftest import mounted
from tests.store.filling import descriptors, descriptors_before, unprivileged


def make_deep(top: Path, depth: int) -> None:
    """Directories in directories, with a file in each: a loop of `mkdir x; cd x` in a container."""
    top.mkdir()
    here = os.open(top, os.O_RDONLY)
    for _ in range(depth):
        os.close(os.open("file", os.O_CREAT, dir_fd=here))
        os.mkdir("directory", dir_fd=here)
        here, above = os.open("directory", os.O_RDONLY, dir_fd=here), here
        os.close(above)
    os.close(here)


def test_everything_is_removed(tmp_path: Path) -> None:
    """Files, links, FIFOs, empty and full directories; what links lead to stays."""
    tree, outside = tmp_path / "tree", tmp_path / "outside"
    for directory in (outside, tree / "a" / "b", tree / "c", tree / "empty"):
        directory.mkdir(parents=True)
    (outside / "kept").write_text("x")
    (tree / "a" / "b" / "link").symlink_to(outside)
    (tree / "hard").hardlink_to(outside / "kept")
    (tree / "dangling").symlink_to("nowhere")
    os.mkfifo(tree / "c" / "fifo")
    before = descriptors_before()
    remove_tree(tree)
    assert os.listdir(tmp_path) == ["outside"]  # noqa: PTH208
    assert (outside / "kept").read_text() == "x"
    assert descriptors() == before


def test_a_tree_can_be_deeper_than_the_stack_and_the_longest_path(tmp_path: Path) -> None:
    """What a container makes never stands in the way, also with few descriptors."""
    make_deep(tmp_path / "tree", 1200)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors() + 10, hard))
    try:
        remove_tree(tmp_path / "tree")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert not (tmp_path / "tree").exists()


@pytest.mark.parametrize("mode", [0o000, 0o500, 0o300, 0o600, 0o555])
def test_modes_do_not_forbid_it(open_directory: Path, mode: int) -> None:
    """Without root's rights too, and for directories in such directories."""

    def make_and_remove() -> None:
        tree = open_directory / "tree"
        inner = tree / "a" / "b" / "c"
        inner.mkdir(parents=True)
        for directory in (inner, inner.parent, inner.parent.parent, tree):
            (directory / "file").write_text("x")
            directory.chmod(mode)
        remove_tree(tree)

    unprivileged(make_and_remove)
    assert list(open_directory.iterdir()) == []


def test_what_belongs_to_somebody_else_is_one_sentence(open_directory: Path) -> None:
    """A directory that we may not change is an error, and stays."""
    tree = open_directory / "tree"
    (tree / "a").mkdir(parents=True)
    (tree / "a" / "file").write_text("x")
    if os.geteuid() != 0:
        pytest.skip("only root can make what is not his own")
    with pytest.raises(StoreUnwritable, match="Operation not permitted"):
        unprivileged(lambda: remove_tree(tree))
    assert (tree / "a" / "file").exists()


def test_what_is_not_there_is_no_error(tmp_path: Path) -> None:
    """Somebody else was faster."""
    remove_tree(tmp_path / "tree")


def test_a_link_in_its_place_is_not_followed(tmp_path: Path) -> None:
    """The place of a directory may be taken by a link to another."""
    (tmp_path / "other").mkdir()
    (tmp_path / "tree").symlink_to("other")
    with pytest.raises(StoreUnwritable):
        remove_tree(tmp_path / "tree")
    assert (tmp_path / "other").is_dir()


def test_many_can_remove_the_same_tree(tmp_path: Path) -> None:
    """All of them find it gone at the end, and none fails over what another has taken."""
    for number in range(700):
        directory = tmp_path / "tree" / str(number % 7) / str(number % 50)
        directory.mkdir(parents=True, exist_ok=True)
        (directory / str(number)).touch()
    with ThreadPoolExecutor(4) as threads:
        for removal in [threads.submit(remove_tree, tmp_path / "tree") for _ in range(4)]:
            removal.result()
    assert not (tmp_path / "tree").exists()


def test_a_file_system_mounted_below_is_not_touched(tmp_path: Path) -> None:
    """Somebody's volume is worth more than a clean store."""
    place = tmp_path / "tree" / "a" / "volume"
    place.mkdir(parents=True)
    with mounted(place, "size=1m"):
        (place / "precious").write_text("x")
        with pytest.raises(StoreUnwritable, match="busy"):
            remove_tree(tmp_path / "tree")
        assert (place / "precious").read_text() == "x"
    remove_tree(tmp_path / "tree")
    assert not (tmp_path / "tree").exists()
