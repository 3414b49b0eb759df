"""Open and make below a container's root, as if it were `/`, before it is.

A link of the image is followed, and leads to a place inside, wherever it says it leads; what is
missing can be made on the way. The kernel itself follows no link here but under
RESOLVE_IN_ROOT, so what somebody changes meanwhile in a shared volume changes nothing (X16).
"""

from __future__ import annotations

import errno
import os
import stat

from aiodocker_lite.syscalls import (
    RESOLVE_IN_ROOT,
    RESOLVE_NO_MAGICLINKS,
    RESOLVE_NO_SYMLINKS,
    openat2,
)

_INSIDE = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS
_LINKS_MAX = 40  # as many as the kernel follows


def open_inside(root: int, path: str, flags: int) -> int:
    """Open what is there. Raises OSError."""
    return openat2(root, _relative(path), flags, resolve=_INSIDE)


def open_real(root: int, path: str) -> int:
    """Open what stands at this very path, with no link on the way to it (X05). Raises OSError."""
    return openat2(root, _relative(path), os.O_PATH, resolve=_INSIDE | RESOLVE_NO_SYMLINKS)


def directory_inside(root: int, path: str) -> int:
    """A directory below the root, made (0755) with its parents where it is missing. Raises OSError."""
    return _place(root, path, is_directory=True)


def file_inside(root: int, path: str) -> int:
    """A file below the root, made empty (0644) where it is missing. Raises OSError."""
    return _place(root, path, is_directory=False)


def _relative(path: str) -> bytes:
    return os.fsencode(path.strip("/") or ".")


def _place(root: int, path: str, *, is_directory: bool) -> int:
    try:
        found = open_inside(root, path, os.O_PATH)
    except FileNotFoundError:
        found = _walk(root, path, is_directory=is_directory)
    mode = os.fstat(found).st_mode
    if stat.S_ISDIR(mode) != is_directory or stat.S_ISLNK(mode):
        os.close(found)
        number = errno.ENOTDIR if is_directory else errno.EISDIR
        raise OSError(number, os.strerror(number), path)
    return found


def _walk(root: int, path: str, *, is_directory: bool) -> int:
    """Go one component after the other, make what is missing; links are read, and their text walked."""
    held = [os.dup(root)]
    todo = path.split("/")[::-1]
    links = 0
    try:
        while todo:
            name = todo.pop()
            if name in ("", "."):
                continue
            if name == "..":
                if len(held) > 1:
                    os.close(held.pop())
                continue
            target = _step(held, name, is_directory=is_directory or any(todo))
            if target is None:
                continue
            links += 1
            if links > _LINKS_MAX:
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
            while target.startswith("/") and len(held) > 1:
                os.close(held.pop())
            todo.extend(reversed(target.split("/")))
        return held.pop()
    finally:
        for fd in held:
            os.close(fd)


def _step(held: list[int], name: str, *, is_directory: bool) -> str | None:
    """Go to `name`, made where it is missing, or return the target of the link that stands there."""
    parent = held[-1]
    try:
        found = os.lstat(name, dir_fd=parent)
    except FileNotFoundError:
        if is_directory:
            os.mkdir(name, 0o755, dir_fd=parent)
        else:
            os.close(os.open(name, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644, dir_fd=parent))
    else:
        if stat.S_ISLNK(found.st_mode):
            return os.readlink(name, dir_fd=parent)
    held.append(os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent))
    return None
