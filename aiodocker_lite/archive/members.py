"""The members of a tar file, found by their headers and never extracted.

POSIX.1-2001 pax(1), "ustar Interchange Format" and "pax Extended Header"; GNU tar manual,
"Basic Tar Format". Single headers are read by the standard library. What joins them is ours:
`TarFile` reads an extension header of any size into memory, searches it in quadratic time, and
takes a damaged header for the end of the archive.
"""

from __future__ import annotations

import tarfile
from dataclasses import dataclass, field
from typing import Literal

from aiodocker_lite.archive.section import Section
from aiodocker_lite.errors import InvalidArchive

Kind = Literal["file", "hard link", "symbolic link", "directory", "FIFO", "device", "member of unknown type"]

_KINDS: dict[bytes, Kind] = {
    tarfile.REGTYPE: "file",
    tarfile.AREGTYPE: "file",
    tarfile.CONTTYPE: "file",
    tarfile.LNKTYPE: "hard link",
    tarfile.SYMTYPE: "symbolic link",
    tarfile.DIRTYPE: "directory",
    tarfile.FIFOTYPE: "FIFO",
    tarfile.CHRTYPE: "device",
    tarfile.BLKTYPE: "device",
}
_WITHOUT_DATA = ("hard link", "symbolic link", "directory", "FIFO", "device")
_EXTENSIONS = (tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK)

_RECORD = 512
_ZEROS = bytes(_RECORD)
_MEMBERS_MAX = 100_000
_NAME_MAX = 4096
_EXTENSION_MAX = 1 << 20


@dataclass(frozen=True, slots=True)
class Member:
    """One member: what it is, where its bytes are, and what it links to if it is a link."""

    kind: Kind
    link: str
    offset: int
    size: int


@dataclass(slots=True)
class Members:
    """All members by name, the last of equal names; names that leave the archive are not in it."""

    by_name: dict[str, Member] = field(default_factory=dict)
    repeated: set[str] = field(default_factory=set)
    """Names that more than one member has: two readers may take different ones."""
    has_end: bool = False
    """The end-of-archive mark is there; without it, somebody may have cut the file off."""


@dataclass(slots=True)
class _Extensions:
    """What headers before a member's own say about it."""

    name: str | None = None
    link: str | None = None
    size: int | None = None


def is_header(record: bytes) -> bool:
    """These bytes begin a tar file: a header whose checksum is right."""
    try:
        _parse(record[:_RECORD])
    except tarfile.HeaderError:
        return False
    return True


def is_end(record: bytes) -> bool:
    """These bytes begin with an end mark."""
    return record[:_RECORD] == _ZEROS


def index_members(tar: Section) -> Members:
    """Read all headers. Raises InvalidArchive for a damaged or truncated tar file."""
    found = Members()
    position = count = 0
    while position < tar.size:
        start = position
        header, extensions, position = _next_header(tar, position)
        if header is None:
            found.has_end = True
            break
        count += 1
        if count > _MEMBERS_MAX:
            raise InvalidArchive(tar.archive, f"it has more than {_MEMBERS_MAX} members")
        name, member = _member(header, extensions, position)
        if max(len(name), len(member.link)) > _NAME_MAX:
            raise InvalidArchive(tar.archive, f"a name in it is longer than {_NAME_MAX} characters")
        if member.size < 0:
            raise InvalidArchive(tar.archive, f"its tar header at byte {start} has a negative size")
        left = tar.size - position
        if member.size > left:
            raise InvalidArchive(
                tar.archive, f"it is truncated: '{name}' has {member.size} bytes, and {left} are left"
            )
        position += member.size + -member.size % _RECORD
        if (inside := inner_path(name)) is not None:
            if inside in found.by_name:
                found.repeated.add(inside)
            found.by_name[inside] = member
    return found


def inner_path(path: str, base: str = "") -> str | None:
    """The name of a member that `path` means, seen from directory `base`; None if it leads outside."""
    if path.startswith("/") or "\0" in path:
        return None
    parts: list[str] = []
    for part in (*base.split("/"), *path.split("/")):
        if part == "..":
            if not parts:
                return None
            parts.pop()
        elif part not in ("", "."):
            parts.append(part)
    return "/".join(parts)


def _parse(record: bytes) -> tarfile.TarInfo:
    return tarfile.TarInfo.frombuf(record, "utf-8", "surrogateescape")


def _next_header(tar: Section, position: int) -> tuple[tarfile.TarInfo | None, _Extensions, int]:
    """The next member's own header with what stands before it, and where its data begins."""
    extensions = _Extensions()
    while True:
        record = tar.read_at(position, _RECORD)
        if record == _ZEROS:
            return None, extensions, position
        if len(record) < _RECORD:
            raise InvalidArchive(tar.archive, "it is truncated: it ends in the middle of a tar header")
        try:
            header = _parse(record)
        except tarfile.HeaderError as error:
            raise InvalidArchive(tar.archive, f"its tar header at byte {position} is damaged") from error
        position += _RECORD
        if header.type == tarfile.GNUTYPE_SPARSE:
            raise _sparse(tar.archive)
        if header.type not in _EXTENSIONS:
            return header, extensions, position
        if not 0 <= header.size <= _EXTENSION_MAX:
            raise InvalidArchive(
                tar.archive, f"an extension header at byte {position} says it has {header.size} bytes"
            )
        content = tar.read_at(position, header.size)
        if len(content) < header.size:
            raise InvalidArchive(tar.archive, "it is truncated: it ends in the middle of a tar header")
        _extend(extensions, header.type, content, tar.archive)
        position += header.size + -header.size % _RECORD


def _extend(extensions: _Extensions, kind: bytes, content: bytes, archive: str) -> None:
    if kind == tarfile.GNUTYPE_LONGNAME:
        extensions.name = _text(content.partition(b"\0")[0])
    elif kind == tarfile.GNUTYPE_LONGLINK:
        extensions.link = _text(content.partition(b"\0")[0])
    elif kind == tarfile.XHDTYPE:
        for key, value in _pax_records(content, archive):
            if key == b"path":
                extensions.name = _text(value)
            elif key == b"linkpath":
                extensions.link = _text(value)
            elif key == b"size":
                if not value.isdigit():
                    raise InvalidArchive(archive, "a PAX size in it is no number")
                extensions.size = int(value[:20])
            elif key.startswith(b"GNU.sparse."):
                raise _sparse(archive)


def _pax_records(content: bytes, archive: str) -> list[tuple[bytes, bytes]]:
    """Records of the form ``length key=value\\n``, in order; zeros behind the last are padding."""
    records = []
    position = 0
    while position < len(content) and content[position] != 0:
        space = content.find(b" ", position, position + 20)
        digits = content[position:space] if space >= 0 else b""
        end = position + int(digits) if digits.isdigit() else -1
        key, equals, value = content[space + 1 : end - 1].partition(b"=")
        if not space < end <= len(content) or content[end - 1 : end] != b"\n" or not equals:
            raise InvalidArchive(archive, "a PAX record in it is malformed")
        records.append((key, value))
        position = end
    return records


def _member(header: tarfile.TarInfo, extensions: _Extensions, offset: int) -> tuple[str, Member]:
    name = extensions.name or header.name
    kind = _KINDS.get(header.type, "member of unknown type")
    if kind == "file" and name.endswith("/"):
        # Before POSIX, a directory was a file whose name ends in a slash.
        kind = "directory"
    size = header.size if extensions.size is None else extensions.size
    # What other writers put as the size of a link (its target's) has no data.
    return name, Member(
        kind, extensions.link or header.linkname, offset, 0 if kind in _WITHOUT_DATA else size
    )


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")


def _sparse(archive: str) -> InvalidArchive:
    return InvalidArchive(archive, "it has sparse members; write it again without tar's --sparse")
