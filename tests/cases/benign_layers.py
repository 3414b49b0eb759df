"""The honest twins of the hostile layers: what real builders send, and must be accepted as it is meant.

Each has a spelling that GNU tar unpacks to the same tree, often its own.
"""

from __future__ import annotations

import gzip
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from tests.cases.case import old_sparse, sparse_1_0, zstd_frame
from tests.fakes.tars import (
    END,
    directory,
    file,
    gnu_long,
    hard_link,
    header,
    padded,
    pax,
    pax_raw,
    record,
    symlink,
)


@dataclass(frozen=True)
class Twin:
    """A layer as it comes, and the plain archive that means the same."""

    name: str
    layer: bytes
    means: bytes


def benign_layers() -> list[Twin]:
    """All of them; every name is there once."""
    return [*_links(), *_names(), *_types(), *_metadata(), *_replacements(), *_sparse_files(), *_streams()]


def _same(name: str, *entries: bytes) -> Twin:
    content = b"".join(entries) + END
    return Twin(name, content, content)


def _as(name: str, entries: list[bytes], means: list[bytes]) -> Twin:
    return Twin(name, b"".join(entries) + END, b"".join(means) + END)


def _links() -> Iterator[Twin]:
    """Links inside the root, as kaniko, Debian's merged /usr and Nix make them (L05, L09-L11, L14, L18)."""
    perl = file(b"usr/bin/perl", b"#!")
    yield _as(
        "kaniko-hard-link",
        [perl, hard_link(b"usr/bin/pp", b"/usr/bin/perl")],
        [perl, hard_link(b"usr/bin/pp", b"usr/bin/perl")],
    )
    yield _same("hard-link-with-a-dot", perl, hard_link(b"./pp", b"./usr/bin/perl"))
    merged = [symlink(b"lib", b"usr/lib"), directory(b"usr"), directory(b"usr/lib")]
    yield _as("usr-merge", [*merged, file(b"lib/x/y", b"1")], [*merged, file(b"usr/lib/x/y", b"1")])
    yield _as(
        "usr-merge-before-usr",
        [symlink(b"lib", b"usr/lib"), file(b"lib/x", b"1")],
        [symlink(b"lib", b"usr/lib"), file(b"usr/lib/x", b"1")],
    )
    run = [symlink(b"var/run", b"/run"), directory(b"run")]
    yield _as("absolute-link-as-parent", [*run, file(b"var/run/pid", b"1")], [*run, file(b"run/pid", b"1")])
    up = [directory(b"a"), directory(b"c"), symlink(b"a/b", b"../c")]
    yield _as("link-up-as-parent", [*up, file(b"a/b/f", b"1")], [*up, file(b"c/f", b"1")])
    two = [directory(b"d"), symlink(b"k", b"d"), symlink(b"l", b"k")]
    yield _as(
        "two-links-as-parent",
        [*two, directory(b"l/e"), file(b"l/e/f")],
        [*two, directory(b"d/e"), file(b"d/e/f")],
    )
    yield _as(
        "hard-link-through-a-link",
        [*merged, file(b"lib/f"), hard_link(b"g", b"lib/f")],
        [*merged, file(b"usr/lib/f"), hard_link(b"g", b"usr/lib/f")],
    )
    yield _as(
        "hard-link-through-an-absolute-link",
        [*run, file(b"run/f"), hard_link(b"g", b"/var/run/f")],
        [*run, file(b"run/f"), hard_link(b"g", b"run/f")],
    )
    yield _same("hard-link-to-a-link", symlink(b"s", b"nowhere"), hard_link(b"t", b"s"))
    yield _as(
        "hard-link-to-a-link-with-another-mode",
        [symlink(b"s", b"f"), file(b"f"), header(b"t", b"1", link=b"s", mode=0o600, mtime=5)],
        [symlink(b"s", b"f"), file(b"f"), hard_link(b"t", b"s")],
    )
    yield _same("hard-link-to-a-fifo", header(b"p", b"6"), hard_link(b"q", b"p"))
    yield _same("hard-link-twice", file(b"f"), hard_link(b"g", b"f"), hard_link(b"g", b"f"))
    described = header(b"g", b"1", link=b"f", mode=0o4711, uid=7, gid=8, mtime=5)
    yield _as(
        "hard-link-that-describes",
        [file(b"f", b"1"), described],
        [file(b"f", b"1", mode=0o4711, uid=7, gid=8, mtime=5), hard_link(b"g", b"f")],
    )
    yield _same(
        "hard-links-in-a-chain",
        file(b"n0", b"1"),
        *(hard_link(b"n%d" % (n + 1), b"n%d" % n) for n in range(1000)),
    )
    yield _same(
        "ten-thousand-hard-links", file(b"f", b"1"), *(hard_link(b"d/%d" % n, b"f") for n in range(10_000))
    )
    yield _same(
        "links-that-only-point-out",
        symlink(b"a", b"/etc/passwd"),
        symlink(b"b", b"../../../x"),
        symlink(b"c", b".."),
        symlink(b"d", b"/"),
    )
    yield _same("links-in-a-circle", symlink(b"a", b"b"), symlink(b"b", b"a"))
    yield _same("long-link-by-gnu", gnu_long(b"t/" * 900 + b"x", b"K") + symlink(b"a", b"t"))
    yield _same("long-link-by-pax", pax({b"linkpath": b"t/" * 900 + b"x"}) + symlink(b"a", b"t"))


def _names() -> Iterator[Twin]:
    """Names are bytes, of any length the file system takes (L02, L03, L23)."""
    for what, name in {
        "no-utf-8": b"raw-\xff\xfe", "utf-8": "grün/日本".encode(), "newline": b"a\nb", "control": b"a\x1b[2Jb\x7f",
        "backslash": b"a\\..\\b", "dash": b"-rf", "colon": b"host:file", "space": b" a b ", "four-dots": b"..../f",
        "dots": b"...", "like-a-whiteout": b"a.wh.b", "of-255-bytes": b"n" * 99, "of-100-bytes": b"n" * 100,
        "percent": b"%s%n", "quote": b"'\"$(x)", "glob": b"*?[a]",
    }.items():  # fmt: skip
        yield _same(f"name-{what}", file(name, b"1"))
    yield _same("name-with-a-dot", directory(b"./"), file(b"./a/./b", b"1"))
    yield _as("name-absolute", [file(b"/etc//x", b"1")], [file(b"etc/x", b"1")])
    yield _same("prefix", header(b"name", prefix=b"some/" * 25 + b"dir"))
    component = b"d/" + b"n" * 255
    yield _same("component-of-255-by-pax", pax({b"path": component}) + file(b"x", b"1"))
    yield _same("component-of-255-by-gnu", gnu_long(component) + file(b"x", b"1"))
    yield _same("path-of-3000", gnu_long((b"d" * 199 + b"/") * 15 + b"f") + file(b"x", b"1"))
    yield _same(
        "tree-of-500-levels", *(gnu_long(b"d/" * n) + directory(b"x", mtime=n) for n in range(1, 501))
    )
    yield _same("pax-over-ustar", pax({b"path": b"right"}) + header(b"wrong", prefix=b"very"))
    yield _as("global-header", [pax({b"comment": b"c", b"path": b"no"}, b"g"), file(b"f")], [file(b"f")])
    yield _same("hdrcharset", pax({b"hdrcharset": b"BINARY", b"path": b"\xff\xfe"}) + file(b"x"))


def _types() -> Iterator[Twin]:
    """Old and rare spellings (M01, M02, T14)."""
    yield _same("type-old-file", header(b"f", b"\0", size=3) + padded(b"abc"))
    yield _as("type-contiguous", [header(b"f", b"7", size=3) + padded(b"abc")], [file(b"f", b"abc")])
    yield _same("type-old-directory", header(b"d/", b"\0", mode=0o755))
    yield _same("fifo", header(b"p", b"6", mode=0o622))
    yield _same("character-device", header(b"null", b"3", device=(1, 3), mode=0o666))
    yield _same("block-device", header(b"sda", b"4", device=(8, 0), mode=0o660, gid=6))
    yield _same("device-with-setuid", header(b"odd", b"3", device=(1, 3), mode=0o6755))
    yield _same("hard-link-to-a-device", header(b"n", b"3", device=(1, 3)), hard_link(b"m", b"n"))
    yield _as("volume-label", [header(b"v", b"V"), file(b"f")], [file(b"f")])
    yield _as(
        "size-of-a-link",
        [header(b"l", b"2", link=b"t", size=99, mode=0o777), file(b"f")],
        [symlink(b"l", b"t"), file(b"f")],
    )
    yield _same("large-file", file(b"f", bytes(range(256)) * 12_345))
    yield _same("empty-layer")
    hidden = {b"SCHILY.xattr.trusted.overlay.opaque": b"y"}
    yield _as("whiteout", [file(b"etc/.wh.x")], [header(b"etc/x", b"3", mode=0)])
    yield _as(
        "whiteout-with-data",
        [file(b"etc/.wh.x", b"1" * 600), file(b"f")],
        [header(b"etc/x", b"3", mode=0), file(b"f")],
    )
    yield _as(
        "opaque",
        [directory(b"d"), file(b"d/.wh..wh..opq"), file(b"d/f")],
        [pax(hidden) + directory(b"d"), file(b"d/f")],
    )
    yield _as(
        "opaque-through-a-link",
        [directory(b"d"), symlink(b"s", b"/d"), file(b"s/.wh..wh..opq")],
        [pax(hidden) + directory(b"d"), symlink(b"s", b"/d")],
    )
    again = [pax(hidden) + directory(b"d")]
    yield _as("whiteout-then-a-file-below", [file(b".wh.d"), file(b"d/e/f")], [*again, file(b"d/e/f")])
    yield _as("file-below-then-whiteout", [file(b"d/e/f"), file(b".wh.d")], [*again, file(b"d/e/f")])
    yield _as("whiteout-then-opaque", [file(b".wh.d"), file(b"d/.wh..wh..opq")], again)
    below = header(b"d/x", b"3", mode=0)
    yield _as("whiteout-then-whiteout-below", [file(b".wh.d"), file(b"d/.wh.x")], [*again, below])
    yield _as("whiteout-then-directory", [file(b".wh.d"), directory(b"d")], again)
    yield _as("aufs-leftovers", [file(b".wh..wh.aufs"), directory(b".wh..wh.plnk"), file(b"f")], [file(b"f")])


def _metadata() -> Iterator[Twin]:
    """Owners, bits, attributes and times (M03-M05, M08-M12)."""
    for mode in (0o4755, 0o2755, 0o6711, 0o1644, 0o7777, 0, 0o777):
        yield _same(f"file-{mode:o}", file(b"f", b"1", mode=mode, uid=5, gid=6))
    for mode in (0o1777, 0o2775, 0o555, 0o700, 0o111, 0):
        yield _same(
            f"directory-{mode:o}", directory(b"d", mode, gid=8), file(b"d/f", b"1"), directory(b"d/e")
        )
    yield _same("owner-3000000000", pax({b"uid": b"3000000000", b"gid": b"7"}) + file(b"f"))
    yield _same("owner-base-256", header(b"f", raw_uid=b"\x80\0\0\0\0\x20\0\0"))
    yield _same("owner-of-a-link", header(b"l", b"2", link=b"t", mode=0o777, uid=5, gid=6))
    capability = struct.pack("<IIIII", 0x02000001, 1 << 10, 0, 0, 0)
    yield _same(
        "capability", pax({b"SCHILY.xattr.security.capability": capability}) + file(b"f", mode=0o755, uid=7)
    )
    note = {b"SCHILY.xattr.user.note": b"a\nb=\xff", b"SCHILY.xattr.user.empty": b""}
    yield _same("attributes", pax(note) + file(b"f"), pax(note) + directory(b"d"))
    for text in (b"1600000000.123456789", b"-1.5", b"0", b"8589934592", b"1.1", b"1600000000.5000"):
        yield _same(
            f"time-{text.decode()}",
            pax({b"mtime": text}) + file(b"f"),
            pax({b"mtime": text}) + symlink(b"l", b"f"),
        )
    yield _same("time-base-256", header(b"f", raw_mtime=b"\xff" * 11 + b"\xfe"))
    yield _same(
        "directory-times", directory(b"d", mtime=5), file(b"d/f"), directory(b"d/e", mtime=6), file(b"d/e/g")
    )


def _replacements() -> Iterator[Twin]:
    """The last of equal names wins (L15, L16)."""
    things = {
        "file": file(b"x", b"1"), "directory": directory(b"x") + file(b"x/f"), "link": symlink(b"x", b"t"),
        "fifo": header(b"x", b"6"), "device": header(b"x", b"3", device=(1, 3)),
    }  # fmt: skip
    target = directory(b"t")
    for old, before in things.items():
        for new, after in things.items():
            if old != new:
                # What lower layers have there went with what stood in its place.
                hidden = pax({b"SCHILY.xattr.trusted.overlay.opaque": b"y"}) if new == "directory" else b""
                yield _as(f"{old}-then-{new}", [target, before, after], [target, hidden + after])
    yield _as("file-twice", [file(b"x", b"1", mode=0o4755), file(b"x", b"22")], [file(b"x", b"22")])
    yield _same(
        "directory-twice", directory(b"d", 0o700, mtime=1), file(b"d/f"), directory(b"d", 0o755, mtime=2)
    )
    broken = [file(b"f", b"1"), hard_link(b"g", b"f"), file(b"f", b"2")]
    yield _as("hard-link-broken-up", broken, [file(b"g", b"1"), file(b"f", b"2")])
    deep = b"".join(gnu_long(b"x/" + b"d/" * n) + directory(b"x") for n in range(300))
    yield _as("deep-tree-then-file", [deep, file(b"x", b"1")], [file(b"x", b"1")])


def _sparse_files() -> Iterator[Twin]:
    """The five ways GNU tar has written holes (T04)."""
    # Each piece but the last fills whole records: GNU tar pads them, and Go's reader does not.
    after, data = file(b"after", b"1"), b"data" * 129
    yield _same("sparse-old", old_sparse(b"f", b"data" * 200, [(4096, 800)], 4896) + after)
    hole = [(0, 512), (1 << 20, 0)]
    yield _same("sparse-old-hole-at-the-end", old_sparse(b"f", b"data" * 128, hole, 1 << 20) + after)
    many = [(n * 4096, 512) for n in range(60)]
    yield _same("sparse-old-many-pieces", old_sparse(b"f", b"data" * 128 * 60, many, 59 * 4096 + 512) + after)
    zero = record(b"GNU.sparse.size", b"8196") + record(b"GNU.sparse.numblocks", b"2")
    pieces = [(b"0", b"512"), (b"8192", b"4")]
    zero += b"".join(record(b"GNU.sparse.offset", o) + record(b"GNU.sparse.numbytes", n) for o, n in pieces)
    yield _same("sparse-0.0", pax_raw(zero) + file(b"f", data) + after)
    one = {
        b"GNU.sparse.size": b"8196",
        b"GNU.sparse.numblocks": b"2",
        b"GNU.sparse.map": b"0,512,8192,4",
        b"GNU.sparse.name": b"f",
    }
    yield _same("sparse-0.1", pax(one) + file(b"GNUSparseFile.1/f", data) + after)
    yield _same("sparse-1.0", sparse_1_0(b"2\n0\n512\n8192\n4\n", data, size=8196) + after)
    yield _same("sparse-1.0-all-hole", sparse_1_0(b"1\n1048576\n0\n", b"", size=1 << 20) + after)


def _streams() -> Iterator[Twin]:
    """Ends, members and frames (T05, T07-T09)."""
    entries = directory(b"d", mtime=5) + file(b"d/f", b"content" * 999)
    plain = entries + END
    packed = gzip.compress(plain, mtime=0)
    named = packed[:3] + b"\x1c" + packed[4:10] + b"\x05\0extra" + b"name\0comment\0" + packed[10:]
    skippable = b"\x50\x2a\x4d\x18" + struct.pack("<I", 9) + b"skip this"
    parts = [plain[n : n + 777] for n in range(0, len(plain), 777)]
    for name, layer in {
        "without-an-end": entries,
        "half-an-end": entries + bytes(512),
        "long-end": plain + bytes(10_240),
        "junk-behind-the-end": plain + b"junk" * 999,
        "gzip": packed,
        "gzip-many-members": b"".join(gzip.compress(part) for part in parts),
        "gzip-with-an-empty-member": gzip.compress(b"") + packed + gzip.compress(b""),
        "gzip-with-all-fields": named,
        "gzip-then-zeros": packed + bytes(999),
        "gzip-stored": gzip.compress(plain, 0),
        "zstd": zstd_frame(plain),
        "zstd-many-frames": b"".join(zstd_frame(part) for part in parts),
        "zstd-skippable-first": skippable + zstd_frame(plain),
        "zstd-skippable-between": zstd_frame(parts[0]) + skippable + zstd_frame(b"".join(parts[1:])),
        "zstd-skippable-last": zstd_frame(plain) + skippable,
    }.items():  # fmt: skip
        yield Twin(f"stream-{name}", layer, plain)
