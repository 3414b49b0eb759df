"""What a hostile layer is to the tests, and two lines to write one.

The numbers are those of the security catalogue:
L: paths and links; W: whiteouts; M: metadata; T: tar stream and compression.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from aiodocker_lite.settings import Limits
from tests.fakes.tars import (
    END,
    file,
    header,
    padded,
    pax,
)  # fmt: skip

Verdict = Literal["refused", "contained", "skipped"]
Pack = Callable[[bytes], bytes]
"""From the absolute path of the directory that must stay as it is, to the bytes of a layer."""

OUT = b"<outside>"
"""Stands for that path in the expected names; what is made for it lies below the root."""
LOW = Limits(unpacked_bytes=1 << 20, entries=1000, name_bytes=1024, header_bytes=1 << 16)


@dataclass(frozen=True)
class Case:
    """A layer, and its end: refused, contained below the root, or accepted with something left out."""

    name: str
    about: str
    """Its number in the catalogue."""
    pack: Pack
    verdict: Verdict
    names: frozenset[bytes] = frozenset()
    """All that lies below the root if it is accepted; the directories above these are implied."""
    limits: Limits = field(default_factory=Limits)
    needs_root: bool = False
    """Only root can make what it has (a device); for others this entry is left out."""


def refused(name: str, about: str, *entries: bytes, limits: Limits = Limits(), end: bytes = END) -> Case:  # noqa: B008
    return Case(name, about, lambda out: b"".join(entries) + end, "refused", limits=limits)


def contained(name: str, about: str, names: set[bytes], *entries: bytes, skips: bool = False) -> Case:
    verdict: Verdict = "skipped" if skips else "contained"
    return Case(name, about, lambda out: b"".join(entries) + END, verdict, frozenset(names))


def old_sparse(
    name: bytes, content: bytes, pieces: list[tuple[int, int]], size: int, *, more: bytes = b"\0"
) -> bytes:
    """A file in the old GNU format: four pieces of the map in its header, 21 in each record behind it."""
    table = [b"%011o\0%011o\0" % piece for piece in pieces]
    records = [b"".join(table[n : n + 21]).ljust(504, b"\0") for n in range(4, len(table), 21)]
    flags = [b"\1"] * (len(records) - 1) + [b"\0"]
    packed = bytearray(header(name, b"S", size=len(content), magic=b"ustar  \x00"))
    packed[386:482] = b"".join(table[:4]).ljust(96, b"\0")
    packed[482:483] = b"\1" if records else more
    packed[483:495] = b"%011o\0" % size
    packed[148:156] = b" " * 8
    packed[148:156] = b"%06o\0 " % sum(packed)
    extended = b"".join(
        (record + flag).ljust(512, b"\0") for record, flag in zip(records, flags, strict=False)
    )
    return bytes(packed) + extended + padded(content)


def sparse_1_0(text: bytes, content: bytes, *, name: bytes = b"f", size: int = 10) -> bytes:
    """A file in PAX format 1.0 with this text as its map."""
    records = {b"GNU.sparse.major": b"1", b"GNU.sparse.minor": b"0", b"GNU.sparse.name": name}
    return pax({**records, b"GNU.sparse.realsize": b"%d" % size}) + file(b"x", padded(text) + content)


def zstd_frame(content: bytes, descriptor: bytes = b"\xa0") -> bytes:
    """One frame of one stored block, so that no compressor is needed (RFC 8878)."""
    block = len(content) << 3 | 1
    head = b"\x28\xb5\x2f\xfd" + descriptor + struct.pack("<I", len(content))
    return head + struct.pack("<I", block)[:3] + content
