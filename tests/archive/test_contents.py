"""Paths that the documents of an archive name: what they may lead to, and what not."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from aiodocker_lite.archive.contents import Contents, DirectoryContents, TarContents, document, require
from aiodocker_lite.archive.section import Section
from aiodocker_lite.errors import InvalidArchive
from tests.fakes.tars import END, directory, file, hard_link, header, symlink

MakeTar = Callable[[bytes], TarContents]


@pytest.fixture
def tar_of(tmp_path: Path) -> Iterator[MakeTar]:
    """The contents of a tar file of these bytes."""
    with ExitStack() as closing:

        def make(content: bytes) -> TarContents:
            path = tmp_path / "it.tar"
            path.write_bytes(content)
            fd = os.open(path, os.O_RDONLY)
            closing.callback(os.close, fd)
            return TarContents(Section(fd, 0, len(content), "it.tar"))

        yield make


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[DirectoryContents]:
    """A directory with files, links and a FIFO in it, and a secret beside it."""
    inside = tmp_path / "it"
    (inside / "a").mkdir(parents=True)
    (inside / "a/file").write_bytes(b"content")
    (inside / "a/near").symlink_to("../a/file")
    (inside / "a/chain").symlink_to("near")
    (inside / "a/far").symlink_to("../../secret")
    (inside / "a/absolute").symlink_to(inside / "a/file")
    (inside / "a/loop").symlink_to("loop")
    (inside / "a/nowhere").symlink_to("missing")
    os.mkfifo(inside / "a/fifo")
    (tmp_path / "secret").write_bytes(b"secret")
    with ExitStack() as closing:
        yield DirectoryContents(inside, "it", closing)


def read(contents: Contents, path: str) -> bytes:
    return document(contents, path, 100)


LINKED = (
    file(b"a/layer.tar", b"content") + symlink(b"b/layer.tar", b"../a/layer.tar") + hard_link(b"c/layer.tar", b"a/layer.tar")
    + symlink(b"top", b"a/layer.tar") + hard_link(b"./dotted", b"./a/layer.tar")
)  # fmt: skip


@pytest.mark.parametrize(
    "path", ["a/layer.tar", "./a//layer.tar", "b/layer.tar", "c/layer.tar", "top", "dotted"]
)
def test_a_link_inside_of_a_tar_file_is_followed(path: str, tar_of: MakeTar) -> None:
    """Old `docker save` and podman write equal layers as links to one (A03, A04)."""
    assert read(tar_of(LINKED + END), path) == b"content"


@pytest.mark.parametrize(
    ("member", "sentence"),
    [
        (symlink(b"x", b"/etc/passwd"), "'x' is a link to '/etc/passwd', outside of it"),
        (symlink(b"x", b"../x"), "'x' is a link to '../x', outside of it"),
        (hard_link(b"d/x", b"../y"), None),
        (hard_link(b"x", b"../y"), "'x' is a link to '../y', outside of it"),
        (symlink(b"x", b"y"), "'x' is a link to 'y', which is missing"),
        (symlink(b"x", b"x"), "'x' is a link to another link, 'x'"),
        (symlink(b"x", b"top"), "'x' is a link to another link, 'top'"),
        (hard_link(b"x", b"b/layer.tar"), "'x' is a link to another link"),
        (symlink(b"x", b"dir"), "'x' is a directory, not a file"),
        (directory(b"x/"), "'x' is a directory, not a file"),
        (header(b"x", b"6"), "'x' is a FIFO, not a file"),
        (header(b"x", b"3"), "'x' is a device, not a file"),
        (header(b"x", b"Z"), "'x' is a member of unknown type, not a file"),
    ],
)  # fmt: skip
def test_what_is_no_file_in_a_tar_file_is_refused(
    member: bytes, sentence: str | None, tar_of: MakeTar
) -> None:
    """Directories, devices, and links that leave, lead on, or lead nowhere (A02, A09)."""
    contents = tar_of(LINKED + directory(b"dir/") + member + END)
    if sentence is None:
        assert contents.find("x") is None
        return
    with pytest.raises(InvalidArchive) as caught:
        contents.find("x")

    assert sentence in str(caught.value)


@pytest.mark.parametrize("path", ["../a", "/a", "a/../../b", "a\0b"])
def test_a_path_that_leaves_is_refused(path: str, tar_of: MakeTar, tree: DirectoryContents) -> None:
    """It is no path of this archive, whatever is there (A01, A02)."""
    for contents in (tar_of(LINKED + END), tree):
        with pytest.raises(InvalidArchive, match="leads outside of it"):
            contents.find(path)


def test_two_documents_of_one_name_are_refused(tar_of: MakeTar) -> None:
    """Of other members the last one counts, and its digest decides (A08)."""
    contents = tar_of(
        file(b"a.json", b"1") + file(b"b", b"1") + file(b"b", b"2") + file(b"./a.json", b"2") + END
    )

    assert read(contents, "b") == b"2"
    with pytest.raises(InvalidArchive, match=r"it has 'a.json' more than once"):
        contents.find("a.json")


def test_a_missing_file_is_named(tar_of: MakeTar, tree: DirectoryContents) -> None:
    """And where the tar file has no end, its reader is told."""
    for contents in (tar_of(LINKED + END), tree):
        assert contents.find("missing") is None
        with pytest.raises(InvalidArchive, match=r"'missing' is missing$"):
            require(contents, "missing")
    with pytest.raises(
        InvalidArchive, match="'missing' is missing; it has no end mark, so it may be incomplete"
    ):
        require(tar_of(LINKED), "missing")


def test_a_document_has_a_largest_size(tar_of: MakeTar) -> None:
    """It is not read first."""
    with pytest.raises(InvalidArchive, match="its big has 101 bytes, which is more than 100"):
        read(tar_of(file(b"big", bytes(101)) + END), "big")


@pytest.mark.parametrize("path", ["a/file", "a/near", "a/chain", "a/../a/file"])
def test_a_directory_is_read_like_a_tar_file(path: str, tree: DirectoryContents) -> None:
    """Links that stay inside are the file that they lead to, as in the official busybox layout (A09)."""
    assert read(tree, path) == b"content"
    assert list(tree.paths()) == ["a"]


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        ("a/far", "'a/far' is a link that leads outside of it"),
        ("a/absolute", "'a/absolute' is a link that leads outside of it"),
        ("a/loop", "'a/loop' is a link that leads outside of it"),
        ("a", "'a' is not a regular file"),
        ("a/fifo", "'a/fifo' is not a regular file"),
        ("a/" + "n" * 300, "cannot be opened: File name too long"),
    ],
)
def test_what_is_no_file_in_a_directory_is_refused(path: str, sentence: str, tree: DirectoryContents) -> None:
    """Nothing outside is opened, and a FIFO is not waited for."""
    with pytest.raises(InvalidArchive) as caught:
        tree.find(path)

    assert sentence in str(caught.value)


def test_a_link_to_nothing_is_missing(tree: DirectoryContents) -> None:
    """As is what would be below a file."""
    assert tree.find("a/nowhere") is None
    assert tree.find("a/file/below") is None


def test_a_directory_that_cannot_be_opened_is_one_sentence(tmp_path: Path) -> None:
    """With the reason that the system gives."""
    with ExitStack() as closing, pytest.raises(InvalidArchive, match="it cannot be opened: No such file"):
        DirectoryContents(tmp_path / "missing", "it", closing)
