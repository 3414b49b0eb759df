"""Layers that try to reach outside: through links, by names, by replacing what was there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

from tests.cases.case import OUT, Case, contained, old_sparse, refused, sparse_1_0
from tests.fakes.tars import (
    END,
    directory,
    file,
    gnu_long,
    hard_link,
    header,
    pax,
    symlink,
)  # fmt: skip

# --- through links -----------------------------------------------------------------------------

_Link = tuple[Callable[[bytes], bytes], bytes, bytes, set[bytes]]
"""Entries that make a way out of a path; that path; where it really leads; the names made on the way.

For L04 and L07 the catalogue would refuse. The root is `/` for every link of an image (as for
containerd, and as it will be in the container), so these links lead to places inside: contained.
"""
_LINKS: dict[str, _Link] = {
    "relative": (lambda out: symlink(b"w", b"../outside"), b"w", b"outside", {b"w"}),
    "absolute": (lambda out: symlink(b"w", b"/outside"), b"w", b"outside", {b"w"}),
    "absolute-out": (lambda out: symlink(b"w", out), b"w", OUT, {b"w"}),
    "chained": (lambda out: symlink(b"w", b"v") + symlink(b"v", b"../outside"), b"w", b"outside", {b"w", b"v"}),
    "two-hop": (
        lambda out: symlink(b"go", b"..") + symlink(b"go/up", b"../outside"),
        b"go/up",
        b"outside",
        {b"go", b"up"},
    ),
    "dots-in-the-middle": (
        lambda out: directory(b"d") + symlink(b"w", b"d/../../outside"),
        b"w",
        b"outside",
        {b"w", b"d"},
    ),
    "sibling-prefix": (lambda out: symlink(b"w", b"../root-evil"), b"w", b"root-evil", {b"w"}),
    "many-dots": (lambda out: symlink(b"w", b"../" * 30 + b"outside"), b"w", b"outside", {b"w"}),
    "from-the-deep": (
        lambda out: symlink(b"a/b/c/w", b"../../../../outside"),
        b"a/b/c/w",
        b"outside",
        {b"a/b/c/w"},
    ),
    "dots-after-a-link": (
        lambda out: directory(b"x/y") + symlink(b"s", b"x/y") + symlink(b"w", b"s/../../../outside"),
        b"w",
        b"outside",
        {b"x/y", b"s", b"w"},
    ),
    "proc-cwd": (
        lambda out: symlink(b"w", b"/proc/self/cwd/../outside"),
        b"w",
        b"proc/self/outside",
        {b"w"},
    ),
    "proc-fd": (lambda out: symlink(b"w", b"/proc/self/fd/3"), b"w", b"proc/self/fd/3", {b"w"}),
    "pax-linkpath": (
        lambda out: pax({b"linkpath": b"../" * 200 + b"outside"}) + symlink(b"w", b"harmless"),
        b"w",
        b"outside",
        {b"w"},
    ),
    "gnu-long-link": (
        lambda out: gnu_long(b"../" * 200 + b"outside", b"K") + symlink(b"w", b"harmless"),
        b"w",
        b"outside",
        {b"w"},
    ),
}  # fmt: skip

_Write = tuple[Callable[[bytes], bytes], set[bytes]]
"""What is written below that path, and the names it has there."""
_WRITES: dict[str, _Write] = {
    "file": (lambda w: file(w + b"/secret", b"gone"), {b"/secret"}),
    "directory": (lambda w: directory(w + b"/dir", 0o700), {b"/dir"}),
    "deep-file": (lambda w: file(w + b"/dir/inner", b"gone"), {b"/dir/inner"}),
    "symlink": (lambda w: symlink(w + b"/secret", b"x"), {b"/secret"}),
    "hard-link": (lambda w: file(b"f") + hard_link(w + b"/secret", b"f"), {b"/secret"}),
    "fifo": (lambda w: header(w + b"/pipe", b"6"), {b"/pipe"}),
    "device": (lambda w: header(w + b"/null", b"3", device=(1, 3)), {b"/null"}),
    "whiteout": (lambda w: file(w + b"/.wh.secret"), {b"/secret"}),
    "opaque": (lambda w: file(w + b"/.wh..wh..opq"), {b""}),
    "sparse-file": (lambda w: old_sparse(w + b"/secret", b"gone", [(0, 4)], 4), {b"/secret"}),
    "setuid-file": (lambda w: file(w + b"/secret", b"gone", mode=0o4755, uid=1), {b"/secret"}),
    "name-by-pax": (lambda w: pax({b"path": w + b"/secret"}) + file(b"x", b"gone"), {b"/secret"}),
    "name-by-gnu": (lambda w: gnu_long(w + b"/secret") + file(b"x", b"gone"), {b"/secret"}),
}


def through_links() -> Iterator[Case]:
    """Every kind of entry below every kind of link (L04-L07, W02), and onto the link itself (L11, L15)."""
    for how, (make, path, target, made) in _LINKS.items():
        for what, (write, below) in _WRITES.items():
            names = made | {target + name for name in below} | ({b"f"} if what == "hard-link" else set())
            names |= {b"proc/self/cwd"} if how == "proc-cwd" else set()
            if what == "device":
                # Its directory is made only with it.
                yield Case(
                    f"{how}/{what}",
                    "L04-L07",
                    partial(_join, make, write(path)),
                    "contained",
                    frozenset(names),
                    needs_root=True,
                )
            else:
                yield Case(
                    f"{how}/{what}",
                    "L04-L07",
                    partial(_join, make, write(path)),
                    "contained",
                    frozenset(names),
                )
        yield Case(
            f"{how}/link-to-a-file-behind",
            "L08",
            partial(_join, make, hard_link(b"h", path + b"/secret")),
            "refused",
        )
        onto = {
            "file-onto-the-link": file(path, b"gone"),
            "directory-onto-the-link": directory(path, 0o700),
            "fifo-onto-the-link": header(path, b"6"),
            "whiteout-of-the-link": _hide(path),
        }
        for what, entry in onto.items():
            yield Case(f"{how}/{what}", "L15 W03", partial(_join, make, entry), "contained", frozenset(made))
        second = hard_link(b"second", path) + header(b"second", b"1", link=path, mode=0o777, uid=1)
        yield Case(
            f"{how}/hard-link-to-the-link", "L11", partial(_join, make, second), "contained", frozenset(made | {b"second"})
        )  # fmt: skip


def _join(make: Callable[[bytes], bytes], entry: bytes, out: bytes) -> bytes:
    return make(out) + entry + END


def _hide(path: bytes) -> bytes:
    parent, _, name = path.rpartition(b"/")
    return file(parent + b"/.wh." + name)


# --- names -------------------------------------------------------------------------------------

_DOTS = [
    b"..", b"../", b"../outside/secret", b"../../outside/secret", b"/../outside/secret", b"./../outside/secret",
    b"a/../../outside/secret", b"a/..", b"a/b/../../../outside/secret", b"../root/back", b"../root-evil/secret",
    b"//..//outside", b"a/./../../outside/secret", b"../" * 20 + b"etc/passwd",
]  # fmt: skip


def dots() -> Iterator[Case]:
    """Names with a way up, in every spelling and of every kind (L01); names that only look like it."""
    for name in _DOTS:
        shown = name.decode()
        yield refused(f"dots/file/{shown}", "L01", file(name, b"gone"))
        yield refused(f"dots/directory/{shown}", "L01", directory(name, 0o700))
        yield refused(f"dots/symlink/{shown}", "L01 L20", symlink(name, b"x"))
        yield refused(f"dots/hard-link/{shown}", "L01", file(b"f"), hard_link(name, b"f"))
        yield refused(f"dots/fifo/{shown}", "L01", header(name, b"6"))
        yield refused(f"dots/device/{shown}", "L01", header(name, b"3", device=(1, 3)))
        yield refused(f"dots/whiteout/{shown}", "L01", file(name.rstrip(b"/") + b"/.wh.secret"))
        yield refused(f"dots/pax/{shown}", "L01", pax({b"path": name}) + file(b"x", b"gone"))
        yield refused(f"dots/gnu/{shown}", "L01", gnu_long(name) + file(b"x", b"gone"))
        yield refused(f"dots/prefix/{shown}", "L01", header(b"x", prefix=name))
        yield refused(f"dots/sparse-name/{shown}", "L01", sparse_1_0(b"1\n0\n4\n", b"gone", name=name))
    yield contained("names/absolute", "L02", {b"etc/x"}, file(b"/etc/x"))
    yield contained("names/many-slashes", "L02", {b"etc/x"}, file(b"///etc///x"))
    yield Case(
        "names/absolute-out",
        "L02",
        lambda out: file(out + b"/secret") + END,
        "contained",
        frozenset({OUT + b"/secret"}),
    )
    yield contained("names/four-dots", "L01", {b"..../x"}, file(b"..../x"))
    yield contained("names/dots-and-space", "L01", {b".. /x"}, file(b".. /x"))
    yield contained("names/backslashes", "L23", {b"..\\..\\x"}, file(b"..\\..\\x"))
    yield refused("names/empty", "L03", file(b""))
    for kind in (b"0", b"1", b"2", b"3", b"6"):
        for name in (b".", b"/", b"./", b"/."):
            entry = header(name, kind, link=b"/outside", mode=0o755)
            if kind == b"0" and name.endswith(b"/"):
                # Before POSIX that was a directory, and the root may be described.
                yield contained(f"root/{kind.decode()}{name.decode()}", "L03", set(), entry)
            else:
                yield refused(f"root/{kind.decode()}{name.decode()}", "L03", entry)
    yield refused("names/zero-byte", "L20", pax({b"path": b"a\0/../x"}) + file(b"x"))
    yield refused("names/zero-byte-in-a-link", "L20", pax({b"linkpath": b"a\0b"}) + symlink(b"x", b"y"))
    yield refused("names/component-of-256", "L23", pax({b"path": b"n" * 256}) + file(b"x"))
    yield refused("names/longer-than-a-path", "L23", pax({b"path": b"n/" * 3000 + b"x"}) + file(b"x"))


# --- hard links --------------------------------------------------------------------------------


def hard_links() -> Iterator[Case]:
    """Hard links to outside, to nothing, to themselves (L08, L12-L14)."""
    for target in (
        b"../outside/secret", b"/../outside/secret", b"a/../../outside/secret", b"/outside/secret", b"outside/secret",
        b"secret", b"./secret", b"../root-evil/secret", b"..", b".", b"/", b"./", b"h", b"./h", b"/h", b"late",
        b"/proc/self/exe", b"/etc/passwd", b"dir/inner",
    ):  # fmt: skip
        shown = target.decode()
        late = file(b"late") if target == b"late" else b""
        yield refused(f"hard-link/{shown}", "L08 L12-L14", hard_link(b"h", target), late, file(b"h", b"gone"))
        yield refused(
            f"hard-link/pax/{shown}", "L08", pax({b"linkpath": target}) + hard_link(b"h", b"f"), late
        )
        yield refused(f"hard-link/gnu/{shown}", "L08", gnu_long(target, b"K") + hard_link(b"h", b"f"), late)
    yield Case(
        "hard-link/absolute-out", "L08", lambda out: hard_link(b"h", out + b"/secret") + END, "refused"
    )
    yield refused("hard-link/to-a-directory", "L08", directory(b"d"), hard_link(b"h", b"d"), file(b"h/x"))
    yield refused("hard-link/to-a-whiteout", "L13 W08", file(b".wh.w"), hard_link(b"h", b"w"))
    yield refused("hard-link/without-target", "L08", hard_link(b"h", b""))
    # Attributes of the user's kind are nothing that a symbolic link can have.
    yield contained(
        "hard-link/to-a-link-then-described",
        "L11",
        {b"a", b"h"},
        symlink(b"a", b"../outside/secret"),
        pax({b"SCHILY.xattr.user.mark": b"1", b"mtime": b"1"})
        + header(b"h", b"1", link=b"a", mode=0o4777, uid=1),
        skips=True,
    )
    yield contained(
        "hard-link/to-a-link-then-written", "L11", {b"a", b"h"},
        symlink(b"a", b"../outside/secret"), hard_link(b"h", b"a"), file(b"h", b"gone"), file(b"a", b"gone"),
    )  # fmt: skip


# --- swaps -------------------------------------------------------------------------------------


def swaps() -> Iterator[Case]:
    """A parent that was used becomes a way out before it is used again (L15, L16, L21)."""
    before = directory(b"a") + directory(b"a/dir", mtime=5) + file(b"a/dir/kept")
    for how, target in {
        "relative": b"../outside",
        "absolute": b"/outside",
        "sibling": b"../root-evil",
        "dots": b"x/../../outside",
    }.items():
        place = b"root-evil" if how == "sibling" else b"outside"
        implied = {b"x"} if how == "dots" else set()
        for what, (write, below) in _WRITES.items():
            if what == "device":
                continue
            names = {b"a"} | implied | {place + b"/dir" + name for name in below}
            names |= {b"f"} if what == "hard-link" else set()
            yield contained(
                f"swap/{how}/{what}", "L15 L21", names, before, symlink(b"a", target), write(b"a/dir")
            )
        yield refused(
            f"swap/{how}/hard-link-of-what-was",
            "L15",
            before,
            symlink(b"a", target),
            hard_link(b"h", b"a/dir/kept"),
        )
        yield contained(
            f"swap/{how}/by-hard-link", "L15", {b"a", b"s", place + b"/dir/secret"} | implied,
            before, symlink(b"s", target), hard_link(b"a", b"s"), file(b"a/dir/secret", b"gone"),
        )  # fmt: skip
        yield contained(f"swap/{how}/late-times", "L15 M11", {b"a"}, before, symlink(b"a", target))
        yield contained(
            f"swap/{how}/and-back", "L15 L16", {b"a/dir/secret"},
            before, symlink(b"a", target), directory(b"a"), file(b"a/dir/secret"),
        )  # fmt: skip
    yield refused("swap/by-a-file", "L17", before, file(b"a"), file(b"a/dir/secret"))
    yield refused("swap/by-a-fifo", "L17", before, header(b"a", b"6"), file(b"a/dir/secret"))


def links_to_nowhere() -> Iterator[Case]:
    """Links without an end (L19, L20)."""
    chain = b"".join(symlink(b"l%d" % n, b"l%d" % (n + 1)) for n in range(60))
    yield refused("loop/self", "L19", symlink(b"a", b"a"), file(b"a/f"))
    yield refused("loop/two", "L19", symlink(b"a", b"b"), symlink(b"b", b"a"), file(b"a/f"))
    yield refused("loop/growing", "L19", symlink(b"a", b"a/a/a"), file(b"a/f"))
    yield refused("loop/whiteout", "L19", symlink(b"a", b"a"), file(b"a/.wh.f"))
    yield refused("loop/opaque", "L19", symlink(b"a", b"a"), file(b"a/.wh..wh..opq"))
    yield refused("loop/hard-link", "L19", symlink(b"a", b"a"), hard_link(b"h", b"a/secret"))
    yield refused("loop/sixty-hops", "L19", chain, directory(b"l60"), file(b"l0/f"))
    yield refused("link/empty", "L20", symlink(b"a", b""))
    yield refused("link/of-4096-bytes", "L19", gnu_long(b"a/" * 2048, b"K") + symlink(b"a", b"x"))
    yield refused("link/longer-than-allowed", "L19", gnu_long(b"a/" * 4000, b"K") + symlink(b"a", b"x"))
    yield refused(
        "link/component-of-256", "L19", gnu_long(b"n" * 256, b"K") + symlink(b"a", b"x"), file(b"a/f")
    )
