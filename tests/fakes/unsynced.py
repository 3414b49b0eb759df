"""The command line with one kind of sync left out: what whoever judges power cuts must be able to see.

python -m tests.fakes.unsynced KIND ARGUMENT...
"""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Callable

from aiodocker_lite import syscalls


def _only_directories(fd: int) -> None:
    if stat.S_ISDIR(os.fstat(fd).st_mode):
        _FSYNC(fd)


def _only_files(fd: int) -> None:
    if not stat.S_ISDIR(os.fstat(fd).st_mode):
        _FSYNC(fd)


def _nothing(fd: int) -> None:
    """Sync nothing."""


_FSYNC, _SYNCFS = os.fsync, syscalls.syncfs
KINDS: dict[str, tuple[Callable[[int], None], Callable[[int], None]]] = {
    "all": (_nothing, _nothing),
    "content": (_FSYNC, _nothing),
    "files": (_only_directories, _SYNCFS),
    "names": (_only_files, _SYNCFS),
}
"""What is left out: everything, the sync of layers and blobs, that of small files, that of directories."""


def main() -> None:
    fsync, syncfs = KINDS[sys.argv.pop(1)]
    vars(os)["fsync"], vars(syscalls)["syncfs"] = fsync, syncfs
    from aiodocker_lite.cli.app import main

    main()


if __name__ == "__main__":
    main()
