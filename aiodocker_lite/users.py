"""Who runs a container's process: `passwd` and `group` of an image, read without trust.

The grammar is docker's ``user[:group]``, each a name or a number. A number is never looked up as
a name, and a line that cannot be understood is no line: both once made root of somebody else
(CVE-2024-40635, CVE-2026-46680).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from aiodocker_lite.errors import InvalidUser

_ID_MAX = 2**32 - 2
"""The largest id; 2**32 - 1 is what the kernel calls "no change"."""


@dataclass(frozen=True, slots=True)
class User:
    """A user as the kernel knows it, and where it is at home."""

    uid: int
    gid: int
    groups: tuple[int, ...]
    """All groups of the process, `gid` first (CVE-2022-36109)."""
    home: str = "/"


@dataclass(frozen=True, slots=True)
class _Account:
    name: str
    uid: int
    gid: int
    home: str


@dataclass(frozen=True, slots=True)
class _Group:
    name: str
    gid: int
    members: tuple[str, ...]


def resolve_user(text: str, passwd: bytes, group: bytes, *, more: Sequence[str] = ()) -> User:
    """The user that ``user[:group]`` means in an image with these files, in `more` groups; without a user it is root.

    Raises InvalidUser for a name that is not there, and for what is neither name nor number.
    """
    wanted, _, wanted_group = text.partition(":")
    account = _find_account(text, wanted or "0", passwd)
    added = [_find_group(name, name, group) for name in more]
    if wanted_group:
        gid = _find_group(text, wanted_group, group)
        return User(account.uid, gid, _without_doubles(gid, *added), account.home or "/")
    also = (g.gid for g in _groups(group) if account.name and account.name in g.members)
    return User(account.uid, account.gid, _without_doubles(account.gid, *also, *added), account.home or "/")


def _without_doubles(*groups: int) -> tuple[int, ...]:
    return tuple(dict.fromkeys(groups))


def _find_account(text: str, wanted: str, passwd: bytes) -> _Account:
    uid = _number(text, wanted)
    for account in _accounts(passwd):
        if (account.name == wanted) if uid is None else (account.uid == uid):
            return account
    if uid is None:
        raise InvalidUser(text, f"no matching entries in passwd file for '{wanted}'")
    return _Account("", uid, 0, "/")


def _find_group(text: str, wanted: str, group: bytes) -> int:
    gid = _number(text, wanted)
    if gid is not None:
        return gid
    for entry in _groups(group):
        if entry.name == wanted:
            return entry.gid
    raise InvalidUser(text, f"no matching entries in group file for '{wanted}'")


def _number(text: str, part: str) -> int | None:
    """The number that a part of the text is, or None for a name. Raises InvalidUser (X12)."""
    if not (part.isascii() and part.isdigit()):
        if part.strip() != part or part[0] in "+-" or part[0].isdigit() or not part.isprintable():
            raise InvalidUser(text, f"'{part}' is neither a name nor a number")
        return None
    # Length first: Python refuses to read thousands of digits, with an error of its own.
    number = int(part) if len(part) <= 10 else _ID_MAX + 1
    if number > _ID_MAX:
        raise InvalidUser(text, f"'{part}' is larger than {_ID_MAX}")
    return number


def _accounts(passwd: bytes) -> Iterator[_Account]:
    for fields in _lines(passwd, 4):
        uid, gid = _id(fields[2]), _id(fields[3])
        if uid is not None and gid is not None:
            yield _Account(fields[0], uid, gid, fields[5] if len(fields) > 5 else "")


def _groups(group: bytes) -> Iterator[_Group]:
    for fields in _lines(group, 3):
        gid = _id(fields[2])
        if gid is not None:
            members = fields[3].split(",") if len(fields) > 3 else []
            yield _Group(fields[0], gid, tuple(member.strip() for member in members))


def _lines(content: bytes, fields_min: int) -> Iterator[list[str]]:
    for line in content.decode(errors="surrogateescape").split("\n"):
        fields = line.strip().split(":")
        if len(fields) >= fields_min and fields[0] and "\0" not in line and not line.startswith("#"):
            yield fields


def _id(text: str) -> int | None:
    if text.isascii() and text.isdigit() and len(text) <= 10 and int(text) <= _ID_MAX:
        return int(text)
    return None
