"""To be told that something in a directory has changed (inotify(7))."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import anyio

from aiodocker_lite import syscalls
from aiodocker_lite.store.durable import reading_errors

_EVENTS = syscalls.IN_MODIFY | syscalls.IN_MOVED_TO | syscalls.IN_DELETE


@contextmanager
def watching(directory: Path) -> Iterator[Callable[[], Awaitable[None]]]:
    """From here on changes count: each call waits for one, or for many at once. Raises StoreUnreadable."""
    with reading_errors(directory):
        fd = syscalls.inotify_init()
    try:
        with reading_errors(directory):
            syscalls.inotify_add_watch(fd, directory, _EVENTS)

        async def changed() -> None:
            await anyio.wait_readable(fd)
            os.read(fd, 1 << 16)

        yield changed
    finally:
        os.close(fd)
