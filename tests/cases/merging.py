"""Stacks of layers, and the tree that each means: that of applying one after the other.

The tools that do so do not agree everywhere, and those that unpack each layer into a directory of its
own for overlayfs (docker's overlay2, podman's overlay, containerd) get several of these wrong or refuse them.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from tests.fakes.tars import END, directory, file, hard_link, header, symlink


@dataclass(frozen=True)
class Stack:
    """Layers, the lowest first; what is seen in the end; and who sees something else, and why."""

    name: str
    layers: tuple[bytes, ...]
    tree: tuple[str, ...]
    """Lines of `describe`; none for a stack that is refused."""
    others: dict[str, str] = field(default_factory=dict)


def _stack(name: str, *layers: list[bytes], tree: str, others: dict[str, str] | None = None) -> Stack:
    lines = tuple(line.strip() for line in tree.split(";") if line.strip())
    return Stack(name, tuple(b"".join(layer) + END for layer in layers), lines, others or {})


_MERGED = [directory(b"usr"), directory(b"usr/lib"), file(b"usr/lib/old"), symlink(b"lib", b"usr/lib")]
_D = [directory(b"d"), file(b"d/x")]
_A = [directory(b"a"), file(b"a/f", b"12345")]
_BOTH = ("docker", "podman")
_NO_DUPLICATES = dict.fromkeys(_BOTH, "duplicates of file paths are not supported")
_IMPLIED = {"docker": "what it makes without an entry has mode 0600"}
_NO_LATE_WHITEOUT = dict.fromkeys(_BOTH, "a whiteout removes what the same layer made, and fails")


def merging() -> list[Stack]:
    """All of them."""
    return [*_links(), *_parents(), *_hard_links(), *_replacements(), *_whiteouts(), *_of_three()]


def _links() -> list[Stack]:
    """Paths through a link that only a lower layer has (L18)."""
    return [
        _stack(
            "usr-merge", _MERGED, [file(b"lib/x/y", b"1")], others=_IMPLIED,
            tree="lib ->usr/lib; usr d755; usr/lib d755; usr/lib/old f644; usr/lib/x d755; usr/lib/x/y f644=1",
        ),
        _stack(
            "usr-merge-and-a-directory", _MERGED, [directory(b"lib"), file(b"lib/x", b"1")],
            tree="lib d755; lib/x f644=1; usr d755; usr/lib d755; usr/lib/old f644",
        ),
        _stack(
            "absolute-link", [directory(b"usr"), directory(b"usr/lib"), symlink(b"lib", b"/usr/lib")],
            [file(b"lib/x/y", b"1")], others=_IMPLIED,
            tree="lib ->/usr/lib; usr d755; usr/lib d755; usr/lib/x d755; usr/lib/x/y f644=1",
        ),
        _stack(
            "link-that-goes-up", [directory(b"a"), symlink(b"a/l", b"../../../c"), directory(b"c")], [file(b"a/l/f")],
            tree="a d755; a/l ->../../../c; c d755; c/f f644",
        ),
        _stack(
            "link-to-a-link", [directory(b"a"), symlink(b"k", b"a"), symlink(b"l", b"k")], [file(b"l/e/f")],
            others=_IMPLIED, tree="a d755; a/e d755; a/e/f f644; k ->a; l ->k",
        ),
        _stack(
            "link-to-nothing", [symlink(b"p", b"q/r")], [file(b"p/f", b"2")],
            others=dict.fromkeys(_BOTH, "the directory is not made"),
            tree="p ->q/r; q d755; q/r d755; q/r/f f644=2",
        ),
        _stack(
            "link-to-a-file", [file(b"q"), symlink(b"p", b"q")], [file(b"p/f", b"2")],
            others=dict.fromkeys(("umoci", *_BOTH), "refused"), tree="p d755; p/f f644=2; q f644",
        ),
        _stack(
            "link-below-a-link", [directory(b"m"), symlink(b"m/n", b"../t"), directory(b"t"), symlink(b"l", b"m")],
            [file(b"l/n/f"), file(b"l/g")],
            tree="l ->m; m d755; m/g f644; m/n ->../t; t d755; t/f f644",
        ),
        _stack(
            "whiteout-through-a-link", [*_D, file(b"d/y"), symlink(b"l", b"d")], [file(b"l/.wh.x")],
            tree="d d755; d/y f644; l ->d",
        ),
        _stack(
            "opaque-through-a-link", [*_D, symlink(b"l", b"d")], [file(b"l/.wh..wh..opq")],
            others=dict.fromkeys(_BOTH, "the link is not followed"), tree="d d755; l ->d",
        ),
        _stack(
            "opaque-through-a-link-and-beside-it",
            [*_D, directory(b"d/e"), file(b"d/e/y"), symlink(b"l", b"d")],
            [directory(b"d"), directory(b"d/e"), file(b"d/e/own"), file(b"l/.wh..wh..opq"), file(b"l/new")],
            others=dict.fromkeys(_BOTH, "the link is not followed"),
            tree="d d755; d/e d755; d/e/own f644; d/new f644; l ->d",
        ),
    ]  # fmt: skip


def _parents() -> list[Stack]:
    """Directories that no entry describes."""
    return [
        _stack(
            "implied-directory-stays-as-it-was",
            [directory(b"tmp", 0o1777, uid=5, mtime=77), file(b"tmp/o")], [file(b"tmp/f", b"1")],
            tree="tmp d1777 u5; tmp/f f644=1; tmp/o f644",
        ),
        _stack(
            "implied-directory-of-a-whiteout", [directory(b"d", 0o700, uid=9, mtime=5), file(b"d/x")],
            [file(b"d/.wh.x")], tree="d d700 u9",
        ),
        _stack(
            "implied-directory-of-an-opaque-mark", [directory(b"d", 0o700), file(b"d/x")], [file(b"d/.wh..wh..opq")],
            tree="d d700",
        ),
        _stack(
            "implied-directory-over-a-file", [file(b"p", b"1")], [file(b"p/f", b"2")],
            others=dict.fromkeys(("umoci", *_BOTH), "refused"), tree="p d755; p/f f644=2",
        ),
        _stack("below-a-file-of-the-same-layer", [file(b"z")], [file(b"a"), file(b"a/b")], tree=""),
    ]  # fmt: skip


def _hard_links() -> list[Stack]:
    """Hard links to what only a lower layer has (L13)."""
    described = header(b"a/g", b"1", link=b"a/f", mode=0o700, uid=7, mtime=99)
    return [
        _stack("hard-link", _A, [hard_link(b"a/g", b"a/f")], tree="a d755; a/f f644=12345 #1; a/g f644=12345 #1"),
        _stack(
            "hard-link-with-attributes", _A, [described], others={"umoci": "the attributes of the entry are ignored"},
            tree="a d755; a/f f700 u7=12345 #1; a/g f700 u7=12345 #1",
        ),
        _stack(
            "hard-link-through-a-link", _MERGED, [hard_link(b"g", b"lib/old")],
            tree="g f644 #1; lib ->usr/lib; usr d755; usr/lib d755; usr/lib/old f644 #1",
        ),
        _stack(
            "hard-link-of-two", [*_A, hard_link(b"a/e", b"a/f")], [hard_link(b"a/g", b"a/f")],
            tree="a d755; a/e f644=12345 #1; a/f f644=12345 #1; a/g f644=12345 #1",
        ),
        _stack(
            "hard-link-to-a-link", [symlink(b"s", b"nowhere")], [hard_link(b"g", b"s")],
            others={"docker": "its export has them as two"}, tree="g ->nowhere #1; s ->nowhere #1",
        ),
        _stack(
            "hard-link-to-a-hard-link", _A, [hard_link(b"a/g", b"a/f"), hard_link(b"h", b"a/g")],
            tree="a d755; a/f f644=12345 #1; a/g f644=12345 #1; h f644=12345 #1",
        ),
        _stack("hard-link-to-what-was-removed", _A, [file(b"a/.wh.f"), hard_link(b"a/g", b"a/f")], tree=""),
        _stack("hard-link-to-nothing", _A, [hard_link(b"a/g", b"a/no")], tree=""),
        _stack("hard-link-to-a-directory", _A, [hard_link(b"g", b"a")], tree=""),
        _stack(
            "hard-link-then-replaced-target", _A, [hard_link(b"a/g", b"a/f"), file(b"a/f", b"new")],
            tree="a d755; a/f f644=new; a/g f644=12345",
        ),
    ]  # fmt: skip


def _replacements() -> list[Stack]:
    """One kind of file in the place of another (L15, L16)."""
    return [
        _stack(
            "link-then-directory", _D, [symlink(b"d", b"e"), directory(b"d"), file(b"d/new")], others=_NO_DUPLICATES,
            tree="d d755; d/new f644",
        ),
        _stack(
            "file-then-directory", _D, [file(b"d"), directory(b"d"), file(b"d/new")], others=_NO_DUPLICATES,
            tree="d d755; d/new f644",
        ),
        _stack("directory-over-a-file", [file(b"p", b"1")], [directory(b"p")], tree="p d755"),
        _stack("file-over-a-directory", _D, [file(b"d", b"1")], tree="d f644=1"),
        _stack("link-over-a-directory", _D, [symlink(b"d", b"e")], tree="d ->e"),
        _stack("directory-over-a-link", [symlink(b"d", b"e"), directory(b"e")], [directory(b"d")], tree="d d755; e d755"),
        _stack("fifo-over-a-file", [file(b"p", b"1")], [header(b"p", b"6")], tree="p p644"),
        _stack("directory-over-a-directory", [directory(b"d", 0o700), file(b"d/x")], [directory(b"d", 0o711)],
               tree="d d711; d/x f644"),
        _stack(
            "directory-twice", [file(b"z")], [directory(b"d", 0o700), file(b"d/x"), directory(b"d", 0o755)],
            others=_NO_DUPLICATES, tree="d d755; d/x f644; z f644",
        ),
    ]  # fmt: skip


def _whiteouts() -> list[Stack]:
    """Removals, before and after (W03-W06, W09)."""
    return [
        _stack("opaque-before", _D, [directory(b"d"), file(b"d/.wh..wh..opq"), file(b"d/new")], tree="d d755; d/new f644"),
        _stack("opaque-after", _D, [directory(b"d"), file(b"d/new"), file(b"d/.wh..wh..opq")], tree="d d755; d/new f644"),
        _stack("opaque-root", _D, [file(b"new"), file(b".wh..wh..opq")], tree="new f644"),
        _stack(
            "opaque-in-opaque", [*_D, directory(b"d/e"), file(b"d/e/y")],
            [directory(b"d"), file(b"d/.wh..wh..opq"), directory(b"d/e"), file(b"d/e/.wh..wh..opq"), file(b"d/e/z")],
            tree="d d755; d/e d755; d/e/z f644",
        ),
        _stack("whiteout-in-opaque", _D, [directory(b"d"), file(b"d/.wh..wh..opq"), file(b"d/.wh.x")], tree="d d755"),
        _stack("whiteout-then-directory", _D, [file(b".wh.d"), directory(b"d"), file(b"d/new")], tree="d d755; d/new f644"),
        _stack("whiteout-then-file", [file(b"f", b"old")], [file(b".wh.f"), file(b"f", b"new")], tree="f f644=new"),
        _stack(
            "directory-then-whiteout", _D, [directory(b"d"), file(b"d/new"), file(b".wh.d")], others=_NO_LATE_WHITEOUT,
            tree="d d755; d/new f644",
        ),
        _stack(
            "file-then-whiteout", [file(b"f", b"old")], [file(b"f", b"new"), file(b".wh.f")],
            others=dict.fromkeys(_BOTH, "a whiteout removes what the same layer made"), tree="f f644=new",
        ),
        _stack("whiteout-of-a-link", [*_D, symlink(b"l", b"d")], [file(b".wh.l")], tree="d d755; d/x f644"),
        _stack("whiteout-of-nothing", _D, [directory(b"d"), file(b"d/.wh.no"), file(b".wh.no")], tree="d d755; d/x f644"),
        _stack(
            "whiteout-in-a-directory-of-its-own", [file(b"z")], [directory(b"n"), file(b"n/.wh.x"), file(b"n/f")],
            tree="n d755; n/f f644; z f644",
        ),
        _stack(
            "whiteout-in-nothing", [file(b"z")], [file(b"no/such/.wh.x")],
            others={**_IMPLIED, "umoci": "the directories are not made"}, tree="no d755; no/such d755; z f644",
        ),
        _stack(
            "whiteout-through-a-link-that-is-replaced", [file(b"z")],
            [symlink(b"l", b"/n"), file(b"l/.wh.x"), file(b"l", b"1")],
            others=dict.fromkeys(("umoci", "docker", "podman"), "the directory is not made, or the name not given twice"),
            tree="l f644=1; n d755; z f644",
        ),
        _stack(
            "whiteout-below-a-replaced-directory", _D, [symlink(b"d", b"e"), directory(b"e"), file(b"d/.wh.x")],
            tree="d ->e; e d755",
        ),
    ]  # fmt: skip


def _of_three() -> list[Stack]:
    """A layer on one that had to be joined to the one below it."""
    on_merged = [file(b"lib/x", b"1")]
    return [
        _stack(
            "file-moved-then-removed", _MERGED, on_merged, [directory(b"usr"), directory(b"usr/lib"), file(b"usr/lib/.wh.x")],
            tree="lib ->usr/lib; usr d755; usr/lib d755; usr/lib/old f644",
        ),
        _stack(
            "file-moved-then-linked", _MERGED, on_merged, [hard_link(b"g", b"lib/x")],
            tree="g f644=1 #1; lib ->usr/lib; usr d755; usr/lib d755; usr/lib/old f644; usr/lib/x f644=1 #1",
        ),
        _stack(
            "link-removed-between", _MERGED, [file(b".wh.lib")], [file(b"lib/x", b"1")],
            others=_IMPLIED, tree="lib d755; lib/x f644=1; usr d755; usr/lib d755; usr/lib/old f644",
        ),
        _stack(
            "link-made-between", _D, [file(b".wh.d"), symlink(b"d", b"e"), directory(b"e", 0o711)], [file(b"d/f")],
            tree="d ->e; e d711; e/f f644",
        ),
        _stack(
            "hidden-twice", _D, [directory(b"d"), file(b"d/.wh.x"), file(b"d/y")], [file(b"d/.wh.y"), file(b"d/z")],
            tree="d d755; d/z f644",
        ),
    ]  # fmt: skip
