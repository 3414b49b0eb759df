"""Several layer directories as overlayfs would show them, without mounting anything."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from aiodocker_lite.layer.beneath import Components

_PATH_ONLY = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_LINKS_MAX = 40
_OPAQUE_MARKS = (b"trusted.overlay.opaque", b"user.overlay.opaque")


@dataclass(frozen=True, slots=True)
class Found:
    """What stands at a path, and in which of the layers."""

    layer: int
    """The layer's open directory."""
    stat: os.stat_result

    @property
    def is_directory(self) -> bool:
        return stat.S_ISDIR(self.stat.st_mode)

    @property
    def is_link(self) -> bool:
        return stat.S_ISLNK(self.stat.st_mode)


class View:
    """The merged tree of some layers; paths are components without links, but for `resolve`."""

    def __init__(self, layers: Sequence[int], implied: Collection[Components] = ()) -> None:
        """Open directories, the uppermost first.

        The `implied` directories of the uppermost give way to whatever the others have there.
        """
        self._layers = layers
        self._implied = implied

    def find(self, path: Components) -> Found | None:
        """What is at this path; a link there is not followed. Raises OSError."""
        if path in self._implied:
            found = View(self._layers[1:]).find(path)
            return found or View(self._layers[:1]).find(path)
        for layer in self._layers:
            found, hides = _look(layer, path)
            if found is not None or hides:
                return found
        return None

    def hides(self, path: Components) -> bool:
        """Whether these layers hide what others have at this path, though it may be here as well."""
        return any(_look(layer, path)[1] for layer in self._layers)

    def names(self, path: Components) -> set[bytes]:
        """What is in a directory."""
        names: set[bytes] = set()
        gone: set[bytes] = set()
        for layer in self._layers:
            found, hides = _look(layer, path)
            if found is not None and not found.is_directory:
                break
            if found is not None:
                with opened(layer, path) as directory:
                    hides = is_opaque(directory) or hides
                    os.fchdir(directory)
                    here = os.listdir(b".")  # noqa: PTH208
                    whiteouts = {name for name in here if is_whiteout(os.lstat(name))}
                names |= set(here) - whiteouts - gone
                gone |= whiteouts
            if hides:
                break
        return names

    def resolve(self, path: Components) -> Components:
        """The path without links, as if the root were `/`; what is missing stays as it is written.

        Raises OSError: ELOOP where links go in circles.
        """
        done: Components = ()
        todo = list(reversed(path))
        links = 0
        while todo:
            name = todo.pop()
            if name in (b"", b"."):
                continue
            if name == b"..":
                done = done[:-1]
                continue
            found = self.find((*done, name))
            if found is None or not found.is_link:
                done = (*done, name)
                continue
            links += 1
            if links > _LINKS_MAX:
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
            with opened(found.layer, done) as parent:
                target = os.readlink(name, dir_fd=parent)
            if target.startswith(b"/"):
                done = ()
            todo.extend(reversed(target.split(b"/")))
        return done


@contextmanager
def opened(layer: int, path: Components) -> Iterator[int]:
    """A descriptor (O_PATH) of a directory of one layer; no link is followed. Raises OSError."""
    fd = os.dup(layer)
    try:
        for name in path:
            below = os.open(name, _PATH_ONLY, dir_fd=fd)
            os.close(fd)
            fd = below
        yield fd
    finally:
        os.close(fd)


def is_opaque(directory: int) -> bool:
    """Whether this directory hides those of lower layers. It becomes the current one."""
    os.fchdir(directory)
    for mark in _OPAQUE_MARKS:
        try:
            if os.getxattr(b".", mark) == b"y":
                return True
        except OSError as error:
            if error.errno not in (errno.ENODATA, errno.ENOTSUP):
                raise
    return False


def is_whiteout(found: os.stat_result) -> bool:
    """Whether this is how overlayfs writes that something is gone."""
    return stat.S_ISCHR(found.st_mode) and found.st_rdev == 0


def _look(layer: int, path: Components) -> tuple[Found | None, bool]:
    """What one layer has at a path, and whether something else of it hides what lower layers have there."""
    if not path:
        return Found(layer, os.stat(layer)), False
    opaque = False
    fd = os.dup(layer)
    try:
        for count, name in enumerate(path):
            opaque = opaque or is_opaque(fd)
            try:
                found = os.lstat(name, dir_fd=fd)
            except FileNotFoundError:
                return None, opaque
            if count + 1 == len(path):
                return (None, True) if is_whiteout(found) else (Found(layer, found), opaque)
            if not stat.S_ISDIR(found.st_mode):
                return None, True
            below = os.open(name, _PATH_ONLY, dir_fd=fd)
            os.close(fd)
            fd = below
    finally:
        os.close(fd)
    raise AssertionError("unreachable: the loop returns at the last name")


def paths_of(layer: int, inode: int) -> list[Components]:
    """All names of a file in one layer."""
    found: list[Components] = []
    todo: list[Components] = [()]
    while todo:
        path = todo.pop()
        with opened(layer, path) as directory:
            os.fchdir(directory)
            with os.scandir(b".") as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        todo.append((*path, entry.name))
                    elif entry.inode() == inode:
                        found.append((*path, entry.name))
    return sorted(found)
