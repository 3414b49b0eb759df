"""Layers that lie about themselves, are damaged, or are too much."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator

from aiodocker_lite.settings import Limits
from tests.cases.case import LOW, Case, Pack, contained, old_sparse, refused, sparse_1_0, zstd_frame
from tests.fakes.tars import (
    END,
    file,
    gnu_long,
    header,
    pax,
    pax_raw,
    record,
)  # fmt: skip

# --- the tar stream ----------------------------------------------------------------------------


def numbers() -> Iterator[Case]:
    """Sizes, numbers and checksums that lie, types that nobody knows (T01, T03, T14)."""
    for what, entry in {
        "size/negative": header(b"f", raw_size=b"\xff" * 12),
        "size/8-EiB": header(b"f", raw_size=b"\x80" + b"\xff" * 11),
        "size/63-bit": header(b"f", raw_size=b"\x80\0\0\0\x7f" + b"\xff" * 7),
        "size/beyond-the-end": header(b"f", size=5000),
        "size/no-number": header(b"f", raw_size=b"12x45678901\0"),
        "size/minus": header(b"f", raw_size=b"-0000000001\0"),
        "size/pax-no-number": pax({b"size": b"ten"}) + header(b"f"),
        "size/pax-negative": pax({b"size": b"-512"}) + header(b"f"),
        "size/pax-beyond-the-end": pax({b"size": b"99999999999999999999"}) + header(b"f"),
        "size/pax-before-gnu": pax({b"size": b"0"}) + gnu_long(b"n") + header(b"f"),
        "size/pax-before-pax": pax({b"size": b"0"}) + pax({b"path": b"n"}) + header(b"f"),
        "size/of-an-extension": header(b"h", b"x", raw_size=b"\xff" * 12),
        "size/of-an-extension-huge": header(b"h", b"L", size=1 << 32),
        "mode/no-number": header(b"f", raw_mode=b"rwxrwxrw"),
        "owner/no-number": header(b"f", raw_uid=b"root\0\0\0\0"),
        "time/no-number": header(b"f", raw_mtime=b"yesterday\0\0\0"),
        "checksum/zero": header(b"f", raw_checksum=b"0000000\0"),
        "checksum/no-number": header(b"f", raw_checksum=b"checksum"),
        "checksum/off-by-one": header(b"f", raw_checksum=b"%06o\0 " % (_checksum(b"f") + 1)),
        "type/multi-volume": header(b"f", b"M"),
        "type/dumpdir": header(b"f", b"D"),
        "type/solaris": header(b"f", b"X"),
        "type/unknown": header(b"f", b"Z"),
        "type/high-byte": header(b"f", b"\xff"),
    }.items():
        yield refused(what, "T01 T03 T14", entry)
    hidden = file(b"../outside/secret", b"gone")
    smuggled = pax({b"size": b"%d" % len(hidden)}) + header(b"f") + hidden
    yield contained("size/hidden-entry", "T01", {b"f", b"g"}, smuggled, file(b"g"))
    phantom = header(b"l", b"2", link=b"t", size=len(hidden)) + file(b"g")
    yield contained("size/of-a-link", "T01", {b"l", b"g"}, phantom)


def _checksum(name: bytes) -> int:
    return sum(header(name, raw_checksum=b" " * 8))


def extension_headers() -> Iterator[Case]:
    """Extension headers that are malformed (T02)."""
    for what, content in {
        "length-0": b"0 path=x\n",
        "no-length": b" path=x\n",
        "endless": b"9 path=x\n0 path=y\n",
        "too-long": b"99 path=x\n",
        "unterminated": b"9 path=xy",
        "negative": b"-9 path=x\n",
        "no-equals": b"7 path\n",
        "no-key": b"4 =x\n",
        "no-space": b"9path=x\n",
        "plus": b"+9 path=x\n",
        "huge-length": b"9" * 19 + b" path=x\n",
        "huge-digits": b"9" * 5000 + b" path=x\n",
        "text": b"this is no record at all",
    }.items():
        yield refused(f"pax/{what}", "T02", pax_raw(content) + file(b"f"))
    yield refused("pax/at-the-end", "T02", pax({b"path": b"x"}))
    yield refused("pax/gnu-at-the-end", "T02", gnu_long(b"x"))
    yield refused(
        "pax/last-wins", "T02", pax_raw(record(b"path", b"f") + record(b"path", b"../x")) + file(b"f")
    )
    yield refused(
        "pax/gnu-over-pax", "T02", pax({b"path": b"f"}) + gnu_long(b"../outside/secret") + file(b"f")
    )
    yield contained("pax/global", "T02", {b"f"}, pax({b"path": b"../outside/secret"}, b"g") + file(b"f"))


# --- sparse files ------------------------------------------------------------------------------


def _sparse_0_1(text: bytes, stored: int, size: int) -> bytes:
    count = b"%d" % (len(text.split(b",")) // 2)
    records = {b"GNU.sparse.map": text, b"GNU.sparse.numblocks": count, b"GNU.sparse.size": b"%d" % size}
    return pax(records) + file(b"f", b"x" * stored)


def sparse_maps() -> Iterator[Case]:
    """Maps that lie (T04)."""
    for what, entry in {
        "overlapping": _sparse_0_1(b"0,5,3,5", 10, 20),
        "descending": _sparse_0_1(b"9,1,0,1", 2, 20),
        "behind-the-end": _sparse_0_1(b"0,5", 5, 4),
        "less-than-stored": _sparse_0_1(b"0,5", 6, 10),
        "more-than-stored": _sparse_0_1(b"0,9", 6, 10),
        "no-number": _sparse_0_1(b"0,x", 5, 10),
        "odd": _sparse_0_1(b"0", 5, 10),
        "negative-length": _sparse_0_1(b"0,-5", 5, 10),
        "negative-offset": _sparse_0_1(b"-5,5", 5, 10),
        "64-bit": _sparse_0_1(b"18446744073709551615,1", 1, 10),
        "no-count": pax({b"GNU.sparse.map": b"0,1", b"GNU.sparse.size": b"1"}) + file(b"f", b"x"),
        "unknown-version": pax({b"GNU.sparse.major": b"2", b"GNU.sparse.minor": b"0"}) + file(b"f", b"x"),
        "1.0-truncated": sparse_1_0(b"9\n0\n", b""),
        "1.0-text": sparse_1_0(b"one\n", b""),
        "1.0-endless-number": sparse_1_0(b"9" * 600, b""),
        "1.0-of-a-trillion": sparse_1_0(b"999999999999\n" + b"0\n" * 5000, b""),
        "old-behind-the-end": old_sparse(b"f", b"gone", [(100, 4)], 50),
        "0.0-half": pax_raw(record(b"GNU.sparse.offset", b"0") * 3) + file(b"f", b"x"),
    }.items():
        yield refused(f"sparse/{what}", "T04", entry)
    yield refused("sparse/old-truncated", "T04", old_sparse(b"f", b"", [(0, 0)], 0, more=b"\1"), end=b"")
    million = sparse_1_0(b"1000000\n" + b"0\n" * 2_000_000, b"")
    yield refused("sparse/map-of-a-million", "T04", million)
    yield refused("sparse/giant-hole", "T04", _sparse_0_1(b"0,1", 1, 1 << 50))
    yield refused(
        "sparse/giant-hole-old", "T04", old_sparse(b"f", b"x", [(1 << 32, 1)], (1 << 32) + 1), limits=LOW
    )


def stream() -> Iterator[Case]:
    """A tar that ends too early, or is none (T05, T06)."""
    yield refused("stream/no-tar", "T06", b"<html>" + b"x" * 600, end=b"")
    yield refused("stream/half-a-header", "T06", header(b"f")[:300], end=b"")
    yield refused("stream/half-a-file", "T06", file(b"f", b"x" * 2000)[:1500], end=b"")
    yield refused("stream/half-an-extension", "T06", pax({b"path": b"x" * 600})[:700], end=b"")
    yield contained("stream/entry-behind-the-end", "T05", {b"f"}, file(b"f"), END, file(b"../outside/secret"))
    yield refused("stream/tail-beyond-the-limit", "T05", file(b"f"), END, bytes(4 << 20), limits=LOW)


def compressed() -> Iterator[Case]:
    """Compressed data that is damaged, or followed by something else, or nothing we open (T06, T08-T11)."""
    plain = file(b"f", b"content" * 99) + END
    packed = gzip.compress(plain, mtime=0)
    for what, content in {
        "truncated": packed[:-20],
        "without-its-trailer": packed[:-8],
        "crc": packed[:-8] + b"\0\0\0\0" + packed[-4:],
        "length": packed[:-4] + b"\1\2\3\4",
        "junk-behind": packed + b"junk behind the end",
        "half-a-second-member": packed + packed[:15],
        "only-a-header": packed[:10],
        "bad-block": packed[:10] + b"\xff" * 40,
        "unknown-method": packed[:2] + b"\7" + packed[3:],
        "endless-name": packed[:3] + b"\x08" + packed[4:10] + b"n" * (2 << 20),
        "of-no-tar": gzip.compress(b"no tar" * 200),
    }.items():
        yield _blob(f"gzip/{what}", "T06 T08", content)
    # RFC 1952 would refuse these bits; ISA-L, like Go's reader, does not look, and nothing depends on them.
    reserved = packed[:3] + b"\xe0" + packed[4:]
    yield Case("gzip/reserved-flags", "T08", lambda out: reserved, "contained", frozenset({b"f"}))
    frame = zstd_frame(plain)
    for what, content in {
        "truncated": frame[:-5],
        "junk-behind": frame + b"junk behind the end",
        "checksum": zstd_frame(plain, b"\xa4") + b"\1\2\3\4",
        "window-of-2-GiB": b"\x28\xb5\x2f\xfd\x00\xa8" + b"\x01\x00\x00",
        "dictionary": b"\x28\xb5\x2f\xfd\x21\x07\x05\x29\0\0hello",
        "reserved-bit": frame[:4] + bytes([frame[4] | 8]) + frame[5:],
        "half-a-skippable-frame": frame + b"\x50\x2a\x4d\x18\xff\xff\0\0abc",
    }.items():
        yield _blob(f"zstd/{what}", "T06 T09", content)
    yield _blob("other/xz", "T11 T13", b"\xfd7zXZ\x00" + bytes(100))
    yield _blob("other/bzip2", "T11 T13", b"BZh91AY&SY" + bytes(100))
    yield _blob("other/lz4", "T11", b"\x04\x22\x4d\x18" + bytes(600))
    yield _blob("other/zip", "T11", b"PK\x03\x04" + bytes(600))
    yield _blob("other/deflate", "T11", zlib.compress(plain))
    yield _blob("other/gzip-in-gzip", "T10", gzip.compress(packed))


def _blob(name: str, about: str, content: bytes) -> Case:
    return refused(name, about, content, end=b"")


# --- bombs -------------------------------------------------------------------------------------


def bombs() -> Iterator[Case]:
    """More entries, bytes, names or headers than allowed; much from little (L24, T10)."""

    def bomb(name: str, pack: Pack, limits: Limits = LOW) -> Case:
        return Case(f"bomb/{name}", "L24 T10", pack, "refused", limits=limits)

    yield bomb("entries", lambda out: header(b"f") * 1001 + END)
    yield bomb("entries-of-a-million", lambda out: _gzipped(header(b"f"), 1_000_000), Limits(entries=5000))
    yield bomb("whiteouts", lambda out: b"".join(file(b".wh.%d" % n) for n in range(1001)) + END)
    yield bomb("one-file", lambda out: file(b"f", bytes((1 << 20) + 1)) + END)
    yield bomb("many-files", lambda out: file(b"f", bytes(1 << 16)) * 17 + END)
    yield bomb("promised-only", lambda out: header(b"f", size=(1 << 20) + 1))
    yield bomb("gzip-of-zeros", lambda out: _gzipped(header(b"f", size=1 << 30) + bytes(1 << 20), 300))
    yield bomb("gzip-of-zeros-behind-the-end", lambda out: _gzipped(bytes(1 << 20), 300))
    yield bomb(
        "volume-label-with-data", lambda out: _gzipped(header(b"v", b"V", size=1 << 20) + bytes(1 << 20), 200)
    )
    yield bomb("extension-headers", lambda out: _gzipped(pax({b"comment": b"c" * 60_000}, b"g"), 4000))
    yield bomb("extension-header", lambda out: pax({b"comment": b"c" * 70_000}) + file(b"f"))
    yield bomb("name", lambda out: gnu_long(b"n/" * 600) + file(b"f") + END)
    yield bomb("nested-directories", lambda out: gnu_long(b"d/" * 30_000) + file(b"f") + END)
    deep = [gnu_long(b"%d/" % n + b"d/" * 900 + b"f") + file(b"x") for n in range(60)]
    yield bomb("implied-directories", lambda out: b"".join(deep) + END, Limits(path_bytes=4 << 20))
    yield bomb("hole", lambda out: _sparse_0_1(b"0,1", 1, 1 << 40) + END)
    yield bomb("holes", lambda out: old_sparse(b"f", b"x", [(1 << 19, 1)], (1 << 19) + 1) * 3 + END)


def _gzipped(content: bytes, times: int) -> bytes:
    """The same bytes over and over, as many members: small, quick to make, and never whole in memory."""
    batch = max(1, (1 << 20) // len(content))
    return gzip.compress(content * batch, mtime=0) * (times // batch)
