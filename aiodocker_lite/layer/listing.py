"""A list of all that an unpacked layer consists of: its record, where the blob is not kept.

One JSON line for each entry, in the order of their paths: so a tree is compared with its list while both
are read, however large they are. The first line is about the notes beside the tree. Whoever keeps a list
keeps its digest elsewhere.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import astuple, dataclass
from typing import Any, BinaryIO

from aiodocker_lite.digest import Digest
from aiodocker_lite.layer.beneath import Components
from aiodocker_lite.layer.compare import (
    ATTRIBUTES,
    CONTENT,
    MISSING,
    MORE,
    TARGET,
    TIME,
    Difference,
    kind,
    list_directory,
    reading,
    rights,
    xattrs_of,
)
from aiodocker_lite.layer.view import opened

_UNREADABLE = "?"
"""In the place of a digest."""


@dataclass(frozen=True, slots=True)
class _Entry:
    path: str
    st_mode: int
    st_uid: int
    st_gid: int
    st_size: int
    st_rdev: int
    st_nlink: int
    st_mtime_ns: int
    content: str
    """The SHA-256 of a file, or where a link leads."""
    xattrs: dict[str, str]

    @property
    def place(self) -> Components:
        """What entries are in the order of."""
        return tuple(filter(None, os.fsencode(self.path).split(b"/")))

    def difference(self, found: _Entry) -> str | None:
        """What is wrong with what was found in this place."""
        if self.content != found.content:
            content = TARGET if stat.S_ISLNK(self.st_mode) else CONTENT
        else:
            content = None
        return (
            kind(self, found)
            or content
            or rights(self, found)
            or (TIME if self.st_mtime_ns != found.st_mtime_ns else None)
            or (ATTRIBUTES if self.xattrs != found.xattrs else None)
        )


def write_listing(root: int, notes: bytes, file: BinaryIO) -> Digest:
    """List the tree below an open directory; returns the digest of the list. The current directory changes."""
    digest = hashlib.sha256()
    for fields in _lines(root, notes):
        line = json.dumps(fields).encode() + b"\n"
        digest.update(line)
        file.write(line)
    return Digest("sha256", digest.hexdigest())


def compare_listing(lines: Iterable[bytes], notes: bytes, root: int) -> Iterator[Difference]:
    """How the tree below an open directory differs from its list. The current directory changes."""
    listed = iter(lines)
    if json.loads(next(listed)) != _about(notes):
        yield b"", "the notes about it are damaged"
    entries, walked = (_Entry(*json.loads(line)) for line in listed), _walk(root, _UNREADABLE)
    wanted, found = next(entries, None), next(walked, None)
    while wanted is not None or found is not None:
        if wanted is not None and (found is None or wanted.place < found.place):
            yield os.fsencode(wanted.path), MISSING
            wanted = next(entries, None)
        elif found is not None and (wanted is None or found.place < wanted.place):
            yield os.fsencode(found.path), MORE
            found = next(walked, None)
        elif wanted is not None and found is not None:
            if wrong := wanted.difference(found):
                yield os.fsencode(wanted.path), wrong
            wanted, found = next(entries, None), next(walked, None)


def _lines(root: int, notes: bytes) -> Iterator[Any]:
    yield _about(notes)
    yield from map(astuple, _walk(root))


def _about(notes: bytes) -> list[str]:
    return [hashlib.sha256(notes).hexdigest()]


def _walk(root: int, unreadable: str | None = None) -> Iterator[_Entry]:
    """All entries, a directory before what is in it. Raises OSError."""
    todo = [_entry((), os.fstat(root), xattrs_of(root), "")]
    while todo:
        entry = todo.pop()
        yield entry
        if stat.S_ISDIR(entry.st_mode):
            with suppress(PermissionError), opened(root, entry.place) as directory:
                todo += reversed(list(_in(directory, entry.place, unreadable)))


def _in(directory: int, path: Components, unreadable: str | None) -> Iterator[_Entry]:
    for name, (how, xattrs) in sorted(list_directory(directory).items()):
        try:
            content = _content(directory, name, how.st_mode)
        except PermissionError:
            content = ""  # nobody but root can read it, and so it was when it was made
        except OSError:
            if unreadable is None:
                raise
            content = unreadable
        yield _entry((*path, name), how, xattrs, content)


def _content(directory: int, name: bytes, mode: int) -> str:
    if stat.S_ISLNK(mode):
        return os.fsdecode(os.readlink(name, dir_fd=directory))
    if not stat.S_ISREG(mode):
        return ""
    with reading(name, directory) as fd, open(fd, "rb", closefd=False) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _entry(path: Components, how: os.stat_result, xattrs: dict[bytes, bytes], content: str) -> _Entry:
    return _Entry(
        os.fsdecode(b"/".join(path)),
        how.st_mode,
        how.st_uid,
        how.st_gid,
        how.st_size,
        how.st_rdev,
        how.st_nlink,
        how.st_mtime_ns,
        content,
        {os.fsdecode(key): value.hex() for key, value in xattrs.items()},
    )
