"""Situations in which layers meet, as data: what each layer has, and what is seen of them all."""

from __future__ import annotations

import os
import socket
import stat
import struct
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

Late = Callable[[], None]
Step = Callable[[Path], Late | None]
"""Makes something in the directory of a layer; what would be undone by the next steps comes late."""

TIME = 1_600_000_000 * 10**9
ACCESS_ACL = "system.posix_acl_access"
DEFAULT_ACL = "system.posix_acl_default"


@dataclass(frozen=True)
class Merge:
    """Some layers, lowest first, and the names that are seen of them."""

    name: str
    layers: tuple[tuple[Step, ...], ...]
    seen: frozenset[str]
    needs_root: bool = False


def build(case: Merge, base: Path) -> list[Path]:
    """The directories of the layers, made by whoever calls."""
    found = []
    for number, steps in enumerate(case.layers):
        root = base / f"layer-{number}"
        root.mkdir()
        late = [step(root) for step in steps]
        for finish in reversed(late):
            if finish is not None:
                finish()
        found.append(root)
    return found


# --- steps ---------------------------------------------------------------------------------


def file(
    name: str,
    content: bytes = b"",
    *,
    mode: int = 0o644,
    mtime: int = TIME,
    owner: tuple[int, int] | None = None,
    xattrs: Mapping[str, bytes] | None = None,
    data: Iterable[tuple[int, int]] = (),
    size: int = 0,
) -> Step:
    """A file; with a size, one that has a hole wherever there is no data."""

    def step(root: Path) -> None:
        path = _placed(root, name)
        path.write_bytes(content or name.encode(errors="surrogateescape"))
        if size:
            os.truncate(path, 0)
            os.truncate(path, size)
            with path.open("r+b") as out:
                for offset, length in data:
                    out.seek(offset)
                    out.write(os.urandom(length))
        _describe(path, mode, mtime, owner, xattrs)

    return step


def folder(
    name: str,
    *,
    mode: int = 0o755,
    mtime: int = TIME,
    owner: tuple[int, int] | None = None,
    xattrs: Mapping[str, bytes] | None = None,
) -> Step:
    """A directory."""

    def step(root: Path) -> Late:
        path = root / name
        path.mkdir(parents=True, exist_ok=True)
        return lambda: _describe(path, mode, mtime, owner, xattrs)

    return step


def symlink(name: str, target: str, mtime: int = TIME) -> Step:
    def step(root: Path) -> None:
        _placed(root, name).symlink_to(target)
        os.utime(root / name, ns=(0, mtime), follow_symlinks=False)

    return step


def hard_link(name: str, target: str) -> Step:
    def step(root: Path) -> None:
        os.link(root / target, _placed(root, name), follow_symlinks=False)

    return step


def node(name: str, kind: int, device: tuple[int, int] = (0, 0), mode: int = 0o640) -> Step:
    """A FIFO, a device or a whiteout."""

    def step(root: Path) -> None:
        path = _placed(root, name)
        os.mknod(path, kind, os.makedev(*device))
        path.chmod(mode)
        os.utime(path, ns=(0, TIME))

    return step


def listening(name: str) -> Step:
    """A socket."""

    def step(root: Path) -> None:
        here = os.open(_placed(root, name).parent, os.O_PATH)
        with socket.socket(socket.AF_UNIX) as it:
            it.bind(f"/proc/self/fd/{here}/{Path(name).name}")
        os.close(here)

    return step


def gone(name: str) -> Step:
    """A whiteout."""
    return node(name, stat.S_IFCHR)


def opaque(name: str) -> Step:
    """A directory that hides what lower layers have in it."""

    def step(root: Path) -> None:
        (root / name).mkdir(parents=True, exist_ok=True)
        space = "user" if os.geteuid() else "trusted"
        os.setxattr(root / name, f"{space}.overlay.opaque", b"y")

    return step


def acl(*entries: tuple[int, int, int]) -> bytes:
    """An access control list as an attribute: (tag, permissions, id) in the kernel's order."""
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


def _placed(root: Path, name: str) -> Path:
    path = root / name
    if not path.parent.exists():
        for parent in reversed(path.parents):  # pathlib would recur
            parent.mkdir(exist_ok=True)
    return path


def _describe(
    path: Path, mode: int, mtime: int, owner: tuple[int, int] | None, xattrs: Mapping[str, bytes] | None
) -> None:
    if owner is not None:
        os.chown(path, *owner)
    path.chmod(mode)
    for key, value in (xattrs or {}).items():
        os.setxattr(path, key, value)
    os.utime(path, ns=(0, mtime))


# --- the table -----------------------------------------------------------------------------

_ANY = 0xFFFFFFFF
_SHARED = acl((1, 6, _ANY), (2, 4, 65534), (4, 4, _ANY), (16, 4, _ANY), (32, 0, _ANY))
_CAPABILITY = struct.pack("<IIIII", 0x02000001, 1 << 10, 0, 0, 0)
_LONG = "n" * 255
_BYTES = os.fsdecode(b"caf\xe9 \n\xff")
_DEEP = "/".join(["d"] * 1500)
_FIFO, _CHAR, _BLOCK = stat.S_IFIFO, stat.S_IFCHR, stat.S_IFBLK


def merges() -> list[Merge]:
    return [*_kinds(), *_hiding(), *_links(), *_facts(), *_names()]


def _case(name: str, *layers: tuple[Step, ...], seen: str | Iterable[str], needs_root: bool = False) -> Merge:
    names = seen.split() if isinstance(seen, str) else seen
    return Merge(name, layers, frozenset(names), needs_root)


def _kinds() -> list[Merge]:
    """One kind of file over another."""
    full = (file("x/low"), file("x/sub/low"), folder("x"))
    return [
        _case("nothing over nothing", (), (), seen=""),
        _case("one layer", (file("a"), file("d/b")), seen="a d d/b"),
        _case("files side by side", (file("a"),), (file("b"),), (file("d/c"),), seen="a b d d/c"),
        _case("file over file", (file("a", b"low"),), (file("a", b"up", mode=0o600),), seen="a"),
        _case("directory over file", (file("x"),), (file("x/up"),), seen="x x/up"),
        _case("file over directory", full, (file("x"),), seen="x"),
        _case("symlink over directory", full, (symlink("x", "elsewhere"),), seen="x"),
        _case(
            "symlink over directory, what it leads to is not touched",
            (*full, file("elsewhere/kept")),
            (symlink("x", "elsewhere"),),
            seen="x elsewhere elsewhere/kept",
        ),
        _case("directory over symlink", (symlink("x", "y"), folder("y")), (file("x/up"),), seen="x x/up y"),
        _case("directory over symlink to itself", (symlink("x", "x"),), (folder("x"),), seen="x"),
        _case("symlink over file", (file("x"),), (symlink("x", "/etc/passwd"),), seen="x"),
        _case("file over symlink", (symlink("x", "/etc/passwd"),), (file("x"),), seen="x"),
        _case("file between directories", full, (file("x"),), (file("x/up"),), seen="x x/up"),
        _case("symlink between directories", full, (symlink("x", "y"),), (file("x/up"),), seen="x x/up"),
        _case("fifo between directories", full, (node("x", _FIFO),), (file("x/up"),), seen="x x/up"),
        _case(
            "fifo over file, file over fifo",
            (file("a"), node("b", _FIFO)),
            (node("a", _FIFO), file("b")),
            seen="a b",
        ),
        _case(
            "socket over file, file over socket",
            (file("a"), listening("b")),
            (listening("a"), file("b")),
            seen="a b",
        ),
        _case(
            "devices, over files and under them",
            (file("a"), node("b", _CHAR, (1, 3)), node("c", _BLOCK, (7, 0)), node("d/e", _CHAR, (0, 1))),
            (node("a", _CHAR, (1, 5), 0o4620), file("b")),
            seen="a b c d d/e",
            needs_root=True,
        ),
        _case(
            "directories that are merged three times",
            (file("x/y/a"), file("x/low"), file("x/b")),
            (file("x/y/b"), file("x/middle"), file("x/b")),
            (file("x/y/c"), file("x/up"), file("x/b")),
            seen="x x/y x/y/a x/y/b x/y/c x/low x/middle x/up x/b",
        ),
        _case(
            "a layer between that has no part in a directory",
            (file("x/y/z/a"), file("x/q/a"), file("w/a")),
            (file("x/r/b"), file("w/b")),
            (file("x/y/z/c"), file("x/q/c"), file("w/c")),
            seen="x x/y x/y/z x/y/z/a x/y/z/c x/q x/q/a x/q/c x/r x/r/b w w/a w/b w/c",
        ),
    ]


def _hiding() -> list[Merge]:
    """Whiteouts and opaque directories."""
    full = (file("x/low"), file("x/sub/low"), folder("x"), file("y"))
    return [
        _case("whiteout of a file", full, (gone("y"),), seen="x x/low x/sub x/sub/low"),
        _case("whiteout of a directory", full, (gone("x"),), seen="y"),
        _case(
            "whiteout of a symlink, not of what it leads to",
            (symlink("l", "y"), file("y")),
            (gone("l"),),
            seen="y",
        ),
        _case("whiteout in a directory", full, (gone("x/low"),), seen="x x/sub x/sub/low y"),
        _case("whiteout of nothing", full, (gone("z"),), seen="x x/low x/sub x/sub/low y"),
        _case("whiteout in the lowest layer", (gone("z"), file("a")), (file("b"),), seen="a b"),
        _case(
            "whiteout and the name again", (file("x", b"old"),), (gone("x"),), (file("x", b"new"),), seen="x"
        ),
        _case("whiteout and a directory again", full, (gone("x"),), (file("x/new"),), seen="x x/new y"),
        _case("whiteout of what came again", (file("x"),), (gone("x"),), (file("x"),), (gone("x"),), seen=""),
        _case(
            "whiteout in a directory that came again",
            full,
            (gone("x"),),
            (file("x/a"),),
            (gone("x/a"),),
            seen="x y",
        ),
        _case(
            "whiteout of a fifo and of a socket",
            (node("a", _FIFO), listening("b")),
            (gone("a"), gone("b")),
            seen="",
        ),
        _case("opaque over a full directory", full, (opaque("x"), file("x/new")), seen="x x/new y"),
        _case("opaque and empty", full, (opaque("x"),), seen="x y"),
        _case("opaque in the lowest layer", (opaque("x"), file("x/a")), (file("x/b"),), seen="x x/a x/b"),
        _case("opaque over nothing", (file("a"),), (opaque("x"), file("x/b")), seen="a x x/b"),
        _case("opaque over a file", (file("x"),), (opaque("x"), file("x/b")), seen="x x/b"),
        _case(
            "opaque between what is hidden and what is seen",
            full,
            (opaque("x"), file("x/middle"), file("x/sub/middle")),
            (file("x/up"), file("x/sub/up")),
            seen="x x/middle x/up x/sub x/sub/middle x/sub/up y",
        ),
        _case(
            "opaque in opaque",
            full,
            (opaque("x"), opaque("x/sub"), file("x/sub/middle")),
            (opaque("x/sub"), file("x/sub/up")),
            seen="x x/sub x/sub/up y",
        ),
        _case(
            "opaque below a directory that is not",
            full,
            (opaque("x/sub"), file("x/sub/up")),
            seen="x x/low x/sub x/sub/up y",
        ),
        _case("opaque twice", full, (opaque("x"), file("x/a")), (opaque("x"), file("x/b")), seen="x x/b y"),
        _case("opaque, hidden by a file", full, (opaque("x"), file("x/a")), (file("x"),), seen="x y"),
        _case(
            "opaque, removed, and again", full, (opaque("x"),), (gone("x"),), (file("x/up"),), seen="x x/up y"
        ),
        _case(
            "whiteout below opaque, where it hides what a lower one shows",
            (file("x/a"), file("x/b")),
            (gone("x/a"),),
            (opaque("x"), file("x/c")),
            (gone("x/c"), file("x/d")),
            seen="x x/d",
        ),
        _case(
            "whiteout in opaque",
            full,
            (opaque("x"), gone("x/low"), file("x/a")),
            (file("x/b"),),
            seen="x x/a x/b y",
        ),
        _case("opaque root", full, (opaque("."), file("a")), (file("b"),), seen="a b"),
        _case("opaque root of the uppermost layer", full, (file("a"),), (opaque("."),), seen=""),
        _case("opaque root of the lowest layer", (opaque("."), file("a")), (file("b"),), seen="a b"),
    ]


def _links() -> list[Merge]:
    """Files with several names."""
    three = (file("a", b"linked", mode=0o4711), hard_link("d/b", "a"), hard_link("d/e/c", "a"))
    return [
        _case("names in one directory", (file("a"), hard_link("b", "a")), (file("c"),), seen="a b c"),
        _case("names across directories", three, (file("d/f"),), seen="a d d/b d/e d/e/c d/f"),
        _case("the first name is hidden", three, (gone("a"),), seen="d d/b d/e d/e/c"),
        _case("a name between is replaced", three, (file("d/b", b"other"),), seen="a d d/b d/e d/e/c"),
        _case("the last name is hidden", three, (gone("d/e"),), seen="a d d/b"),
        _case("two of three names are hidden", three, (opaque("d"), file("d/n")), seen="a d d/n"),
        _case("all names but the deepest are hidden", three, (gone("a"), gone("d/b")), seen="d d/e d/e/c"),
        _case("all names are hidden", three, (gone("a"), gone("d")), seen=""),
        _case("links in each of two layers", three, (*three, file("g")), seen="a d d/b d/e d/e/c g"),
        _case("the same names, other groups", (file("a"), hard_link("b", "a"), file("c")), (file("b"), hard_link("c", "b")), seen="a b c"),
        _case("links of symlinks, fifos and sockets",
            (symlink("s", "x"), hard_link("s2", "s"), node("f", _FIFO), hard_link("d/f2", "f"), listening("o"), hard_link("o2", "o")),
            (file("d/g"),),
            seen="s s2 f d d/f2 d/g o o2",
        ),
        _case("links of a device", (node("n", _CHAR, (1, 3)), hard_link("d/m", "n")), (file("d/g"),), seen="n d d/m d/g", needs_root=True),
        _case("links with attributes and a hole",
            (file("a", size=1 << 20, data=[(4096, 100)], xattrs={"user.k": b"v"}), hard_link("b", "a"), hard_link("c", "a")),
            (gone("a"),),
            seen="b c",
        ),
        _case("many names", (file("a"), *(hard_link(f"d{n % 7}/{n}", "a") for n in range(700))), (gone("d3"), gone("a")),
            seen={f"d{n % 7}/{n}" for n in range(700) if n % 7 != 3} | {f"d{n}" for n in range(7) if n != 3},
        ),
    ]  # fmt: skip


def _facts() -> list[Merge]:
    """Modes, times, owners, attributes and holes."""
    return [
        _case("special bits",
            (file("a", mode=0o4755), file("b", mode=0o2755), file("c", mode=0o6511), folder("d", mode=0o1777), folder("e", mode=0o2775),
             file("e/f", mode=0o7777), folder("e/g", mode=0o755)),
            (folder("d", mode=0o755), folder("e", mode=0o2711), file("e/h"), folder("e/i", mode=0o700)),
            seen="a b c d e e/f e/g e/h e/i",
        ),
        _case("a directory is as the uppermost layer has it",
            (folder("x", mode=0o700, mtime=1, xattrs={"user.low": b"1"}), file("x/a"), folder("x/y", mode=0o711)),
            (folder("x", mode=0o755, mtime=2, xattrs={"user.middle": b"2"}), file("x/b")),
            (folder("x", mode=0o750, mtime=3 * TIME + 7, xattrs={"user.up": b"3"}), file("x/c")),
            seen="x x/a x/b x/c x/y",
        ),
        _case("a lower layer describes what no other has",
            (folder("x", mode=0o700, mtime=1), folder("x/y", mode=0o511, mtime=2)), (folder("x", mtime=9), gone("x/z")), seen="x x/y"),
        _case("the root is as the uppermost layer has it",
            (folder(".", mode=0o755, mtime=1, xattrs={"user.low": b"1"}), file("a")),
            (folder(".", mode=0o1751, mtime=5 * 10**9 + 1, xattrs={"user.up": b"2"}),), seen="a"),
        _case("times",
            (file("past", mtime=-86_400 * 10**9 * 365), file("nanoseconds", mtime=1_234_567_890_123_456_789), file("zero", mtime=0),
             file("future", mtime=2**33 * 10**9 + 999_999_999), symlink("link", "x", mtime=1_111_111_111_111_111_111), folder("d", mtime=123_456_789)),
            (file("up"),), seen="past nanoseconds zero future link d up"),
        _case("owners", (file("a", owner=(1, 2), mode=0o4755), folder("d", owner=(1000, 1001)), file("d/b", owner=(4_000_000_000, 70_000))),
            (folder("d", owner=(3, 4)), file("d/c", owner=(5, 0))), seen="a d d/b d/c", needs_root=True),
        _case("attributes", (file("a", xattrs={"user.a": b"", "user.b": b"\0" * 900}), folder("d", xattrs={"user.d": b"low"})),
            (folder("d", xattrs={"user.e": b"up"}), file("d/f", xattrs={"user.\xe9": b"x"})), seen="a d d/f"),
        _case("capabilities and foreign attributes",
            (file("a", mode=0o755, xattrs={"security.capability": _CAPABILITY}), file("b", xattrs={"trusted.mine": b"1", "security.other": b"2"})),
            (file("c", owner=(7, 7), mode=0o4755, xattrs={"security.capability": _CAPABILITY}),), seen="a b c", needs_root=True),
        _case("access lists, which are inherited by nothing that was there before",
            (file("d/a", mode=0o600), file("d/sub/a", mode=0o600), file("f", mode=0o640, xattrs={ACCESS_ACL: _SHARED}), folder("d", xattrs={DEFAULT_ACL: _SHARED})),
            (file("d/b", mode=0o600), folder("d/new", mode=0o700), node("d/p", _FIFO), symlink("d/l", "x"), folder("d", mode=0o700, xattrs={DEFAULT_ACL: _SHARED})),
            seen="d d/a d/sub d/sub/a d/b d/new d/p d/l f"),
        _case("an access list that only a lower layer has", (file("d/a"), folder("d", xattrs={DEFAULT_ACL: _SHARED})), (file("d/b"), folder("d")), seen="d d/a d/b"),
        _case("holes",
            (file("all", size=1 << 22), file("head", size=1 << 21, data=[(0, 5000)]), file("tail", size=(1 << 21) + 5, data=[((1 << 21) - 3000, 3005)]),
             file("three", size=1 << 22, data=[(8192, 4096), (1 << 20, 70_000), (3 << 20, 1)]), file("none", os.urandom(300_000)), file("small", size=100)),
            (file("up", size=1 << 20, data=[(4096, 4096)]),), seen="all head tail three none small up"),
        _case("modes that keep their owner out",
            (file("a", b"secret", mode=0), file("d/b", b"secret"), file("d/sub/c", b"secret"), folder("d", mode=0), folder("d/sub", mode=0),
             file("e/f"), folder("e", mode=0o555), file("g/h", mode=0o200), folder("g", mode=0o300), file("i/j"), folder("i", mode=0o400)),
            (file("e/up"), folder("e", mode=0o111), file("i/up"), folder("i", mode=0o600), hard_link("i/two", "e/up")),
            seen="a d d/b d/sub d/sub/c e e/f e/up g g/h i i/j i/up i/two"),
        _case("a directory that is closed above and open below, and the other way",
            (file("x/a"), file("y/a"), folder("y", mode=0)), (file("x/b"), folder("x", mode=0), file("y/b")), seen="x x/a x/b y y/a y/b"),
        _case("a root that is closed", (file("a"),), (file("b"), folder(".", mode=0)), seen="a b"),
        _case("linked names that only root can read", (file("a", mode=0), hard_link("d/b", "a"), folder("d", mode=0o100)), (file("c"),), seen="a d d/b c"),
    ]  # fmt: skip


def _names() -> list[Merge]:
    """Names, depths and numbers."""
    many = [f"{n:05}" for n in range(3000)]
    return [
        _case("odd names",
            (file(_BYTES), file(f"{_LONG}/{_LONG}"), file("-r"), file(" "), file("a\\b"), symlink("l", _BYTES), file("d/\x01")),
            (file(f"{_BYTES}-up"), file(f"{_LONG}/{'m' * 255}"), gone("-r")),
            seen={_BYTES, f"{_BYTES}-up", _LONG, f"{_LONG}/{_LONG}", f"{_LONG}/{'m' * 255}", " ", "a\\b", "l", "d", "d/\x01"}),
        _case("a whiteout of an odd name", (file(_BYTES), file(_LONG)), (gone(_BYTES), gone(_LONG), file("a")), seen="a"),
        _case("a symlink as long as can be", (symlink("l", "x" * 4095),), (file("a"),), seen="l a"),
        _case("1500 directories in each other",
            (file(f"{_DEEP}/low"),), (file(f"{_DEEP}/up"), gone(f"{_DEEP}/nothing")),
            seen={f"{_DEEP}/low", f"{_DEEP}/up"} | {_DEEP[: 2 * n + 1] for n in range(1500)}),
        _case("thousands of names in a directory",
            tuple(file(f"d/{n}") for n in many), (*(gone(f"d/{n}") for n in many[::5]), *(file(f"d/{n}", b"up") for n in many[1::5])),
            seen={"d"} | {f"d/{n}" for n in many if int(n) % 5}),
        _case("a hundred layers", *((file(f"{n}"), file(f"d/{n}"), folder("d", mtime=n), *((gone(f"d/{n - 7}"),) if n > 6 else ())) for n in range(100)),
            seen={"d"} | {f"{n}" for n in range(100)} | {f"d/{n}" for n in range(93, 100)}),
    ]  # fmt: skip
