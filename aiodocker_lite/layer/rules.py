"""What an unpacker is allowed and given, and what it says when it is done."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aiodocker_lite.layer.outline import Outline
    from aiodocker_lite.layer.tar import Entry
    from aiodocker_lite.settings import Limits


@dataclass(frozen=True, slots=True)
class UnpackRules:
    """What this process may do, and how much of it."""

    privileged: bool
    """Set owners, make devices and use trusted.* marks; else leave that out."""
    limits: Limits
    packed: int | None = None
    """The size of the layer's blob, where its ratio to the tar has a limit."""
    ids: tuple[int, int] = (0, 0)
    """Root of a user namespace sets owners too: those below these numbers, of users and of groups (M09)."""
    outline: Outline | None = None
    """Compares content in the place of writing it."""

    def may_set_owner(self, entry: Entry) -> bool:
        """The owner of this entry can be applied."""
        return self.privileged or (entry.uid < self.ids[0] and entry.gid < self.ids[1])


@dataclass(frozen=True, slots=True)
class Unpacked:
    """What came out of a layer."""

    entries: int
    bytes: int
    skipped: int
    """Entries or attributes that could not be, or must not be, applied here."""
    describes_root: bool = False
    """Whether an entry says what the root directory is like; else that of a lower layer counts."""
    loose_ends: int = 0
    """What depends on the layers below, and is for `join`: see `notes.py`."""
    unapplied: int = 0
    """Notes about owners, capabilities and devices that are for somebody with more rights."""
    listing: str | None = None
    """The digest of the list that was made of it: see `listing.py`."""
