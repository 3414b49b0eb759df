"""An unpacked layer against its own tar: the blob is the record of every file.

The layer is unpacked once more, but for the content of its files, which is compared with that of
the files that are here while it passes by. What comes of it is an outline: the same tree, with empty
files of the right sizes. Then the two trees are compared (`compare.py`). So a file is checked against
bytes whose digest the manifest names, and not against notes that lie beside it on the same disk.

A file that gets a second name before the layer replaces it under its first one is compared with what
replaces it: so of layers that replace something of their own, an outline is not sure.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable

from aiodocker_lite.layer.beneath import Beneath, Components
from aiodocker_lite.layer.compare import CONTENT, same_content

_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC


class Outline:
    """What is known of the content of an outline's files; the files themselves have none."""

    def __init__(self, actual: int) -> None:
        """`actual` is the open directory of the tree that is here."""
        self.is_sure = True
        """Nothing that was compared has been replaced."""
        self._beneath = Beneath(actual)
        self._wrong: dict[int, str] = {}
        self._whole: set[int] = set()

    def compare(self, fd: int, path: Components, size: int, pieces: Iterable[memoryview]) -> None:
        """Have a new file of the outline without the content that it would have, all of which is read."""
        os.ftruncate(fd, size)
        inode = os.fstat(fd).st_ino
        # A file that this layer has replaced may have had the same number.
        self._wrong.pop(inode, None)
        self._whole.discard(inode)
        wrong = self._compare(path, iter(pieces))
        for _ in pieces:
            pass
        if wrong is not None:
            self._wrong[inode] = wrong

    def add_whole(self, fd: int) -> None:
        """A file of the outline has its content: a sparse one, of which little is stored."""
        inode = os.fstat(fd).st_ino
        self._wrong.pop(inode, None)
        self._whole.add(inode)

    def judge(self, inode: int, name: bytes, model: int, actual: int) -> str | None:
        """What is wrong with the content of a file that is `name` in both directories."""
        if inode in self._whole:
            return same_content(inode, name, model, actual)
        return self._wrong.get(inode)

    def close(self) -> None:
        """Close what is open of the tree that is here."""
        self._beneath.close()

    def _compare(self, path: Components, pieces: Iterable[memoryview]) -> str | None:
        try:
            there = self._open(path)
        except PermissionError:
            return None  # nobody but root can read it, and so it was when it was unpacked
        except OSError:
            there = None
        if there is None:
            return CONTENT
        try:
            for piece in pieces:
                # Bytes, for a memoryview is compared one element at a time.
                if os.read(there, len(piece)) != bytes(piece):
                    return CONTENT
        except OSError as error:
            return f"it cannot be read ({os.strerror(error.errno or 0)})"
        finally:
            os.close(there)
        return None

    def _open(self, path: Components) -> int | None:
        directory = self._beneath.existing_directory(path[:-1])
        # Opening a pipe or a device would do something.
        if directory is None or not stat.S_ISREG(os.lstat(path[-1], dir_fd=directory).st_mode):
            return None
        return os.open(path[-1], _READ, dir_fd=directory)
