"""A directory as a value: what two tools must agree on when they unpack the same image."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Collection
from dataclasses import dataclass, fields, replace
from pathlib import Path


@dataclass(frozen=True)
class Node:
    """Everything of one file that a container can see, but its inode number."""

    mode: int
    uid: int
    gid: int
    mtime_ns: int
    links: int
    """How many names it has, wherever; 0 for a directory."""
    device: int
    xattrs: tuple[tuple[str, bytes], ...]
    content: str
    first: bytes = b""
    """The first of its names in this tree, the same for all that are links to one file."""
    data: tuple[tuple[int, int], ...] = ()
    """Where it has blocks and no hole."""


def read_tree(root: Path) -> dict[bytes, Node]:
    """Every file below `root` under its relative name, and the root itself as b"."."""
    top = os.fsencode(root)
    found = {b".": _node(top)}
    names: dict[tuple[int, int], list[bytes]] = {}
    pending = [b""]
    while pending:
        directory = pending.pop()
        for entry in os.scandir(os.path.join(top, directory)):  # noqa: PTH118
            name = os.path.join(directory, entry.name)  # noqa: PTH118
            found[name] = _node(entry.path)
            if entry.is_dir(follow_symlinks=False):
                pending.append(name)
            else:
                seen = os.lstat(entry.path)
                names.setdefault((seen.st_dev, seen.st_ino), []).append(name)
    for group in names.values():
        for name in group if len(group) > 1 else ():
            found[name] = replace(found[name], first=min(group))
    return found


def differences(
    ours: dict[bytes, Node], theirs: dict[bytes, Node], *, but: Collection[str] = ()
) -> list[str]:
    """What differs, `but` some facts, as sentences; empty for equal trees."""
    found = []
    facts = [field.name for field in fields(Node) if field.name not in but]
    for path in sorted(ours.keys() | theirs.keys()):
        if path not in ours:
            found.append(f"{path!r} is missing")
        elif path not in theirs:
            found.append(f"{path!r} should not be there")
        else:
            mine, other = vars(ours[path]), vars(theirs[path])
            found.extend(f"{path!r}: {k} {mine[k]!r} != {other[k]!r}" for k in facts if mine[k] != other[k])
    return found


def _node(path: bytes) -> Node:
    found = os.lstat(path)
    kind = stat.S_IFMT(found.st_mode)
    content = ""
    data: tuple[tuple[int, int], ...] = ()
    if kind == stat.S_IFREG:
        with open(path, "rb") as file:  # noqa: PTH123
            data = _data(file.fileno(), found.st_size)
            content = hashlib.file_digest(file, "sha256").hexdigest()
    elif kind == stat.S_IFLNK:
        content = os.fsdecode(os.readlink(path))  # noqa: PTH115
    names = sorted(os.listxattr(path, follow_symlinks=False))
    return Node(
        found.st_mode,
        found.st_uid,
        found.st_gid,
        found.st_mtime_ns,
        found.st_nlink if kind != stat.S_IFDIR else 0,
        found.st_rdev,
        tuple((name, os.getxattr(path, name, follow_symlinks=False)) for name in names),
        content,
        data=data,
    )


def _data(fd: int, size: int) -> tuple[tuple[int, int], ...]:
    """The parts of a file that are no holes."""
    found = []
    end = 0
    while end < size:
        try:
            start = os.lseek(fd, end, os.SEEK_DATA)
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise
            break
        end = os.lseek(fd, start, os.SEEK_HOLE)
        found.append((start, end))
    os.lseek(fd, 0, os.SEEK_SET)
    return tuple(found)
