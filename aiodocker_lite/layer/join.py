"""A layer to the layers below it: what its tar means once it is known on what it lies.

A layer is unpacked alone. Where it puts something below a directory that it does not describe, the
directory, or a link that leads elsewhere (usr-merge), may be in a lower layer; and so may the target of
a hard link. What follows from that for one stack of layers is its *joint*: a small overlay directory that
lies above the layer, and is empty for nearly all images. The result is that of applying the
layers one after the other, which is what the OCI image layer specification says.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

from aiodocker_lite import syscalls
from aiodocker_lite.copying import copy_content
from aiodocker_lite.errors import UnsafeEntry
from aiodocker_lite.layer.attributes import set_xattr
from aiodocker_lite.layer.beneath import Components, remove_tree
from aiodocker_lite.layer.failures import translated
from aiodocker_lite.layer.notes import Attributes, Implied, Link, Note, Whiteouts
from aiodocker_lite.layer.pending import components
from aiodocker_lite.layer.view import Found, View, is_opaque, is_whiteout, opened, paths_of

_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_MARKS = ("trusted.overlay.", "user.overlay.")
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class Stack:
    """A layer, its notes, and the layers below it, the uppermost first, each with its joint above it."""

    layer: int
    notes: Sequence[Note]
    lowers: Sequence[int]


def join_layer(
    stack: Stack, joint: int, name: str, *, privileged: bool, ids: tuple[int, int] = (0, 0)
) -> bool:
    """Fill the empty directory `joint`; False if there is nothing to be put there.

    `name` is the layer's for errors, `privileged` and `ids` are those of `UnpackRules`. The current directory changes, and the umask must be 0. Raises
    UnsafeEntry for a hard link to nothing, DiskFull, StoreUnwritable.
    """
    joining = _Joining(stack, joint, name, (2**32, 2**32) if privileged else ids)
    try:
        joining.run()
    except OSError as error:
        raise translated(error, name, joining.where) from error
    return bool(os.listdir(joint))


class _Joining:
    def __init__(self, stack: Stack, joint: int, name: str, ids: tuple[int, int]) -> None:
        self._layer = stack.layer
        self._joint = joint
        self._name = name
        self._ids = ids
        self._implied = {components(note.path) for note in stack.notes if isinstance(note, Implied)}
        self._whiteouts = [components(note.path) for note in stack.notes if isinstance(note, Whiteouts)]
        self._links = [note for note in stack.notes if isinstance(note, Link)]
        self._own = View([stack.layer])
        self._done = View([joint, stack.layer])
        self._below = View(stack.lowers)
        self._view = View([stack.layer, *stack.lowers], self._implied)
        self._late: dict[Components, Attributes] = {}
        self._copied: dict[tuple[int, int], Components] = {}
        self.where = "the directory that joins it to lower layers"

    def run(self) -> None:
        moved: list[Components] = []
        for path in sorted(self._implied, key=lambda path: (len(path), path)):
            self.where = _printable(path)
            if any(path[: len(above)] == above for above in moved) or self._own.hides(path):
                continue
            found = self._below.find(path)
            if found is None:
                continue
            if found.is_directory:
                if self._attributes(found, path) != self._attributes(self._must(self._own, path), path):
                    self._directory(path)
            elif found.is_link and self._leads_to_directory(path):
                moved.append(path)
                self._graft(path, self._view.resolve(path))
                self._copy(found, path, path)
        if is_opaque(self._layer):
            self._hide(())
        for path in self._whiteouts:
            self.where = _printable(path)
            if not any(path[: len(above)] == above for above in moved) and not self._is_merged(path):
                # With a directory above it, overlayfs merges it, and takes its whiteouts for what they are.
                self._directory(path)
        for link in self._links:
            self.where = link.path.decode(errors="backslashreplace")
            self._link(link)
        for path, attributes in sorted(self._late.items(), key=lambda item: -len(item[0])):
            self._describe(path, attributes, is_link=False)

    def _must(self, view: View, path: Components) -> Found:
        found = view.find(path)
        if found is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        return found

    def _leads_to_directory(self, path: Components) -> bool:
        found = self._view.find(self._view.resolve(path))
        return found is None or found.is_directory

    def _is_merged(self, path: Components) -> bool:
        """Whether the layer's directory is merged with one of a lower layer."""
        found = self._own.find(path)
        if found is None or not found.is_directory:
            return True  # it was replaced, with all that was in it
        with opened(self._layer, path) as directory:
            if is_opaque(directory):
                return False
        below = self._below.find(path)
        return below is not None and below.is_directory and not self._own.hides(path)

    # --- directories -------------------------------------------------------------------------

    def _directory(self, path: Components, like: tuple[Found, Components] | None = None) -> None:
        """A directory of the joint, with those above it, each like the one it stands for."""
        for count in range(1, len(path) + 1):
            part = path[:count]
            with opened(self._joint, part[:-1]) as parent:
                try:
                    os.mkdir(part[-1], 0o755, dir_fd=parent)
                except FileExistsError:
                    continue
            found = self._view.find(part)
            if like is not None and part == path:
                self._late[part] = self._attributes(*like)
            elif found is not None and found.is_directory:
                self._late[part] = self._attributes(found, part)

    def _graft(self, source: Components, target: Components) -> None:
        """What the layer has in `source` belongs into `target`, where a link of a lower layer leads."""
        opaque = []
        todo = [(source, target)]
        self._directory(target)
        while todo:
            source, target = todo.pop()
            with opened(self._layer, source) as directory:
                if is_opaque(directory):
                    opaque.append(target)
                os.fchdir(directory)
                names = sorted(os.listdir(b"."))  # noqa: PTH208
            for name in names:
                self.where = _printable((*source, name))
                todo.extend(self._graft_one((*source, name), (*target, name)))
        for path in opaque:
            self._hide(path)

    def _graft_one(self, source: Components, target: Components) -> list[tuple[Components, Components]]:
        """One name of it; returns where to go on if it is a directory."""
        found = self._stat(source)
        lower = self._below.find(target)
        if not found.is_directory:
            if self._own.find(target) is None and not (is_whiteout(found.stat) and lower is None):
                self._directory(target[:-1])
                self._copy(found, source, target)
            return []
        if source in self._implied and lower is not None:
            if lower.is_link and self._leads_to_directory(target):
                target = self._view.resolve(target)
            self._directory(target)
        else:
            self._directory(target, (found, source))
        there = self._own.find(target)
        return [(source, target)] if there is None or there.is_directory else []

    def _hide(self, path: Components) -> None:
        """Hide what the layers below have here, but not what this one has: it was opaque where it was."""
        todo = [path]
        while todo:
            path = todo.pop()
            for name in self._below.names(path):
                place = (*path, name)
                there = self._done.find(place)
                if there is None:
                    self._directory(path)
                    with opened(self._joint, path) as parent, suppress(FileExistsError):
                        os.mknod(name, stat.S_IFCHR, 0, dir_fd=parent)
                elif there.is_directory:
                    todo.append(place)

    # --- hard links --------------------------------------------------------------------------

    def _link(self, link: Link) -> None:
        *parents, last = components(link.target)
        target = (*self._view.resolve(tuple(parents)), last)
        found = self._below.find(target)
        if found is None or found.is_directory:
            what = "is missing" if found is None else "is a directory"
            reason = f"the target '{link.target.decode(errors='backslashreplace')}' of the hard link {what}"
            raise UnsafeEntry(self._name, self.where, reason)
        *parents, last = components(link.path)
        place = (*self._view.resolve(tuple(parents)), last)
        there, parent = self._own.find(place), self._own.find(place[:-1])
        if there is not None or (parent is not None and not parent.is_directory):
            return  # something else came later to this place
        names = [place]
        if (found.stat.st_dev, found.stat.st_ino) not in self._copied:
            names = [*self._names_of(found, target), place]
        for name in dict.fromkeys(names):
            self._directory(name[:-1])
            self._copy(found, target, name)
        self._describe(place, link.attributes, is_link=found.is_link)

    def _names_of(self, found: Found, target: Components) -> Iterator[Components]:
        """All names by which the lower layers show this file, and that this layer leaves as they are."""
        names = [target] if found.stat.st_nlink == 1 else paths_of(found.layer, found.stat.st_ino)
        for name in names:
            seen = self._below.find(name)
            is_it = seen is not None and seen.stat.st_ino == found.stat.st_ino
            if is_it and self._own.find(name) is None and not self._own.hides(name):
                yield name

    # --- files -------------------------------------------------------------------------------

    def _stat(self, source: Components) -> Found:
        with opened(self._layer, source[:-1]) as parent:
            return Found(self._layer, os.lstat(source[-1], dir_fd=parent))

    def _copy(self, found: Found, source: Components, target: Components) -> None:
        """A file of a layer as a file of the joint; the names of one file stay names of one file."""
        how = found.stat
        first = self._copied.setdefault((how.st_dev, how.st_ino), target)
        with opened(found.layer, source[:-1]) as giving, opened(self._joint, target[:-1]) as taking:
            with suppress(FileNotFoundError):
                remove_tree(target[-1], taking)
            if first != target:
                with opened(self._joint, first[:-1]) as known:
                    os.link(first[-1], target[-1], src_dir_fd=known, dst_dir_fd=taking, follow_symlinks=False)
                return
            if stat.S_ISREG(how.st_mode):
                _copy_file(source[-1], giving, target[-1], taking)
            elif found.is_link:
                os.symlink(os.readlink(source[-1], dir_fd=giving), target[-1], dir_fd=taking)
            else:
                os.mknod(target[-1], how.st_mode, how.st_rdev, dir_fd=taking)
        if not is_whiteout(how):
            self._describe(target, self._attributes(found, source), is_link=found.is_link)

    def _attributes(self, found: Found, path: Components) -> Attributes:
        with opened(found.layer, path[:-1]) as parent:
            os.fchdir(parent)
            xattrs = {
                os.fsencode(key): os.getxattr(path[-1], key, follow_symlinks=False)
                for key in os.listxattr(path[-1], follow_symlinks=False)
                if not key.startswith(_MARKS)
            }
        how = found.stat
        return Attributes(stat.S_IMODE(how.st_mode), how.st_uid, how.st_gid, how.st_mtime_ns, xattrs)

    def _describe(self, path: Components, attributes: Attributes, *, is_link: bool) -> None:
        """The owner first, for the kernel clears setuid bits and capabilities when it changes."""
        with opened(self._joint, path[:-1]) as parent:
            os.fchdir(parent)
            name = path[-1]
            if attributes.uid < self._ids[0] and attributes.gid < self._ids[1]:
                os.chown(name, attributes.uid, attributes.gid, follow_symlinks=False)
            for key, value in attributes.xattrs.items():
                set_xattr(name, key, value)
            if not is_link:
                syscalls.chmod_at(parent, name, attributes.mode)
            times = (attributes.mtime, attributes.mtime)
            os.utime(name, ns=times, follow_symlinks=False)


def _copy_file(source: bytes, giving: int, target: bytes, taking: int) -> None:
    reading = os.open(source, _READ, dir_fd=giving)
    try:
        writing = os.open(target, _CREATE, 0o600, dir_fd=taking)
        try:
            copy_content(reading, writing)
        finally:
            os.close(writing)
    finally:
        os.close(reading)


def _printable(path: Components) -> str:
    return b"/".join(path).decode(errors="backslashreplace")
