"""Whiteouts: names that remove something of a lower layer (OCI image layer specification, "Whiteouts")."""

from __future__ import annotations

from dataclasses import dataclass

_PREFIX = b".wh."
_OPAQUE = b".wh..wh..opq"
_AUFS = b".wh..wh."


@dataclass(frozen=True, slots=True)
class Remove:
    """Hide `name` of the lower layers."""

    name: bytes


@dataclass(frozen=True, slots=True)
class Opaque:
    """Hide everything that lower layers have in this directory."""


@dataclass(frozen=True, slots=True)
class Bookkeeping:
    """A left-over of the aufs storage driver that means nothing."""


def whiteout_of(name: bytes) -> Remove | Opaque | Bookkeeping | None:
    """What the last component of a path says, or None for an ordinary name.

    Raises ValueError for a whiteout of nothing, of the directory itself or of its parent.
    """
    if not name.startswith(_PREFIX):
        return None
    if name == _OPAQUE:
        return Opaque()
    if name.startswith(_AUFS):
        return Bookkeeping()
    hidden = name[len(_PREFIX) :]
    if hidden in (b"", b".", b".."):
        raise ValueError(f"'{name.decode()}' is not a valid whiteout")
    return Remove(hidden)
