"""The index of a tar file: what it finds, and what it refuses to believe."""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path

import pytest

from aiodocker_lite.archive.members import Member, Members, index_members, inner_path, is_end, is_header
from aiodocker_lite.archive.section import Section
from aiodocker_lite.errors import InvalidArchive
from tests.fakes.tars import END, directory, file, gnu_long, hard_link, header, padded, pax, pax_raw, symlink


def index(content: bytes, tmp_path: Path) -> Members:
    path = tmp_path / "it.tar"
    path.write_bytes(content)
    fd = os.open(path, os.O_RDONLY)
    try:
        return index_members(Section(fd, 0, len(content), "it.tar"))
    finally:
        os.close(fd)


@pytest.mark.parametrize("format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_members_are_found_where_tarfile_put_them(format: int, tmp_path: Path) -> None:
    """Long names, links and odd sizes, in each of the formats that the standard library writes."""
    long = "d/" * 60 + "f" * 90 if format != tarfile.USTAR_FORMAT else "d/" * 60 + "f" * 20
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=format) as tar:
        for name, size in (("./a", 0), (long, 1), ("c", 512), ("d", 513)):
            info = tarfile.TarInfo(name)
            info.size = size
            tar.addfile(info, io.BytesIO(bytes([size % 251]) * size))
        link = tarfile.TarInfo("l")
        link.type, link.linkname = tarfile.SYMTYPE, "t" * (150 if format != tarfile.USTAR_FORMAT else 90)
        tar.addfile(link)
    content = packed.getvalue()
    found = index(content, tmp_path)

    assert list(found.by_name) == ["a", long, "c", "d", "l"]
    assert found.has_end
    assert found.by_name["l"].kind == "symbolic link"
    assert found.by_name["l"].link == link.linkname
    for name, size in ((long, 1), ("c", 512), ("d", 513)):
        member = found.by_name[name]
        assert content[member.offset : member.offset + member.size] == bytes([size % 251]) * size


def test_every_kind_of_member_is_told_apart(tmp_path: Path) -> None:
    """Only a regular file is a file, and only a file has data."""
    found = index(
        file(b"old", b"1").replace(b"0ustar", b"\0ustar") + directory(b"d/") + symlink(b"s", b"d")
        + header(b"h", b"1", link=b"old", size=700) + header(b"f", b"6") + header(b"c", b"3") + header(b"b", b"4")
        + header(b"z", b"Z", size=3) + padded(b"odd") + header(b"v7/", b"\0") + END,
        tmp_path,
    )  # fmt: skip

    assert {name: (member.kind, member.size) for name, member in found.by_name.items() if name != "old"} == {
        "d": ("directory", 0), "s": ("symbolic link", 0), "h": ("hard link", 0), "f": ("FIFO", 0),
        "c": ("device", 0), "b": ("device", 0), "z": ("member of unknown type", 3), "v7": ("directory", 0),
    }  # fmt: skip


def test_a_pax_size_counts_and_the_last_record_wins(tmp_path: Path) -> None:
    """As Go has it: the size of the file behind the extension header, not of anything else (T01)."""
    big = pax({b"size": b"5", b"path": b"real"}) + header(b"fake", size=0) + padded(b"12345")
    found = index(big + file(b"next", b"6") + END, tmp_path)

    assert found.by_name["real"].size == 5
    assert found.by_name["next"].size == 1
    assert "fake" not in found.by_name


def test_global_pax_headers_are_ignored(tmp_path: Path) -> None:
    """`git archive` puts a comment there."""
    assert list(index(pax({b"path": b"x"}, b"g") + file(b"a") + END, tmp_path).by_name) == ["a"]


def test_the_last_of_equal_names_counts_and_is_noted(tmp_path: Path) -> None:
    """As after unpacking; whoever reads it may want to refuse it (A08)."""
    found = index(file(b"a", b"1") + file(b"./a", b"22") + END, tmp_path)

    assert found.by_name["a"].size == 2
    assert found.repeated == {"a"}


def test_names_that_lead_outside_are_not_members(tmp_path: Path) -> None:
    """Nothing can be looked up under them."""
    assert not index(file(b"../a") + file(b"/b") + file(b"c/../../d") + END, tmp_path).by_name


@pytest.mark.parametrize("end", [b"", bytes(512), END, END + b"junk behind it" * 100])
def test_the_end_mark_may_be_short_or_missing(end: bytes, tmp_path: Path) -> None:
    """Some writers forget it (T05); then it is noted, for it may also have been cut off."""
    found = index(file(b"a", b"1") + end, tmp_path)

    assert list(found.by_name) == ["a"]
    assert found.has_end == bool(end)


def test_the_last_padding_may_be_missing(tmp_path: Path) -> None:
    """All bytes of the file are there, and that is what counts."""
    assert index(file(b"a", b"1")[:513], tmp_path).by_name["a"] == Member("file", "", 512, 1)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (file(b"a", b"1" * 600)[:-512], "it is truncated: 'a' has 600 bytes, and 512 are left"),
        (file(b"a", b"1")[:300], "it ends in the middle of a tar header"),
        (file(b"a") + file(b"b")[:100], "it ends in the middle of a tar header"),
        (file(b"a") + b"x" * 512 + END, "its tar header at byte 512 is damaged"),
        (file(b"a") + header(b"b", raw_size=b"\xff" * 11 + b"\x00") + END, "byte 512 has a negative size"),
        (header(b"a", raw_size=b"\x80" + b"\x7f" * 11) + END, "it is truncated: 'a' has"),
        (header(b"a", b"x", size=1 << 30) + END, "an extension header at byte 512 says it has 1073741824 bytes"),
        (header(b"a", b"L", raw_size=b"\xff" * 11 + b"\x00") + END, "says it has -256 bytes"),
        (header(b"a", b"x", size=600) + bytes(512), "it ends in the middle of a tar header"),
        (pax({b"size": b"-5"}) + file(b"a") + END, "a PAX size in it is no number"),
        (pax_raw(b"30 path=short\n") + file(b"a") + END, "a PAX record in it is malformed"),
        (pax_raw(b"0 path=a\n") + file(b"a") + END, "a PAX record in it is malformed"),
        (pax_raw(b"12 path=abc\n8 x y z\n") + file(b"a") + END, "a PAX record in it is malformed"),
        (pax_raw(b"9" * 5000) + file(b"a") + END, "a PAX record in it is malformed"),
        (pax({b"GNU.sparse.major": b"1"}) + file(b"a") + END, "without tar's --sparse"),
        (header(b"a", b"S", size=0) + END, "without tar's --sparse"),
        (gnu_long(b"n" * 5000) + file(b"a") + END, "a name in it is longer than 4096 characters"),
        (gnu_long(b"n" * 5000, b"K") + hard_link(b"a", b"b") + END, "a name in it is longer than 4096"),
        (pax({b"path": b"a"}), "it ends in the middle of a tar header"),
    ],
)  # fmt: skip
def test_a_broken_tar_file_is_one_sentence(content: bytes, sentence: str, tmp_path: Path) -> None:
    """Cut off, damaged, or lying about sizes (T02, T03): each says what and where."""
    with pytest.raises(InvalidArchive) as caught:
        index(content, tmp_path)

    assert sentence in str(caught.value)


def test_there_is_a_limit_to_members(tmp_path: Path) -> None:
    """An archive of images has hundreds, and a hundred thousand are none of its business."""
    with pytest.raises(InvalidArchive, match="more than 100000 members"):
        index(file(b"a") * 100_001 + END, tmp_path)


@pytest.mark.parametrize("filler", [b"1", b"2 ", b"20 a"])
def test_a_hostile_pax_header_costs_no_time(filler: bytes, tmp_path: Path) -> None:
    """Digits and lengths that make a searching parser quadratic are refused at once."""
    with pytest.raises(InvalidArchive, match="malformed"):
        index(pax_raw(filler * (1_000_000 // len(filler))) + file(b"a") + END, tmp_path)


def test_a_long_chain_of_extension_headers_is_only_long(tmp_path: Path) -> None:
    """Nothing recurses."""
    assert list(index(pax({b"path": b"b"}) * 20_000 + file(b"a") + END, tmp_path).by_name) == ["b"]


@pytest.mark.parametrize(
    ("path", "base", "expected"),
    [
        ("a/b", "", "a/b"), ("./a//b/.", "", "a/b"), ("../c/layer.tar", "a", "c/layer.tar"), ("..", "a", ""),
        ("../../c", "a", None), ("/a", "", None), ("a\0b", "", None), ("..", "", None), ("a/../../b", "", None),
    ],
)  # fmt: skip
def test_paths_are_resolved_among_members_only(path: str, base: str, expected: str | None) -> None:
    """A path that leaves the archive means nothing."""
    assert inner_path(path, base) == expected


def test_a_header_is_known_by_its_checksum() -> None:
    """And an end mark is none."""
    assert is_header(file(b"a"))
    assert not is_header(END)
    assert (is_end(END), is_end(file(b"a")), is_end(END[:511])) == (True, False, False)
    assert not is_header(b"a" * 512)
    assert not is_header(file(b"a")[:511])
    assert not is_header(b"")
