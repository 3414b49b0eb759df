"""The root file system of a container: which layers, where it is written, where it appears.

A plan is only made here; the overlay itself is mounted by the container's first process, for an
unprivileged mount is only possible inside its user namespace. Where overlayfs cannot be had, the
layers are merged into one tree by `flatten`.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from aiodocker_lite.errors import DiskFull, StoreUnwritable

_FICLONE = 0x40049409
_OPAQUE = ("trusted.overlay.opaque", "user.overlay.opaque")
_MARKS = ("trusted.overlay.", "user.overlay.")
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class RootfsPlan:
    """One root file system: an overlay that is still to be mounted, or a tree as it lies there."""

    root: Path
    """Where the container's `/` is: the mount point of the overlay, or the tree itself."""
    lowers: tuple[Path, ...]
    """The directories of the layers, lowest first."""
    upper: Path | None = None
    """What the container writes, and None for a plain tree."""
    work: Path | None = None
    """A directory that overlayfs needs beside `upper`."""
    model: Path | None = None
    """The directory whose mode, owner and time `/` has; None for the uppermost of `lowers`."""


def plan_rootfs(
    layers: Sequence[Path], container: Path, *, overlay: bool, model: Path | None = None
) -> RootfsPlan:
    """Plan the root file system of a container in its own directory, from its layers, lowest first.

    Its `/` is like the directory `model`, else like that of the uppermost layer.

    Makes empty directories and nothing else: a plan without overlay needs `flatten` before it is
    used. Raises DiskFull, StoreUnwritable.
    """
    root = container / "rootfs"
    if not overlay or not layers:
        return RootfsPlan(root, tuple(layers), model=model)
    upper, work = container / "upper", container / "work"
    with _store_errors(container):
        root.mkdir(mode=0o700, exist_ok=True)
        work.mkdir(mode=0o700, exist_ok=True)
        if not upper.exists():
            _make_like(upper, model or layers[-1])
    return RootfsPlan(root, tuple(layers), upper, work, model)


def _make_like(directory: Path, model: Path) -> None:
    """The merged `/` has the mode and owner of the uppermost directory, which is this new one."""
    temporary = directory.with_name(f"{directory.name}.new")
    temporary.mkdir(mode=0o700, exist_ok=True)
    found = model.stat()
    with _unless_forbidden():
        os.chown(temporary, found.st_uid, found.st_gid)
    temporary.chmod(stat.S_IMODE(found.st_mode))
    os.utime(temporary, ns=(found.st_atime_ns, found.st_mtime_ns))
    temporary.rename(directory)


def flatten(plan: RootfsPlan) -> None:
    """Merge the layers of a plan without overlay into its root; blocking, and long for large images.

    Whiteouts (0:0 character devices) and opaque directories are honoured as overlayfs would.
    Files are reflinked where the file system can, and else copied. The tree is whole or absent,
    and one that is there is left alone. Raises DiskFull, StoreUnwritable.
    """
    assert plan.upper is None
    if plan.root.exists():
        return
    partial = plan.root.with_name(f"{plan.root.name}.partial")
    with _store_errors(plan.root):
        _remove(str(partial))
        partial.mkdir(mode=0o700)
        for layer in plan.lowers:
            with _opened(layer, _DIRECTORY) as source, _opened(partial, _DIRECTORY) as target:
                _Merge().directory(source, target)
        if plan.model is not None:
            with _opened(plan.model, _DIRECTORY) as source, _opened(partial, _DIRECTORY) as target:
                _describe(source, target, os.fstat(source))
        partial.rename(plan.root)


class _Merge:
    """One layer on its way into the tree; nothing is ever reached but by open directories."""

    def __init__(self) -> None:
        # Names of one file stay names of one file: where the first was put. A path, for directories
        # are closed again; none of its parts can have been replaced since, all are of this layer.
        self._first: dict[tuple[int, int], str] = {}

    def directory(self, source: int, target: int) -> None:
        """Put all that is in `source` into `target`, and make its attributes the same."""
        if _is_opaque(source):
            for name in os.listdir(target):
                _remove(name, target)
        with os.scandir(source) as entries:
            names = sorted(entry.name for entry in entries)
        for name in names:
            self._entry(name, source, target)
        _describe(source, target, os.fstat(source))

    def _entry(self, name: str, source: int, target: int) -> None:
        found = os.lstat(name, dir_fd=source)
        if stat.S_ISCHR(found.st_mode) and found.st_rdev == 0:
            _remove(name, target)
        elif stat.S_ISDIR(found.st_mode):
            self._subdirectory(name, source, target)
        elif not stat.S_ISSOCK(found.st_mode):
            _remove(name, target)
            self._file(name, source, target, found)

    def _subdirectory(self, name: str, source: int, target: int) -> None:
        with suppress(FileNotFoundError):
            if stat.S_ISDIR(os.lstat(name, dir_fd=target).st_mode):
                os.chmod(name, 0o700, dir_fd=target)  # its mode may keep its owner out
            else:
                _remove(name, target)
        with suppress(FileExistsError):
            os.mkdir(name, 0o700, dir_fd=target)
        with _opened(name, _DIRECTORY, target) as into:
            if (below := _open_for_reading(name, _DIRECTORY, source)) is None:
                os.fchmod(into, stat.S_IMODE(os.lstat(name, dir_fd=source).st_mode))
                return
            try:
                self.directory(below, into)
            finally:
                os.close(below)

    def _file(self, name: str, source: int, target: int, found: os.stat_result) -> None:
        if found.st_nlink > 1 and self._link(name, target, found):
            return
        if stat.S_ISREG(found.st_mode):
            _copy_file(name, source, target, found)
        elif stat.S_ISLNK(found.st_mode):
            os.symlink(os.readlink(name, dir_fd=source), name, dir_fd=target)
            with _unless_forbidden():
                os.chown(name, found.st_uid, found.st_gid, dir_fd=target, follow_symlinks=False)
            _set_times(name, target, found)
        else:
            with _unless_forbidden():
                os.mknod(name, found.st_mode, found.st_rdev, dir_fd=target)
                os.chown(name, found.st_uid, found.st_gid, dir_fd=target, follow_symlinks=False)
                os.chmod(name, stat.S_IMODE(found.st_mode), dir_fd=target)
                _set_times(name, target, found)

    def _link(self, name: str, target: int, found: os.stat_result) -> bool:
        """Make this a further name of a file that was copied before; False for a file's first name."""
        path = str(Path(f"/proc/self/fd/{target}").readlink() / name)
        first = self._first.setdefault((found.st_dev, found.st_ino), path)
        if first == path:
            return False
        os.link(first, name, dst_dir_fd=target, follow_symlinks=False)
        return True


def _copy_file(name: str, source: int, target: int, found: os.stat_result) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with _opened(name, flags, target) as writing:
        if (reading := _open_for_reading(name, _FILE, source)) is None:
            os.fchmod(writing, stat.S_IMODE(found.st_mode))
            return
        try:
            _copy_content(reading, writing)
            _describe(reading, writing, found)
        finally:
            os.close(reading)


def _open_for_reading(name: str, flags: int, parent: int) -> int | None:
    """None for what even its owner may not read: in the container he could not read it either."""
    try:
        return os.open(name, flags, dir_fd=parent)
    except PermissionError:
        return None


def _copy_content(reading: int, writing: int) -> None:
    try:
        fcntl.ioctl(writing, _FICLONE, reading)
    except OSError:  # this file system cannot share blocks
        while os.sendfile(writing, reading, None, 1 << 30):
            pass


def _describe(source: int, target: int, found: os.stat_result) -> None:
    """Owner, attributes, mode and times; the owner first, for it clears setuid bits."""
    with _unless_forbidden():
        os.fchown(target, found.st_uid, found.st_gid)
    for key in os.listxattr(source):
        if not key.startswith(_MARKS):
            with _unless_forbidden():
                os.setxattr(target, key, os.getxattr(source, key))
    os.fchmod(target, stat.S_IMODE(found.st_mode))
    os.utime(target, ns=(found.st_atime_ns, found.st_mtime_ns))


def _set_times(name: str, target: int, found: os.stat_result) -> None:
    times = (found.st_atime_ns, found.st_mtime_ns)
    os.utime(name, ns=times, dir_fd=target, follow_symlinks=False)


def _is_opaque(directory: int) -> bool:
    marks = [key for key in os.listxattr(directory) if key in _OPAQUE]
    return any(os.getxattr(directory, key) == b"y" for key in marks)


def _remove(name: str, parent: int | None = None) -> None:
    with suppress(FileNotFoundError):
        try:
            os.unlink(name, dir_fd=parent)
        except IsADirectoryError:
            import shutil  # slow to import, and seldom needed

            shutil.rmtree(name, dir_fd=parent)


@contextmanager
def _opened(name: str | Path, flags: int, parent: int | None = None) -> Iterator[int]:
    fd = os.open(name, flags, 0o600, dir_fd=parent)
    try:
        yield fd
    finally:
        os.close(fd)


@contextmanager
def _unless_forbidden() -> Iterator[None]:
    """What only root may set, or this file system cannot have, is left out."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.EINVAL, errno.ENOTSUP):
            raise


@contextmanager
def _store_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskFull(str(path), reason) from error
        raise StoreUnwritable(str(path), reason) from error
