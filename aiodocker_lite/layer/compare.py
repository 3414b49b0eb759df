"""Two directories that should be the same, entry by entry."""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

from aiodocker_lite.layer.beneath import Components
from aiodocker_lite.layer.view import opened

Difference = tuple[bytes, str]
"""A path, and what is wrong there."""
Judge = Callable[[int, bytes, int, int], str | None]
"""Given the inode number of a file that should be, its name and both directories, what is wrong with
the content of the file that is."""

CONTENT = "its content is another"
ATTRIBUTES = "it has other extended attributes"
MISSING = "it is missing"
MORE = "it does not belong there"
TARGET = "it leads elsewhere"
TIME = "it was changed at another time"
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
_BLOCK = 1 << 20
_CLOCK = 1_000_000_000
"""Nanoseconds by which the time of a file system may be behind."""
_KINDS = {
    stat.S_IFREG: "a file",
    stat.S_IFDIR: "a directory",
    stat.S_IFLNK: "a symbolic link",
    stat.S_IFIFO: "a pipe",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
}


class Attributes(Protocol):
    """What is compared of the stat of an entry."""

    @property
    def st_mode(self) -> int: ...
    @property
    def st_uid(self) -> int: ...
    @property
    def st_gid(self) -> int: ...
    @property
    def st_size(self) -> int: ...
    @property
    def st_rdev(self) -> int: ...
    @property
    def st_nlink(self) -> int: ...


class Comparison:
    """How the directory `actual` differs from the directory `model`, which was made after this object."""

    def __init__(self, model: int, actual: int) -> None:
        """Both are open directories."""
        self._model = model
        self._actual = actual
        self._began = time.time_ns() - _CLOCK

    def run(self, judge: Judge) -> Iterator[Difference]:
        """All differences, one for each path. The current directory changes. Raises OSError."""
        if wrong := self._attributes(os.fstat(self._model), os.fstat(self._actual)):
            yield b"", wrong
        elif xattrs_of(self._model) != xattrs_of(self._actual):
            yield b"", ATTRIBUTES
        todo: list[Components] = [()]
        while todo:
            path = todo.pop()
            with self._both(path) as both:
                if both is not None:
                    for name, wrong, is_same_directory in self._directory(*both, judge):
                        if wrong is not None:
                            yield b"/".join((*path, name)), wrong
                        if is_same_directory:
                            todo.append((*path, name))

    @contextmanager
    def _both(self, path: Components) -> Iterator[tuple[int, int] | None]:
        """Both directories at this path; None where even their owner may not enter them."""
        with opened(self._model, path) as model, opened(self._actual, path) as actual:
            try:
                os.fchdir(model)
                os.fchdir(actual)
            except PermissionError:
                yield None
            else:
                yield model, actual

    def _directory(self, model: int, actual: int, judge: Judge) -> Iterator[tuple[bytes, str | None, bool]]:
        """Of each name: what is wrong with it, and whether it is a directory here and there."""
        wanted, there = list_directory(model), list_directory(actual)
        for name in sorted(wanted.keys() | there.keys()):
            if name not in there:
                yield name, MISSING, False
            elif name not in wanted:
                yield name, MORE, False
            else:
                (should, xattrs), (found, other) = wanted[name], there[name]
                wrong = (
                    kind(should, found)
                    or _content(should, name, model, actual, judge)
                    or self._attributes(should, found)
                    or (ATTRIBUTES if xattrs != other else None)
                )
                yield name, wrong, stat.S_ISDIR(should.st_mode) and stat.S_ISDIR(found.st_mode)

    def _attributes(self, should: os.stat_result, found: os.stat_result) -> str | None:
        if wrong := rights(should, found):
            return wrong
        # What nothing gave a time to has the time at which it was made.
        if found.st_mtime_ns != should.st_mtime_ns and should.st_mtime_ns < self._began:
            return TIME
        return None


def kind(should: Attributes, found: Attributes) -> str | None:
    """How what was found is something else."""
    wanted = stat.S_IFMT(should.st_mode)
    if stat.S_IFMT(found.st_mode) != wanted:
        return f"it is {_KINDS[stat.S_IFMT(found.st_mode)]}, not {_KINDS[wanted]}"
    if wanted == stat.S_IFREG and found.st_size != should.st_size:
        return f"it has {found.st_size} bytes, not {should.st_size}"
    if found.st_rdev != should.st_rdev:
        return "it is another device"
    if wanted != stat.S_IFDIR and found.st_nlink != should.st_nlink:
        return f"it has {found.st_nlink} names, not {should.st_nlink}"
    return None


def rights(should: Attributes, found: Attributes) -> str | None:
    """How what was found has another mode or owner."""
    if (mode := stat.S_IMODE(found.st_mode)) != stat.S_IMODE(should.st_mode):
        return f"its mode is {mode:04o}, not {stat.S_IMODE(should.st_mode):04o}"
    if (found.st_uid, found.st_gid) != (should.st_uid, should.st_gid):
        return f"its owner is {found.st_uid}:{found.st_gid}, not {should.st_uid}:{should.st_gid}"
    return None


def _content(should: os.stat_result, name: bytes, model: int, actual: int, judge: Judge) -> str | None:
    if stat.S_ISREG(should.st_mode):
        return judge(should.st_ino, name, model, actual)
    if stat.S_ISLNK(should.st_mode) and os.readlink(name, dir_fd=model) != os.readlink(name, dir_fd=actual):
        return TARGET
    return None


def same_content(inode: int, name: bytes, model: int, actual: int) -> str | None:
    """A `Judge` for a model that is whole; holes that both have are passed over."""
    try:
        with reading(name, model) as ours, reading(name, actual) as theirs:
            position, end = 0, os.fstat(ours).st_size
            while position < end:
                data = min(_data_from(ours, position, end), _data_from(theirs, position, end))
                length = min(_BLOCK, end - data)
                if os.pread(ours, length, data) != os.pread(theirs, length, data):
                    return CONTENT
                position = data + length
    except PermissionError:
        return None  # nobody but root can read it, and so it was when it was made
    except OSError as error:
        return f"it cannot be read ({os.strerror(error.errno or 0)})"
    return None


def _data_from(fd: int, position: int, end: int) -> int:
    """Where there is data again, from this position on."""
    try:
        return os.lseek(fd, position, os.SEEK_DATA)
    except OSError as error:
        if error.errno == errno.ENXIO:
            return end
        if error.errno == errno.EINVAL:  # this file system knows no holes
            return position
        raise


@contextmanager
def reading(name: bytes, parent: int) -> Iterator[int]:
    """A file of an open directory, to be read. Raises OSError."""
    fd = os.open(name, _READ, dir_fd=parent)
    try:
        yield fd
    finally:
        os.close(fd)


def list_directory(directory: int) -> dict[bytes, tuple[os.stat_result, dict[bytes, bytes]]]:
    """What is in a directory, which becomes the current one."""
    os.fchdir(directory)
    return {name: (os.lstat(name), _xattrs(name)) for name in os.listdir(b".")}  # noqa: PTH208


def xattrs_of(directory: int) -> dict[bytes, bytes]:
    """Those of an open directory, which becomes the current one."""
    os.fchdir(directory)
    return _xattrs(b".")


def _xattrs(name: bytes) -> dict[bytes, bytes]:
    """Extended attributes, but those that this system gives to files by itself."""
    try:
        keys = os.listxattr(name, follow_symlinks=False)
    except OSError as error:
        if error.errno != errno.ENOTSUP:
            raise
        return {}
    return {
        os.fsencode(key): os.getxattr(name, key, follow_symlinks=False)
        for key in keys
        if not key.startswith("security.") or key == "security.capability"
    }
