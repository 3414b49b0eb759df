"""A directory as a value: what two tools must agree on when they unpack the same image."""

from __future__ import annotations

import hashlib
import os
import stat
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Node:
    """Everything of one file that a container can see, but its inode number."""

    mode: int
    uid: int
    gid: int
    mtime_ns: int
    links: int
    device: int
    xattrs: tuple[tuple[str, bytes], ...]
    content: str


def read_tree(root: Path) -> dict[bytes, Node]:
    """Every file below `root` under its relative name, and the root itself as b"."."""
    found = {b".": _node(os.fsencode(root))}
    for directory, names, files in os.walk(os.fsencode(root)):
        for name in names + files:
            path = os.path.join(directory, name)  # noqa: PTH118
            found[os.path.relpath(path, os.fsencode(root))] = _node(path)
    return found


def differences(ours: dict[bytes, Node], theirs: dict[bytes, Node]) -> list[str]:
    """What differs, as sentences; empty for equal trees."""
    found = []
    for path in sorted(ours.keys() | theirs.keys()):
        if path not in ours:
            found.append(f"{path!r} is missing")
        elif path not in theirs:
            found.append(f"{path!r} should not be there")
        elif ours[path] != theirs[path]:
            mine, other = vars(ours[path]), vars(theirs[path])
            found.extend(f"{path!r}: {k} {mine[k]!r} != {other[k]!r}" for k in mine if mine[k] != other[k])
    return found


def _node(path: bytes) -> Node:
    found = os.lstat(path)
    kind = stat.S_IFMT(found.st_mode)
    if kind == stat.S_IFREG:
        with open(path, "rb") as file:  # noqa: PTH123
            content = hashlib.file_digest(file, "sha256").hexdigest()
    elif kind == stat.S_IFLNK:
        content = os.fsdecode(os.readlink(path))  # noqa: PTH115
    else:
        content = ""
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
    )
