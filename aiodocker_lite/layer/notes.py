"""What the directory of an unpacked layer cannot say by itself, kept beside it: one JSON line each.

A layer is unpacked without its parents, and perhaps without the rights it would need. What is left
open by that is settled later: by `join.py` for an image, and when somebody with more rights comes.
Names are bytes; in JSON each byte is the character of the same number.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, BinaryIO

from aiodocker_lite.layer.tar import Entry


@dataclass(frozen=True, slots=True)
class Implied:
    """A directory that no entry describes: what lower layers have there, counts (L18)."""

    path: bytes


@dataclass(frozen=True, slots=True)
class Whiteouts:
    """A directory in which something of lower layers is removed.

    Where none of them has this directory, overlayfs would list the whiteouts themselves (W09).
    """

    path: bytes


@dataclass(frozen=True, slots=True)
class Attributes:
    """What a tar entry says of a file, beside its content; times are nanoseconds."""

    mode: int
    uid: int
    gid: int
    mtime: int
    xattrs: dict[bytes, bytes] = field(default_factory=dict)

    @classmethod
    def of(cls, entry: Entry) -> Attributes:
        """Those of this entry."""
        return cls(entry.mode, entry.uid, entry.gid, entry.mtime, entry.xattrs)


@dataclass(frozen=True, slots=True)
class Link:
    """A hard link to something that this layer does not have, so a lower one must (L13)."""

    path: bytes
    target: bytes
    attributes: Attributes


@dataclass(frozen=True, slots=True)
class Unapplied:
    """An owner, a capability or a device that this user could not give or make."""

    path: bytes
    kind: bytes
    device: tuple[int, int]
    attributes: Attributes


Note = Implied | Whiteouts | Link | Unapplied


def write_notes(file: BinaryIO, notes: Iterable[Note]) -> None:
    """Append these notes. Raises OSError."""
    for note in notes:
        file.write(json.dumps(_to_json(note)).encode() + b"\n")


def read_notes(file: BinaryIO) -> list[Note]:
    """All notes of a layer, in the order in which they were written. Raises ValueError, KeyError."""
    return [_from_json(json.loads(line)) for line in file]


def _to_json(note: Note) -> dict[str, Any]:
    match note:
        case Implied(path):
            return {"implied": _text(path)}
        case Whiteouts(path):
            return {"whiteouts": _text(path)}
        case Link(path, target, attributes):
            return {"link": _text(path), "target": _text(target), **_attributes(attributes)}
        case Unapplied(path, kind, device, attributes):
            what = {"unapplied": _text(path), "kind": _text(kind), "device": device}
            return {**what, **_attributes(attributes)}


def _from_json(found: dict[str, Any]) -> Note:
    if "implied" in found:
        return Implied(_bytes(found["implied"]))
    if "whiteouts" in found:
        return Whiteouts(_bytes(found["whiteouts"]))
    xattrs = {_bytes(key): base64.b64decode(value) for key, value in found["xattrs"].items()}
    attributes = Attributes(found["mode"], found["uid"], found["gid"], found["mtime"], xattrs)
    if "link" in found:
        return Link(_bytes(found["link"]), _bytes(found["target"]), attributes)
    device = (found["device"][0], found["device"][1])
    return Unapplied(_bytes(found["unapplied"]), _bytes(found["kind"]), device, attributes)


def _attributes(attributes: Attributes) -> dict[str, Any]:
    xattrs = {_text(key): base64.b64encode(value).decode() for key, value in attributes.xattrs.items()}
    return {
        "mode": attributes.mode,
        "uid": attributes.uid,
        "gid": attributes.gid,
        "mtime": attributes.mtime,
        "xattrs": xattrs,
    }


def _text(name: bytes) -> str:
    return name.decode("latin-1")


def _bytes(text: str) -> bytes:
    return text.encode("latin-1")
