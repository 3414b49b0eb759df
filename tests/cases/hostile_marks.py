"""Layers with whiteouts that are none, and with metadata that speaks to the host."""

from __future__ import annotations

from collections.abc import Iterator

from tests.cases.case import Case, contained, refused
from tests.fakes.tars import (
    directory,
    file,
    hard_link,
    header,
    pax,
    symlink,
)  # fmt: skip

# --- whiteouts ---------------------------------------------------------------------------------


def whiteouts() -> Iterator[Case]:
    """Whiteouts of nothing, of parents, of other kinds (W01-W08)."""
    for name in (b".wh.", b".wh..", b".wh...", b"d/.wh.", b"d/.wh..", b"d/.wh..."):
        for kind in (b"0", b"2", b"1", b"5"):
            yield refused(f"whiteout/{kind.decode()}/{name.decode()}", "W01", header(name, kind, link=b"x"))
    yield contained("whiteout/of-a-link", "W03", {b"a"}, symlink(b"a", b"../outside"), file(b".wh.a"))
    yield contained("whiteout/that-is-a-link", "W06", {b"a"}, symlink(b".wh.a", b"../outside"))
    yield contained("whiteout/that-is-a-hard-link", "W06", {b"a"}, hard_link(b".wh.a", b"/outside/secret"))
    yield contained("whiteout/that-is-a-directory", "W06", {b"a"}, directory(b".wh.a"))
    yield contained("whiteout/as-a-directory", "W06", {b".wh.a/f"}, file(b".wh.a/f"))
    yield contained("whiteout/with-data", "W06", {b"a", b"f"}, file(b".wh.a", b"x" * 700), file(b"f"))
    yield contained("whiteout/aufs", "W07", set(), file(b".wh..wh.aufs"), skips=True)
    yield contained("whiteout/aufs-plnk", "W07", set(), directory(b".wh..wh.plnk"), skips=True)
    yield contained("whiteout/raw", "W08", set(), header(b"a", b"3", device=(0, 0)), skips=True)
    yield contained(
        "whiteout/below-a-replaced-directory", "W10", {b"d", b"outside/x"},
        directory(b"d"), symlink(b"d", b"../outside"), file(b"d/.wh.x"),
    )  # fmt: skip
    yield contained("whiteout/opaque-root", "W04", set(), file(b".wh..wh..opq"))


# --- metadata ----------------------------------------------------------------------------------


def attributes() -> Iterator[Case]:
    """Attributes by which a layer would speak to the host (M06-M08)."""
    for key in (
        b"trusted.overlay.opaque", b"trusted.overlay.redirect", b"trusted.overlay.metacopy", b"trusted.overlay.origin",
        b"trusted.any", b"user.overlay.opaque", b"user.overlay.redirect", b"user.overlay.metacopy", b"security.selinux",
        b"system.nfs4_acl", b"nonsense", b"user.", b"", b"user.\0zero", b"user." + b"n" * 300,
    ):  # fmt: skip
        shown = key.decode().replace("\0", "0")[:30]
        entry = pax({b"SCHILY.xattr." + key: b"/../outside"})
        yield contained(f"xattr/file/{shown}", "M06-M08", {b"f"}, entry + file(b"f"), skips=True)
        yield contained(f"xattr/directory/{shown}", "M06-M08", {b"d"}, entry + directory(b"d"), skips=True)
        yield contained(
            f"xattr/link/{shown}", "M06-M08", {b"l"}, entry + symlink(b"l", b"../outside"), skips=True
        )
    on_link = pax({b"SCHILY.xattr.user.x": b"1"}) + symlink(b"l", b"../outside/secret")
    yield contained("xattr/user-on-a-link", "M08", {b"l"}, on_link, skips=True)
    too_large = pax({b"SCHILY.xattr.user.x": b"v" * 70_000}) + file(b"f")
    yield contained("xattr/of-70-KB", "M08", {b"f"}, too_large, skips=True)


def metadata() -> Iterator[Case]:
    """Owners that are none, modes and times of what links lead to (L11, M09, M10)."""
    for what, entry in {
        "negative": header(b"f", raw_uid=b"\xff" * 8),
        "no-id": pax({b"uid": b"4294967295"}) + header(b"f"),
        "64-bit": pax({b"gid": b"9" * 19}) + header(b"f"),
        "pax-negative": pax({b"uid": b"-1"}) + header(b"f"),
        "pax-hex": pax({b"uid": b"0x0"}) + header(b"f"),
        "pax-space": pax({b"uid": b" 0"}) + header(b"f"),
    }.items():
        yield refused(f"owner/{what}", "M09", entry)
    # The catalogue would take these times as a clamped number; Go's reader refuses them, and so do we.
    for text in (b"nan", b"inf", b"1e9", b"--1", b"1.2.3", b"0x10", b"."):
        yield refused(f"time/{text.decode()}", "M10", pax({b"mtime": text}) + file(b"f"))
    link = symlink(b"l", b"../outside/secret")
    yield contained("time/of-a-link", "L11", {b"l"}, pax({b"mtime": b"1"}) + link)
    yield contained(
        "mode/of-a-link", "L11", {b"l"}, header(b"l", b"2", link=b"../outside/secret", mode=0o4777, uid=1)
    )
