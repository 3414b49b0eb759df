"""Tar headers to entries: one table of what is read, one of what is refused."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiodocker_lite.errors import EngineError, InvalidLayer, LimitExceeded, UnsafeEntry
from aiodocker_lite.layer.tar import Entry, TarReader
from aiodocker_lite.settings import Limits
from tests.fakes import tars
from tests.fakes.tars import END, file, header, padded, pax, pax_raw, record


def blocks(content: bytes, size: int = 700) -> Iterator[bytes]:
    for start in range(0, len(content), size):
        yield content[start : start + size]


def read(content: bytes, size: int = 700, limits: Limits | None = None) -> list[tuple[Entry, bytes]]:
    reader = TarReader(blocks(content, size), "abc", limits or Limits())
    return [(entry, b"".join(bytes(piece) for piece in reader.data())) for entry in reader]


def one(content: bytes) -> Entry:
    ((entry, _),) = read(content + END)
    return entry


LONG = b"d/" * 100 + b"name-\xff\xfe\n" + b"x" * 60


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (file(b"a", mode=0o4755), {"mode": 0o4755}),
        (header(b"a", b"\0"), {"kind": b"0"}),
        (header(b"a", b"7"), {"kind": b"0"}),
        (header(b"a/", b"\0"), {"kind": b"5"}),
        (header(b"name", prefix=b"some/dir"), {"name": b"some/dir/name"}),
        (header(b"name", prefix=b"junk", magic=b"ustar  \x00"), {"name": b"name"}),
        (pax({b"path": LONG}) + header(b"short"), {"name": LONG}),
        (tars.gnu_long(LONG) + header(b"short"), {"name": LONG}),
        (tars.gnu_long(LONG, b"K") + tars.symlink(b"a", b"short"), {"link": LONG}),
        (pax({b"linkpath": LONG}) + tars.symlink(b"a", b"short"), {"link": LONG}),
        (pax({b"path": b"pax"}) + tars.gnu_long(b"gnu") + header(b"a"), {"name": b"gnu"}),
        (pax_raw(record(b"path", b"first") + record(b"path", b"last")) + header(b"a"), {"name": b"last"}),
        (pax({b"path": b"global"}, b"g") + header(b"a"), {"name": b"a"}),
        (pax({b"uid": b"3000000000", b"gid": b"7"}) + header(b"a"), {"uid": 3_000_000_000, "gid": 7}),
        (header(b"a", raw_uid=b"\x80\0\0\0\0\x20\0\0"), {"uid": 0x200000}),
        (header(b"a", raw_mtime=b"\xff" * 11 + b"\xfe"), {"mtime": -2 * 10**9}),
        (header(b"a", raw_mtime=b" 1234567 \0\0\0"), {"mtime": 0o1234567 * 10**9}),
        (header(b"a", raw_mode=b"00000644"), {"mode": 0o644}),
        (pax({b"mtime": b"1600000000.123456789"}) + header(b"a"), {"mtime": 1600000000123456789}),
        (pax({b"mtime": b"-1.5"}) + header(b"a"), {"mtime": -1_500_000_000}),
        (pax({b"mtime": b"1.1234567899"}) + header(b"a"), {"mtime": 1_123_456_789}),
        (pax({b"mtime": b"9" * 30}) + header(b"a"), {"mtime": ((1 << 63) // 10**9 - 1) * 10**9}),
        (
            pax({b"SCHILY.xattr.user.k": b"v\n=\0v", b"SCHILY.xattr.user.l": b""}) + header(b"a"),
            {"xattrs": {b"user.k": b"v\n=\0v", b"user.l": b""}},
        ),
        (header(b"a", b"3", device=(1, 3)), {"device": (1, 3)}),
        (header(b"d", b"5", size=99), {"size": 0}),
        (header(b"l", b"2", size=99, link=b"t"), {"size": 0}),
        (header(b"a", raw_checksum=b"%06o\0 " % sum(header(b"a", raw_checksum=b" " * 8))), {"name": b"a"}),
    ],
)  # fmt: skip
def test_headers_are_read_as_go_reads_them(content: bytes, expected: dict[str, object]) -> None:
    """ustar, PAX, GNU and base-256, and which of two wins."""
    entry = one(content)
    assert {name: getattr(entry, name) for name in expected} == expected


def test_a_pax_size_moves_the_next_header() -> None:
    """The size that counts is PAX's, for the data and for where the next entry begins (T01)."""
    hidden = header(b"hidden")
    content = pax({b"size": b"512"}) + header(b"a") + hidden + header(b"b") + END
    assert [(entry.name, data) for entry, data in read(content)] == [(b"a", hidden), (b"b", b"")]


@pytest.mark.parametrize(
    ("content", "error", "reason"),
    [
        (header(b"a", raw_checksum=b"0000000\0"), InvalidLayer, "damaged"),
        (b"<html>" + b"x" * 600, InvalidLayer, "not a tar archive"),
        (header(b"a", size=5000), InvalidLayer, "middle of a file"),
        (header(b"a")[:300], InvalidLayer, "middle of a header"),
        (header(b"a", raw_size=b"\xff" * 12), UnsafeEntry, "size is -1"),
        (header(b"a", raw_size=b"\x80" + b"\xff" * 11), InvalidLayer, "middle of a file"),
        (header(b"a", raw_size=b"12x45678901\0"), InvalidLayer, "size that is no number"),
        (header(b"a", raw_uid=b"\xff" * 8), UnsafeEntry, "owner -1"),
        (pax({b"uid": b"4294967295"}) + header(b"a"), UnsafeEntry, "owner 4294967295"),
        (pax({b"uid": b"-1"}) + header(b"a"), UnsafeEntry, "no number"),
        (pax({b"size": b"ten"}) + header(b"a"), UnsafeEntry, "no number"),
        (pax({b"mtime": b"nan"}) + header(b"a"), UnsafeEntry, "no number"),
        (pax({b"size": b"9"}) + tars.gnu_long(b"n") + header(b"a"), InvalidLayer, "another extension header"),
        (pax_raw(b"0 path=x\n") + header(b"a"), InvalidLayer, "PAX record"),
        (pax_raw(b"9 path=x\nno length at all, no space") + header(b"a"), InvalidLayer, "PAX record"),
        (pax_raw(b"9 path=x\n path=x\n") + header(b"a"), InvalidLayer, "PAX record"),
        (pax_raw(b"99 path=x\n") + header(b"a"), InvalidLayer, "PAX record"),
        (pax_raw(b"9 path=xy") + header(b"a"), InvalidLayer, "PAX record"),
        (pax_raw(b"-5 path=x\n") + header(b"a"), InvalidLayer, "PAX record"),
        (pax_raw(b"7 path\n") + header(b"a"), InvalidLayer, "PAX record"),
        (pax({b"path": b"x"}), InvalidLayer, "after an extension header"),
        (pax({b"path": b"a\0b"}) + header(b"a"), UnsafeEntry, "zero byte"),
        (pax({b"path": b"x" * 5000}) + header(b"a"), LimitExceeded, "4096"),
        (header(b"h", b"x", size=2 << 20), LimitExceeded, "1048576"),
        (header(b"a", b"3", device=(4096, 0)), UnsafeEntry, "no device 4096:0"),
        (header(b"a", b"4", device=(0, 1 << 20)), UnsafeEntry, "no device"),
        (header(b"a", b"M"), UnsafeEntry, "not supported"),
        (header(b"a", b"D"), UnsafeEntry, "not supported"),
        (pax({b"GNU.sparse.major": b"1"}) + header(b"a"), UnsafeEntry, "a sparse file"),
    ],
)  # fmt: skip
def test_malformed_headers_are_refused_with_a_reason(
    content: bytes, error: type[EngineError], reason: str
) -> None:
    """Nothing is guessed, and nothing is allocated by what a header says (T02, T03, T14)."""
    with pytest.raises(error, match=reason):
        read(content + (END if len(content) % 512 == 0 else b""))


def test_the_number_of_entries_is_limited() -> None:
    """A million empty files are refused by their count."""
    with pytest.raises(LimitExceeded, match="entries"):
        read(header(b"a") * 11 + END, limits=Limits(entries=10))


@pytest.mark.parametrize("tail", [b"", bytes(512), END, END + b"junk" * 999, bytes(512) + file(b"late")])
def test_the_stream_is_read_behind_its_end(tail: bytes) -> None:
    """Missing, short and overfull ends are accepted, and every byte passes by for the diff ID (T05)."""
    seen = 0

    def counted() -> Iterator[bytes]:
        nonlocal seen
        for block in blocks(content):
            seen += len(block)
            yield block

    content = file(b"a", b"x") + tail
    assert [entry.name for entry in TarReader(counted(), "abc", Limits())] == [b"a"]
    assert seen == len(content)


NAMES = st.binary(min_size=1, max_size=150).map(lambda name: name.replace(b"\0", b"x").replace(b"/", b"y"))


@given(
    members=st.lists(st.tuples(NAMES, st.binary(max_size=2000), st.integers(0, 2**31 - 1)), max_size=5),
    style=st.sampled_from([tarfile.PAX_FORMAT, tarfile.GNU_FORMAT]),
    size=st.integers(1, 3000),
)
def test_what_tarfile_writes_is_read_back(
    members: list[tuple[bytes, bytes, int]], style: int, size: int
) -> None:
    """Names that are no UTF-8, any content, both formats, however the stream is cut."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=style, encoding="utf-8", errors="surrogateescape") as tar:
        for name, content, number in members:
            info = tarfile.TarInfo(name.decode(errors="surrogateescape"))
            info.size, info.mtime, info.uid = len(content), number, number
            tar.addfile(info, io.BytesIO(content))
    found = [(e.name, data, e.mtime, e.uid) for e, data in read(out.getvalue(), size)]
    assert found == [(n, c, number * 10**9, number) for n, c, number in members]


@given(st.data())
def test_a_damaged_archive_is_read_or_refused_in_a_sentence(data: st.DataObject) -> None:
    """Whatever byte is turned, only our own errors come out."""
    content = bytearray(
        pax({b"path": LONG, b"mtime": b"1.5", b"SCHILY.xattr.user.k": b"v"})
        + file(b"a", b"content")
        + tars.gnu_long(b"name")
        + tars.hard_link(b"b", b"a")
        + END
    )
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    try:
        read(bytes(content))
    except EngineError as error:
        assert str(error)


def test_padded_content_is_not_part_of_a_file() -> None:
    """The filling up to whole records is skipped."""
    assert read(header(b"a", size=3) + padded(b"abc") + file(b"b", b"d") + END)[0][1] == b"abc"
