"""What overlayfs would show of some layers, as a tree of its own.

Name by name, the uppermost layer that has it wins, and a directory goes on in the next layer below
that has a directory there too. However deep it goes, nothing recurs, no path is made longer, and
there is one descriptor for each layer and one for the tree: a layer that has no part in a directory
has none in what is below either, so each waits where it was last needed, and goes up by "..".
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from aiodocker_lite.snapshot.node import (
    DIRECTORY,
    attributes_of,
    copy,
    describe,
    is_opaque,
    is_whiteout,
    open_if_allowed,
    opened,
)

_TREE = -1


@dataclass(slots=True)
class _Directory:
    """A directory of the tree whose content is being made."""

    found: os.stat_result
    attributes: dict[str, bytes]
    layers: list[int] = field(default_factory=list)
    """Those that have a part in it, uppermost first; their descriptors are open there."""
    below: list[tuple[str, list[int]]] = field(default_factory=list)
    """Its directories that are still to be made, each with the layers that have it."""


def merge(layers: Sequence[Path], tree: Path, links: Path, model: Path) -> None:
    """Fill the empty directory `tree` with what is seen of the layers, lowest first; it becomes like `model`.

    `links` is an empty directory on the same file system, where files with several names wait for
    the next of them. Raises OSError.
    """
    with opened(links, DIRECTORY) as waiting:
        at: list[int] = []
        try:
            at.extend(os.open(path, DIRECTORY) for path in (*reversed(layers), tree))
            _Merge(at, waiting).run(_Directory(model.stat(), attributes_of(str(model))))
        finally:
            for fd in at:
                os.close(fd)


class _Merge:
    def __init__(self, at: list[int], waiting: int) -> None:
        self._at = at
        """Where each layer is, uppermost first, and last the tree."""
        self._waiting = waiting
        self._names_left: dict[str, int] = {}

    def run(self, here: _Directory) -> None:
        above: list[_Directory] = []
        self._fill(here, range(len(self._at) - 1))
        while True:
            if here.below:
                above.append(here)
                here = self._down(*here.below.pop())
            elif above:
                self._up(here)
                here = above.pop()
            else:
                describe(self._at[_TREE], here.found, here.attributes)
                return

    def _down(self, name: str, layers: list[int]) -> _Directory:
        uppermost = self._at[layers[0]]
        here = _Directory(
            os.lstat(name, dir_fd=uppermost), attributes_of(f"/proc/self/fd/{uppermost}/{name}")
        )
        os.mkdir(name, 0o700, dir_fd=self._at[_TREE])
        self._go(_TREE, name)
        self._fill(here, filter(lambda layer: self._go(layer, name), layers))
        return here

    def _up(self, here: _Directory) -> None:
        with opened(".", DIRECTORY, self._at[_TREE]) as done:
            # First up and then the mode, for that may close the way.
            for which in (*here.layers, _TREE):
                self._go(which, "..")
            describe(done, here.found, here.attributes)

    def _go(self, which: int, name: str) -> bool:
        """Go on to another directory; False for one that even its owner may not read and search."""
        there = open_if_allowed(name, DIRECTORY, self._at[which])
        if there is None:
            return False
        try:
            os.stat(".", dir_fd=there)
        except PermissionError:
            os.close(there)
            return False
        os.close(self._at[which])
        self._at[which] = there
        return True

    def _fill(self, here: _Directory, layers: Iterable[int]) -> None:
        """Make all but the directories, and find those."""
        hidden: set[str] = set()
        below: dict[str, list[int]] = {}
        for layer in layers:
            source = self._at[layer]
            here.layers.append(layer)
            with os.scandir(source) as entries:
                names = sorted((entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries)
            for name, is_directory in names:
                if name in hidden:
                    continue
                if is_directory:
                    below.setdefault(name, []).append(layer)
                    continue
                hidden.add(name)
                found = os.lstat(name, dir_fd=source)
                if name not in below and not is_whiteout(found):
                    self._make(name, source, found)
            if is_opaque(source):
                break
        here.below = list(below.items())

    def _make(self, name: str, source: int, found: os.stat_result) -> None:
        """Make a file, or a further name of one; for the next a file waits in a directory apart."""
        tree = self._at[_TREE]
        if found.st_nlink == 1:
            copy(name, source, tree, found)
            return
        file = f"{found.st_dev:x}-{found.st_ino:x}"
        left = self._names_left.get(file)
        if left is None:
            if not copy(name, source, tree, found):
                return
            os.link(name, file, src_dir_fd=tree, dst_dir_fd=self._waiting, follow_symlinks=False)
            left = found.st_nlink
        elif left > 1:
            os.link(file, name, src_dir_fd=self._waiting, dst_dir_fd=tree, follow_symlinks=False)
        else:  # nothing waits any more, and a file that has as many names as it may gets no further one
            os.rename(file, name, src_dir_fd=self._waiting, dst_dir_fd=tree)
        self._names_left[file] = left - 1
