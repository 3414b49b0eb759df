"""Removing a directory with all that is in it: however deep, whatever its modes forbid, half gone already."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from contextlib import suppress
from functools import partial

from aiodocker_lite import syscalls

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def remove_path(path: str) -> None:
    """Remove a directory by its path, as `remove_directory` does. Raises OSError."""
    above, name = os.path.split(path)
    try:
        parent = os.open(above, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        return  # somebody has removed more than that
    try:
        remove_directory(name, parent)
    finally:
        os.close(parent)


def remove_directory(name: str, parent: int) -> None:
    """Remove the directory `name` of the open directory `parent`; that it is gone already is no error.

    One directory is open at a time and nothing recurs, for what strangers make can be deeper
    than the stack, the longest path or the number of descriptors. No link is followed, and a file
    system that is mounted below is not touched. Raises OSError.
    """
    here = os.dup(parent)
    device = os.fstat(here).st_dev
    pending = [name]
    above: list[tuple[int, str, list[str]]] = []
    try:
        while pending or above:
            if pending:
                name = pending.pop()
                below = _open(name, here, device)
                if below is None:
                    continue
                above.append((os.fstat(here).st_ino, name, pending))
                os.close(here)
                here = below
                pending = _remove_files(here)
            else:
                inode, name, pending = above.pop()
                up = os.open("..", _DIRECTORY, dir_fd=here)
                os.close(here)
                here = up
                if os.fstat(here).st_ino != inode:
                    raise OSError(errno.ESTALE, "it was moved while it was being removed")
                _insist(partial(os.rmdir, name, dir_fd=here), here)
    finally:
        os.close(here)


def _open(name: str, parent: int, device: int) -> int | None:
    try:
        try:
            found = os.open(name, _DIRECTORY, dir_fd=parent)
        except PermissionError:
            _insist(partial(syscalls.chmod_at, parent, os.fsencode(name), 0o700), parent)
            found = os.open(name, _DIRECTORY, dir_fd=parent)
    except FileNotFoundError:
        return None
    if os.fstat(found).st_dev != device:
        os.close(found)
        raise OSError(errno.EBUSY, "another file system is mounted there", name)
    return found


def _remove_files(directory: int) -> list[str]:
    """Remove what is no directory; returns the names of those that are."""
    with os.scandir(directory) as entries:
        found = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
    for name, is_directory in found:
        if not is_directory:
            _insist(partial(os.unlink, name, dir_fd=directory), directory)
    return [name for name, is_directory in found if is_directory]


def _insist(change: Callable[[], None], directory: int) -> None:
    """Change something in a directory, and where it forbids that, have it permit that first."""
    with suppress(FileNotFoundError):
        try:
            change()
        except PermissionError:
            os.fchmod(directory, 0o700)
            change()
