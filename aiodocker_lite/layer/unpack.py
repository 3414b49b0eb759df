"""Entries to files: one layer into one directory, as overlayfs wants its lower directories.

A layer is unpacked without its parents, so whiteouts become overlay marks and every image that
has the layer can share it. What depends on the parents is noted (`notes.py`) and settled for each
image (`join.py`). The process that calls this must have umask 0, for modes are given
at creation and only mended where the kernel drops bits.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from typing import BinaryIO, TypeVar

from aiodocker_lite import syscalls
from aiodocker_lite.errors import LimitExceeded, UnsafeEntry
from aiodocker_lite.layer import tar
from aiodocker_lite.layer.attributes import set_xattr
from aiodocker_lite.layer.beneath import Beneath, Components, remove_tree
from aiodocker_lite.layer.failures import translated
from aiodocker_lite.layer.pending import INHERITED, Pending
from aiodocker_lite.layer.rules import Unpacked, UnpackRules
from aiodocker_lite.layer.space import Space
from aiodocker_lite.layer.tar import Entry, TarReader
from aiodocker_lite.layer.view import is_opaque, is_whiteout
from aiodocker_lite.layer.whiteout import Bookkeeping, Opaque, Remove, whiteout_of

_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_SPECIAL_BITS = 0o7000

T = TypeVar("T")


def unpack_layer(
    blocks: Iterator[bytes], root: int, layer: str, rules: UnpackRules, notes: BinaryIO
) -> Unpacked:
    """Unpack plain tar blocks below the directory `root`; every block is read.

    Raises InvalidLayer, UnsafeEntry, LimitExceeded, DiskFull, StoreUnwritable; what was
    unpacked until then is for the caller to throw away.
    """
    unpacker = _Unpacker(root, layer, rules, notes)
    try:
        return unpacker.run(TarReader(blocks, layer, rules.limits, rules.packed))
    finally:
        unpacker.beneath.close()


class _Unpacker:
    def __init__(self, root: int, layer: str, rules: UnpackRules, notes: BinaryIO) -> None:
        self.beneath = Beneath(root)
        self._pending = Pending(
            self.beneath, layer, notes, privileged=rules.privileged, memory=rules.limits.path_bytes
        )
        self._space = Space(root, rules.limits.free_bytes)
        self._layer = layer
        self._rules = rules
        self._user = os.geteuid()
        self._group = os.getegid()
        self._opaque_mark = b"trusted.overlay.opaque" if rules.privileged else b"user.overlay.opaque"
        self._bytes = 0
        self._skipped = 0

    def run(self, reader: TarReader) -> Unpacked:
        entries = 0
        entry = None
        try:
            for entry in reader:
                entries += 1
                if entry.kind != tar.REGULAR:
                    self._space.take(0)
                self._place(entry, reader)
            loose_ends = self._pending.note_loose_ends()
            self._pending.finish_directories()
        except OSError as error:
            where = entry.printable if entry else "the layer's directory"
            raise translated(error, self._layer, where) from error
        return Unpacked(
            entries,
            self._bytes,
            self._skipped,
            describes_root=self._pending.describes_root,
            loose_ends=loose_ends,
            unapplied=self._pending.unapplied,
        )

    # --- where -------------------------------------------------------------------------------

    def _path(self, name: bytes, entry: Entry) -> Components:
        """The components of a name below the root; raises UnsafeEntry for a way up (L01)."""
        parts = tuple(part for part in name.split(b"/") if part not in (b"", b"."))
        if b".." in parts:
            raise UnsafeEntry(self._layer, entry.printable, "it has '..' in its path")
        if len(parts) > self._rules.limits.depth:
            what = f"the depth of a path in layer {self._layer}"
            raise LimitExceeded(what, self._rules.limits.depth, len(parts), "depth")
        return parts

    def _place(self, entry: Entry, reader: TarReader) -> None:
        path = self._path(entry.name, entry)
        if entry.kind == b"V":
            return
        if not path:
            if entry.kind != tar.DIRECTORY:
                raise UnsafeEntry(self._layer, entry.printable, "the root can only be a directory")
            os.fchmod(self.beneath.root, self._early_mode(entry))
            self._describe_directory(path, entry)
        elif path[-1].startswith(b".wh."):
            self._white_out(path, entry)
            return
        elif entry.kind == tar.REGULAR:
            self._regular(path, entry, reader)
        elif entry.kind == tar.DIRECTORY:
            self._directory(path, entry)
        elif entry.kind == tar.SYMLINK:
            self._symlink(path, entry)
        elif entry.kind == tar.HARD_LINK:
            self._hard_link(path, entry)
        else:
            self._special(path, entry)
        if not self._rules.privileged:
            self._pending.note_unapplied(path, entry, has_owner=self._rules.may_set_owner(entry))

    def _place_anew(self, path: Components, create: Callable[[bytes, int], T]) -> T:
        """Create an entry; what stands in its place goes, for the last of equal names wins (L15, L16)."""
        parent = self._made(path[:-1])
        try:
            return create(path[-1], parent)
        except FileExistsError:
            remove_tree(path[-1], parent)
            self._forget()
            return create(path[-1], self.beneath.directory(path[:-1]))

    def _forget(self) -> None:
        """Something of this layer was replaced."""
        self.beneath.forget()
        if self._rules.outline is not None:
            self._rules.outline.is_sure = False

    def _made(self, directory: Components) -> int:
        """A directory, made where it is missing, also in the place of what this layer has removed (W05)."""
        try:
            return self._pending.directory(directory)
        except NotADirectoryError:
            for count, name in enumerate(directory):
                parent = self.beneath.directory(directory[:count])
                if is_whiteout(os.lstat(name, dir_fd=parent)):
                    os.unlink(name, dir_fd=parent)
                    os.mkdir(name, 0o755, dir_fd=parent)
                    self._mark_opaque(directory[: count + 1])
                    return self.beneath.directory(directory)
            raise

    # --- kinds -------------------------------------------------------------------------------

    def _regular(self, path: Components, entry: Entry, reader: TarReader) -> None:
        self._bytes += entry.size
        if self._bytes > self._rules.limits.unpacked_bytes:
            what = f"the unpacked size of layer {self._layer}"
            raise LimitExceeded(what, self._rules.limits.unpacked_bytes, self._bytes, "unpacked_bytes")
        self._space.take(entry.size if entry.segments is None and self._rules.outline is None else 0)
        # Attributes can only be given to what one may write.
        mode = entry.mode & 0o777 | (0 if self._rules.privileged else 0o200)
        fd = self._place_anew(path, lambda name, parent: os.open(name, _CREATE, mode, dir_fd=parent))
        try:
            self._content(fd, path, entry, reader.data())
            if self._must_chown(entry):
                os.chown(fd, entry.uid, entry.gid)
            for key, value in entry.xattrs.items():
                self._set_xattr(fd, key, value)
            if entry.mode != mode:
                # After chown, for the kernel clears setuid bits when the owner changes.
                os.fchmod(fd, entry.mode)
            os.utime(fd, ns=(entry.mtime, entry.mtime))
        finally:
            os.close(fd)

    def _content(self, fd: int, path: Components, entry: Entry, data: Iterator[memoryview]) -> None:
        outline = self._rules.outline
        if entry.segments is not None:
            _write_with_holes(fd, data, entry)
            if outline is not None:
                outline.add_whole(fd)
        elif outline is not None:
            outline.compare(fd, path, entry.size, data)
        else:
            for piece in data:
                _write(fd, piece)

    def _directory(self, path: Components, entry: Entry) -> None:
        name, parent = path[-1], self._made(path[:-1])
        opaque = False
        try:
            os.mkdir(name, self._early_mode(entry), dir_fd=parent)
        except FileExistsError:
            found = os.lstat(name, dir_fd=parent)
            if stat.S_ISDIR(found.st_mode):
                syscalls.chmod_at(parent, name, self._early_mode(entry))
            else:
                # The layer removed or replaced this name before: whatever lower layers have is gone.
                opaque = True
                self._place_anew(
                    path, lambda name, parent: os.mkdir(name, self._early_mode(entry), dir_fd=parent)
                )
        self._describe_directory(path, entry)
        if opaque:
            self._mark_opaque(path)

    def _early_mode(self, entry: Entry) -> int:
        """The mode while things are still put into a directory: no setgid bit, which they would
        inherit, and always writable for us (M12)."""
        return entry.mode & 0o777 | (0 if self._rules.privileged else 0o700)

    def _describe_directory(self, path: Components, entry: Entry) -> None:
        os.fchdir(self.beneath.directory(path))
        if self._must_chown(entry):
            os.chown(b".", entry.uid, entry.gid)
        for key, value in entry.xattrs.items():
            if key != INHERITED:
                self._set_xattr(b".", key, value)
        self._pending.describe_directory(path, entry)

    def _symlink(self, path: Components, entry: Entry) -> None:
        if not entry.link:
            raise UnsafeEntry(self._layer, entry.printable, "a symbolic link without a target")
        self._place_anew(path, lambda name, parent: os.symlink(entry.link, name, dir_fd=parent))
        self._describe(path, entry)

    def _hard_link(self, path: Components, entry: Entry) -> None:
        target = self._path(entry.link, entry)
        if not target or target == path:
            raise UnsafeEntry(self._layer, entry.printable, "a hard link to itself or to the root")

        def link(name: bytes, parent: int) -> None:
            source = self.beneath.existing_directory(target[:-1])
            if source is None:
                raise FileNotFoundError
            try:
                os.link(target[-1], name, src_dir_fd=source, dst_dir_fd=parent, follow_symlinks=False)
            except FileExistsError:
                # Twice the same link: removing the one would remove the other.
                if not os.path.samestat(os.lstat(target[-1], dir_fd=source), os.lstat(name, dir_fd=parent)):
                    raise

        try:
            self._place_anew(path, link)
        except FileNotFoundError:
            self._link_later(path, target, entry)
        else:
            self._describe_linked(path, entry)

    def _link_later(self, path: Components, target: Components, entry: Entry) -> None:
        """The target is not in this layer: it was left out, or it must be in a lower one (L13)."""
        if self._pending.is_left_out(target):
            self._pending.leave_out(path)
            self._skipped += 1
            return
        if self._is_hidden(target):
            raise UnsafeEntry(self._layer, entry.printable, "the target of the hard link was removed")
        try:
            remove_tree(path[-1], self._made(path[:-1]))
            self._forget()
        except FileNotFoundError:
            pass
        self._pending.link(path, target, entry)

    def _is_hidden(self, path: Components) -> bool:
        """Whether this layer hides what lower layers have there."""
        for count, name in enumerate(path):
            directory = self.beneath.existing_directory(path[:count])
            if directory is None:
                return False
            if is_opaque(directory):
                return True
            try:
                found = os.lstat(name, dir_fd=directory)
            except FileNotFoundError:
                return False
            if not stat.S_ISDIR(found.st_mode) and not stat.S_ISLNK(found.st_mode):
                return True
        return False

    def _describe_linked(self, path: Components, entry: Entry) -> None:
        """What the entry of a hard link says counts for the file of all its names, as in Docker.

        Of a symbolic link only the owner: its mode and time would be those of what it leads to (L11).
        """
        name, parent = path[-1], self.beneath.directory(path[:-1])
        found = os.lstat(name, dir_fd=parent)
        if is_whiteout(found):
            raise UnsafeEntry(self._layer, entry.printable, "the target of the hard link was removed")
        if (found.st_uid, found.st_gid) != (entry.uid, entry.gid) and self._rules.may_set_owner(entry):
            os.chown(name, entry.uid, entry.gid, dir_fd=parent, follow_symlinks=False)
            found = os.lstat(name, dir_fd=parent)
        self._set_xattrs_at(name, parent, entry)
        if stat.S_ISLNK(found.st_mode):
            return
        if stat.S_IMODE(found.st_mode) != entry.mode:
            syscalls.chmod_at(parent, name, entry.mode)
        if found.st_mtime_ns != entry.mtime:
            os.utime(name, ns=(entry.mtime, entry.mtime), dir_fd=parent, follow_symlinks=False)

    def _special(self, path: Components, entry: Entry) -> None:
        if entry.kind == tar.FIFO:
            kind, device = stat.S_IFIFO, 0
        else:
            kind = stat.S_IFCHR if entry.kind == tar.CHARACTER_DEVICE else stat.S_IFBLK
            device = os.makedev(*entry.device)
            # 0:0 is how overlayfs writes a whiteout; from a layer it must not act as one (W08).
            if not self._rules.privileged or (kind == stat.S_IFCHR and not device):
                self._skipped += 1
                self._pending.leave_out(path)
                return
        mode = kind | entry.mode & 0o777
        self._place_anew(path, lambda name, parent: os.mknod(name, mode, device, dir_fd=parent))
        self._describe(path, entry)
        if entry.mode & _SPECIAL_BITS:
            syscalls.chmod_at(self.beneath.directory(path[:-1]), path[-1], entry.mode)

    # --- whiteouts ---------------------------------------------------------------------------

    def _white_out(self, path: Components, entry: Entry) -> None:
        try:
            found = whiteout_of(path[-1])
        except ValueError as error:
            raise UnsafeEntry(self._layer, entry.printable, str(error)) from error
        match found:
            case Opaque():
                self._mark_opaque(path[:-1])
            case Remove(name):
                self._remove(name, path[:-1])
            case Bookkeeping() | None:
                self._skipped += 1

    def _remove(self, name: bytes, directory: Components) -> None:
        """Hide `name` of the lower layers, and nothing of this one (W05, as umoci has it)."""
        parent = self._made(directory)
        self._pending.whiteout(directory)
        try:
            os.mknod(name, stat.S_IFCHR, 0, dir_fd=parent)
        except FileExistsError:
            if stat.S_ISDIR(os.lstat(name, dir_fd=parent).st_mode):
                self._mark_opaque((*directory, name))

    def _mark_opaque(self, directory: Components) -> None:
        os.fchdir(self._made(directory))
        os.setxattr(b".", self._opaque_mark, b"y")
        if not directory:
            self._pending.whiteout(directory)  # overlayfs does not look for the mark in a root

    # --- metadata ----------------------------------------------------------------------------

    def _must_chown(self, entry: Entry) -> bool:
        is_other = entry.uid != self._user or entry.gid != self._group
        return is_other and self._rules.may_set_owner(entry)

    def _describe(self, path: Components, entry: Entry) -> None:
        """Owner, attributes and time of something that cannot be opened."""
        name, parent = path[-1], self.beneath.directory(path[:-1])
        if self._must_chown(entry):
            os.chown(name, entry.uid, entry.gid, dir_fd=parent, follow_symlinks=False)
        self._set_xattrs_at(name, parent, entry)
        os.utime(name, ns=(entry.mtime, entry.mtime), dir_fd=parent, follow_symlinks=False)

    def _set_xattrs_at(self, name: bytes, parent: int, entry: Entry) -> None:
        if entry.xattrs:
            os.fchdir(parent)
            for key, value in entry.xattrs.items():
                self._set_xattr(name, key, value)

    def _set_xattr(self, where: int | bytes, key: bytes, value: bytes) -> None:
        if not set_xattr(where, key, value):
            self._skipped += 1


def _write(fd: int, piece: memoryview) -> None:
    while len(piece := piece[os.write(fd, piece) :]):
        pass


def _write_with_holes(fd: int, data: Iterator[memoryview], entry: Entry) -> None:
    """Data to its places; what lies between stays a hole."""
    os.ftruncate(fd, entry.size)
    piece = memoryview(b"")
    for offset, length in entry.segments or ():
        os.lseek(fd, offset, os.SEEK_SET)
        while length:
            piece = piece or next(data)
            _write(fd, piece[:length])
            length, piece = length - len(piece[:length]), piece[length:]
