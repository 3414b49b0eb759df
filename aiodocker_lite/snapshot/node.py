"""One file into another place, with everything about it that a container can see."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from aiodocker_lite.copying import copy_content

DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_OPAQUE = ("trusted.overlay.opaque", "user.overlay.opaque")
_MARKS = ("trusted.overlay.", "user.overlay.")


@contextmanager
def opened(name: str | Path, flags: int, parent: int | None = None) -> Iterator[int]:
    """A descriptor for the block."""
    fd = os.open(name, flags, 0o600, dir_fd=parent)
    try:
        yield fd
    finally:
        os.close(fd)


def open_if_allowed(name: str, flags: int, parent: int) -> int | None:
    """A descriptor, or None for what even its owner may not read here."""
    try:
        return os.open(name, flags, dir_fd=parent)
    except PermissionError:
        return None


def is_opaque(directory: int | Path) -> bool:
    """Whether a directory of a layer hides what lower layers have in it."""
    marks = [key for key in os.listxattr(directory) if key in _OPAQUE]
    return any(os.getxattr(directory, key) == b"y" for key in marks)


def is_whiteout(found: os.stat_result) -> bool:
    """Whether this hides a name of the lower layers (Linux, "Overlay Filesystem")."""
    return stat.S_ISCHR(found.st_mode) and found.st_rdev == 0


def copy(name: str, source: int, target: int, found: os.stat_result) -> bool:
    """Make in `target` what `name` is in `source`, a directory excepted; False if that is forbidden here."""
    if stat.S_ISREG(found.st_mode):
        _copy_file(name, source, target, found)
        return True
    if stat.S_ISLNK(found.st_mode):
        os.symlink(os.readlink(name, dir_fd=source), name, dir_fd=target)
    else:
        try:
            os.mknod(name, found.st_mode, found.st_rdev, dir_fd=target)
        except PermissionError:  # a device, made by nobody but root
            return False
    # These cannot be opened, and there is no call for attributes by directory and name.
    attributes = attributes_of(f"/proc/self/fd/{source}/{name}")
    with _unless_forbidden():
        os.chown(name, found.st_uid, found.st_gid, dir_fd=target, follow_symlinks=False)
    for key, value in attributes.items():
        with _unless_forbidden():
            os.setxattr(f"/proc/self/fd/{target}/{name}", key, value, follow_symlinks=False)
    if not stat.S_ISLNK(found.st_mode):
        os.chmod(name, stat.S_IMODE(found.st_mode), dir_fd=target)
    os.utime(name, ns=(found.st_atime_ns, found.st_mtime_ns), dir_fd=target, follow_symlinks=False)
    return True


def _copy_file(name: str, source: int, target: int, found: os.stat_result) -> None:
    with opened(name, _CREATE, target) as writing:
        reading = open_if_allowed(name, _READ, source)
        if reading is None:
            describe(writing, found, attributes_of(f"/proc/self/fd/{source}/{name}"))
            return
        try:
            copy_content(reading, writing)
            describe(writing, found, attributes_of(reading))
        finally:
            os.close(reading)


def attributes_of(file: int | str) -> dict[str, bytes]:
    """The extended attributes of a file, or of a symbolic link, without those that speak to overlayfs."""
    follow = isinstance(file, int)
    found = {}
    for key in os.listxattr(file, follow_symlinks=follow):
        if not key.startswith(_MARKS):
            with _unless_forbidden():
                found[key] = os.getxattr(file, key, follow_symlinks=follow)
    return found


def describe(target: int, found: os.stat_result, attributes: Mapping[str, bytes]) -> None:
    """Owner, attributes, mode and times; the owner first, for a change clears setuid bits and capabilities."""
    with _unless_forbidden():
        os.fchown(target, found.st_uid, found.st_gid)
    for key, value in attributes.items():
        with _unless_forbidden():
            os.setxattr(target, key, value)
    os.fchmod(target, stat.S_IMODE(found.st_mode))
    os.utime(target, ns=(found.st_atime_ns, found.st_mtime_ns))


@contextmanager
def _unless_forbidden() -> Iterator[None]:
    """What only root may set, or this file system cannot have, is left out."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.EACCES, errno.EINVAL, errno.ENOTSUP):
            raise
