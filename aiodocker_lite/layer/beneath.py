"""Open, make and remove below one directory, and nowhere else.

Every path that an image names is resolved here: by openat2(2) with RESOLVE_IN_ROOT where the
kernel has it (Linux 5.6), else by a walk that never lets the kernel follow a link. Checking
text is not enough: what a path means depends on the links that the same archive made before
(CVE-2026-17106 and many older ones).
"""

from __future__ import annotations

import errno
import os
from collections import OrderedDict
from collections.abc import Sequence

from aiodocker_lite import syscalls
from aiodocker_lite.removal import remove_directory

_PATH_ONLY = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
_LINKS_MAX = 40  # as many as the kernel follows
_CACHED = 64

Components = tuple[bytes, ...]


class Beneath:
    """A root directory, held open, and the directories below it that were used last.

    Descriptors that are handed out stay owned by this object; they are valid until `forget`, or
    until as many others as are kept were asked for.
    """

    def __init__(self, root: int, *, has_openat2: bool = True) -> None:
        self.root = root
        self.made: dict[int, bytes] = {}
        """The directories that were made because they were missing: inode numbers, and paths without links."""
        self._has_openat2 = has_openat2
        self._open: OrderedDict[Components, int] = OrderedDict()

    def directory(self, path: Components) -> int:
        """A descriptor (O_PATH) of this directory; what is missing of it is made (0755).

        Raises OSError: ENOTDIR where a part is no directory, ELOOP where links go in circles.
        """
        if not path:
            return self.root
        found = self._open.get(path)
        if found is not None:
            self._open.move_to_end(path)
            return found
        try:
            opened = self._resolve(path)
        except FileNotFoundError:
            opened = self._walk(path, make=True)
        self._open[path] = opened
        if len(self._open) > _CACHED:
            os.close(self._open.popitem(last=False)[1])
        return opened

    def existing_directory(self, path: Components) -> int | None:
        """Like `directory`, but what is missing, or is something else, gives None."""
        if path in self._open or not path:
            return self.directory(path)
        try:
            self._open[path] = self._resolve(path)
        except (FileNotFoundError, NotADirectoryError):
            return None
        return self.directory(path)

    def forget(self) -> None:
        """Something that may have been a directory, or a link to one, is not there any more."""
        while self._open:
            os.close(self._open.popitem()[1])

    close = forget

    def _resolve(self, path: Components) -> int:
        if self._has_openat2:
            try:
                return syscalls.openat2(
                    self.root, b"/".join(path), _PATH_ONLY, resolve=syscalls.RESOLVE_IN_ROOT
                )
            except OSError as error:
                if error.errno not in (errno.ENOSYS, errno.EAGAIN):
                    raise
                # EAGAIN: somebody renamed something, anywhere, while the kernel went up a "..".
                self._has_openat2 = error.errno == errno.EAGAIN
        return self._walk(path, make=False)

    def _walk(self, path: Sequence[bytes], *, make: bool) -> int:
        """Resolve component by component, as if the root were `/`."""
        held = [os.dup(self.root)]
        names: list[bytes] = []
        todo = list(reversed(path))
        links = 0
        try:
            while todo:
                name = todo.pop()
                if name in (b"", b"."):
                    continue
                if name == b"..":
                    if names:
                        os.close(held.pop())
                        names.pop()
                    continue
                made, target = self._step(held, name, make=make)
                if target is None:
                    names.append(name)
                    if made:
                        self.made[os.fstat(held[-1]).st_ino] = b"/".join(names)
                    continue
                links += 1
                if links > _LINKS_MAX:
                    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
                if target.startswith(b"/"):
                    while names:
                        os.close(held.pop())
                        names.pop()
                todo.extend(reversed(target.split(b"/")))
            return held.pop()
        finally:
            for fd in held:
                os.close(fd)

    def _step(self, held: list[int], name: bytes, *, make: bool) -> tuple[bool, bytes | None]:
        """Go one directory down, or return the target of the link that stands there; was it made?"""
        made = False
        while True:
            try:
                held.append(os.open(name, _PATH_ONLY | os.O_NOFOLLOW, dir_fd=held[-1]))
                return made, None
            except FileNotFoundError:
                if not make:
                    raise
                os.mkdir(name, 0o755, dir_fd=held[-1])
                made = True
            except OSError as error:
                if error.errno not in (errno.ENOTDIR, errno.ELOOP):
                    raise
                try:
                    return made, os.readlink(name, dir_fd=held[-1])
                except OSError:
                    raise error from None


def remove_tree(name: bytes, parent: int) -> None:
    """Remove whatever `name` is in the directory `parent`; links in it are removed, not followed."""
    try:
        os.unlink(name, dir_fd=parent)
    except IsADirectoryError:
        remove_directory(os.fsdecode(name), parent)
