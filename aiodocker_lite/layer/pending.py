"""What can only be settled when all entries of a layer were seen, and what must be noted of it."""

from __future__ import annotations

import os
from typing import BinaryIO

from aiodocker_lite.errors import LimitExceeded
from aiodocker_lite.layer import tar
from aiodocker_lite.layer.attributes import set_xattr
from aiodocker_lite.layer.beneath import Beneath, Components
from aiodocker_lite.layer.notes import Attributes, Implied, Link, Note, Unapplied, Whiteouts, write_notes
from aiodocker_lite.layer.tar import Entry
from aiodocker_lite.layer.view import View

_KEPT_EACH = 300
"""Bytes of memory that a path costs beside its length."""
_SPECIAL_BITS = 0o7000
INHERITED = b"system.posix_acl_default"
"""The attribute of a directory that counts for what is made in it."""


class Pending:
    """Directories to be finished, links to lower layers, and notes for whoever comes later.

    There may be many of them, but not any number: their memory has a limit.
    """

    def __init__(
        self, beneath: Beneath, layer: str, notes: BinaryIO, *, privileged: bool, memory: int
    ) -> None:
        self._beneath = beneath
        self._layer = layer
        self._notes = notes
        self._privileged = privileged
        self._directories: dict[bytes, tuple[int, int, int]] = {}
        self._inherited: dict[bytes, bytes] = {}
        self._links: dict[bytes, Link] = {}
        self._left_out: set[bytes] = set()
        self._whiteouts: dict[int, bytes] = {}
        self._kept = 0
        self._kept_max = memory
        self.unapplied = 0

    @property
    def describes_root(self) -> bool:
        """Whether an entry said what the root directory is like."""
        return b"" in self._directories

    def _keep(self, path: Components, value: bytes = b"") -> bytes:
        joined = b"/".join(path)
        self._kept += len(joined) + len(value) + _KEPT_EACH
        if self._kept > self._kept_max:
            what = f"the memory for directories and links of layer {self._layer}"
            raise LimitExceeded(what, self._kept_max, self._kept, "path_bytes")
        return joined

    # --- while entries come ------------------------------------------------------------------

    def directory(self, path: Components) -> int:
        """`Beneath.directory`; what it makes counts."""
        before = len(self._beneath.made)
        found = self._beneath.directory(path)
        for _ in range(len(self._beneath.made) - before):
            self._keep(path)
        return found

    def describe_directory(self, path: Components, entry: Entry) -> None:
        """The current directory is described by this entry."""
        inode = os.lstat(b".").st_ino
        self._beneath.made.pop(inode, None)
        self._directories[self._keep(path)] = entry.mode, entry.mtime, inode
        # What is made in the directory would inherit it, and with it another mode.
        if (value := entry.xattrs.get(INHERITED)) is not None:
            self._inherited[self._keep(path, value)] = value

    def leave_out(self, path: Components) -> None:
        """An entry that cannot be made here."""
        self._left_out.add(self._keep(path))

    def is_left_out(self, path: Components) -> bool:
        return b"/".join(path) in self._left_out

    def link(self, path: Components, target: Components, entry: Entry) -> None:
        """A hard link to something that a lower layer must have, or to such a link."""
        name, wanted = self._keep(path), self._keep(target)
        before = self._links.get(wanted)
        self._links[name] = Link(name, before.target if before else wanted, Attributes.of(entry))

    def whiteout(self, directory: Components) -> None:
        """Something of lower layers is removed in this directory."""
        inode = os.fstat(self._beneath.directory(directory)).st_ino
        if inode not in self._whiteouts:
            # Without links: what they lead to now, they may not lead to at the end.
            self._whiteouts[inode] = self._keep(View([self._beneath.root]).resolve(directory))

    def note_unapplied(self, path: Components, entry: Entry, *, has_owner: bool) -> None:
        """Note whatever of it only root could do; some of its owners could be given already."""
        is_others = not has_owner and bool(entry.uid or entry.gid)
        is_device = entry.kind in (tar.CHARACTER_DEVICE, tar.BLOCK_DEVICE)
        is_capable = any(key.startswith(b"security.") for key in entry.xattrs)
        if is_others or is_device or is_capable:
            self.unapplied += 1
            note = Unapplied(b"/".join(path), entry.kind, entry.device, Attributes.of(entry))
            write_notes(self._notes, [note])

    # --- at the end --------------------------------------------------------------------------

    def note_loose_ends(self) -> int:
        """Note what is left to `join`; returns how much that is."""
        implied = [path for inode, path in self._beneath.made.items() if self._is_directory(path, inode)]
        notes: list[Note] = [
            *map(Implied, implied),
            *map(Whiteouts, self._whiteouts.values()),
            *self._links.values(),
        ]
        write_notes(self._notes, notes)
        self._notes.flush()
        return len(notes)

    def _is_directory(self, path: bytes, inode: int) -> bool:
        directory = self._beneath.existing_directory(components(path))
        if directory is None:
            return False
        os.fchdir(directory)
        return os.lstat(b".").st_ino == inode

    def finish_directories(self) -> None:
        """Times and last bits of modes: whatever is made in a directory changes its time (M11)."""
        # The deepest first, for without privileges a mode may close the way to what is below.
        deepest = sorted(self._directories.items(), key=lambda item: -item[0].count(b"/"))
        for path, (mode, mtime, inode) in deepest:
            # By now the name may lead to another directory.
            if self._is_directory(path, inode):
                if path in self._inherited:
                    set_xattr(b".", INHERITED, self._inherited[path])
                os.utime(b".", ns=(mtime, mtime))
                # Last, for a directory that cannot be searched has no "." either.
                if mode & _SPECIAL_BITS or not self._privileged:
                    os.chmod(b".", mode)  # noqa: PTH101


def components(path: bytes) -> Components:
    """The parts of a path that was joined."""
    return tuple(path.split(b"/")) if path else ()
