"""What a path named by a document of an archive leads to: a section of a regular file inside, or an error.

A tar file is looked up in the index of its members; a directory is opened below its descriptor
and nowhere else. Cases A02, A03, A04 and A09 of hostile archives.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import Protocol

from aiodocker_lite.archive.members import Member, index_members, inner_path
from aiodocker_lite.archive.section import Section
from aiodocker_lite.errors import InvalidArchive
from aiodocker_lite.syscalls import RESOLVE_BENEATH, RESOLVE_NO_MAGICLINKS, openat2


class Contents(Protocol):
    """The files of an archive."""

    archive: str
    """The name of the archive, for errors."""
    has_end: bool
    """Nobody cut off the end, as far as can be seen."""

    def find(self, path: str) -> Section | None:
        """The regular file at `path`, or None. Raises InvalidArchive for everything else."""

    def paths(self) -> Iterable[str]:
        """What there is, for a guess at what this may be; of a directory, only its first level."""


def document(contents: Contents, path: str, limit: int) -> bytes:
    """All of a small file. Raises InvalidArchive if it is missing or larger than `limit`."""
    return whole(require(contents, path), path, limit)


def whole(section: Section, path: str, limit: int) -> bytes:
    """All of a small file that was found. Raises InvalidArchive if it is larger than `limit`."""
    if section.size > limit:
        raise InvalidArchive(
            section.archive, f"its {path} has {section.size} bytes, which is more than {limit}"
        )
    return section.read_at(0, limit)


def require(contents: Contents, path: str) -> Section:
    """The regular file at `path`. Raises InvalidArchive if it is missing."""
    section = contents.find(path)
    if section is None:
        cut = "" if contents.has_end else "; it has no end mark, so it may be incomplete"
        raise InvalidArchive(contents.archive, f"'{path}' is missing{cut}")
    return section


class TarContents:
    """The members of a tar file."""

    def __init__(self, tar: Section) -> None:
        self.archive = tar.archive
        self._tar = tar
        self._members = index_members(tar)
        self.has_end = self._members.has_end

    def find(self, path: str) -> Section | None:
        inside = inner_path(path)
        if inside is None:
            raise InvalidArchive(self.archive, f"the path '{path}' in it leads outside of it")
        member = self._members.by_name.get(inside)
        if member is None:
            return None
        if inside in self._members.repeated and inside.endswith(".json"):
            # Whoever checked one of them, and whoever loads the other, would not have the same image.
            raise InvalidArchive(self.archive, f"it has '{inside}' more than once")
        if member.kind in ("symbolic link", "hard link"):
            member = self._follow(inside, member)
        if member.kind != "file":
            raise InvalidArchive(self.archive, f"'{path}' is a {member.kind}, not a file")
        return self._tar.part(member.offset, member.size)

    def _follow(self, name: str, link: Member) -> Member:
        """One hop: old `docker save` writes equal layers as links to the first of them."""
        base = name.rpartition("/")[0] if link.kind == "symbolic link" else ""
        inside = inner_path(link.link, base)
        if inside is None:
            raise InvalidArchive(self.archive, f"'{name}' is a link to '{link.link}', outside of it")
        member = self._members.by_name.get(inside)
        if member is None:
            raise InvalidArchive(self.archive, f"'{name}' is a link to '{link.link}', which is missing")
        if member.kind in ("symbolic link", "hard link"):
            raise InvalidArchive(self.archive, f"'{name}' is a link to another link, '{link.link}'")
        return member

    def paths(self) -> Iterable[str]:
        return self._members.by_name


class DirectoryContents:
    """The files below a directory: an OCI image layout, or an unpacked archive."""

    has_end = True

    def __init__(self, directory: Path, archive: str, files: ExitStack) -> None:
        self.archive = archive
        self._files = files
        self._found: dict[str, Section | None] = {}
        try:
            self._fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise InvalidArchive(archive, f"it cannot be opened: {error.strerror}") from error
        files.callback(os.close, self._fd)

    def find(self, path: str) -> Section | None:
        if path not in self._found:
            self._found[path] = self._open(path)
        return self._found[path]

    def _open(self, path: str) -> Section | None:
        if inner_path(path) is None:
            raise InvalidArchive(self.archive, f"the path '{path}' in it leads outside of it")
        # Without O_NONBLOCK, a FIFO would be waited for.
        flags = os.O_RDONLY | os.O_NONBLOCK
        try:
            fd = openat2(self._fd, os.fsencode(path), flags, resolve=RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENOTDIR):
                return None
            if error.errno in (errno.EXDEV, errno.ELOOP):
                raise InvalidArchive(self.archive, f"'{path}' is a link that leads outside of it") from error
            raise InvalidArchive(self.archive, f"'{path}' cannot be opened: {error.strerror}") from error
        self._files.callback(os.close, fd)
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            raise InvalidArchive(self.archive, f"'{path}' is not a regular file")
        return Section(fd, 0, status.st_size, self.archive)

    def paths(self) -> Iterable[str]:
        return os.listdir(self._fd)  # noqa: PTH208  (a descriptor, which Path cannot list)
