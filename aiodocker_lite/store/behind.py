"""To read a blob behind whoever is bringing it, in this process or in another one.

The lock of the blob says that somebody is, and has its size in it. While it is held, what is in the ingest
file up to its watermark is good to read; what nobody is bringing is nobody's to read.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import anyio
from anyio import to_thread
from anyio.abc import TaskGroup, TaskStatus

from aiodocker_lite.digest import Digest
from aiodocker_lite.errors import StoreError
from aiodocker_lite.store.durable import store_errors
from aiodocker_lite.store.ingest import watermark_of
from aiodocker_lite.store.locks import is_held, wait_until_free
from aiodocker_lite.store.paths import Paths
from aiodocker_lite.store.watch import watching


class Part:
    """A blob on its way: `size` bytes when it is whole."""

    def __init__(self, path: Path, fd: int, size: int) -> None:
        self.size = size
        self._path = path
        self._fd = fd
        self._watermark = 0
        self._is_over = False
        self._grown = anyio.Event()
        self.look()

    def opened(self) -> int:
        """A descriptor of one's own, to be closed; it stays good when the file gets another name, or none."""
        return os.dup(self._fd)

    async def beyond(self, have: int) -> int:
        """Wait until there are more than `have` bytes; returns how many, and `have` if there will be no more."""
        while self._watermark <= have and not self._is_over:
            await self._grown.wait()
        return max(have, self._watermark)

    def look(self) -> bool:
        """See how far it has come; False where it comes no further. Raises StoreUnwritable."""
        if not self._is_over:
            with store_errors(self._path):
                grown = watermark_of(self._fd, self._path, self.size)
                is_gone = not os.fstat(self._fd).st_nlink
            if grown > self._watermark:
                self._watermark = grown
                self._tell()
            if is_gone:
                self.end()
        return not self._is_over

    def end(self) -> None:
        """No more will come, or all is here."""
        if not self._is_over:
            self._is_over = True
            self._tell()

    def close(self) -> None:
        self.end()
        os.close(self._fd)
        self._fd = -1

    def _tell(self) -> None:
        self._grown.set()
        self._grown = anyio.Event()


class Parts:
    """What is on its way, each blob followed once for all who read it."""

    def __init__(self, paths: Paths, tasks: TaskGroup) -> None:
        self._paths = paths
        self._tasks = tasks
        self._parts: dict[Digest, Part] = {}
        self._is_watching = False

    async def find(self, digest: Digest) -> Part | None:
        """A blob that somebody is bringing; None if nobody is. Raises StoreError."""
        if digest not in self._parts:
            part = await to_thread.run_sync(self._open, digest)
            if part is None:
                return None
            if digest in self._parts:
                part.close()
            else:
                self._parts[digest] = part
                if not self._is_watching:
                    self._is_watching = True
                    await self._tasks.start(self._watch)
                self._tasks.start_soon(self._follow, digest, part)
                part.look()
        return self._parts.get(digest)

    def _open(self, digest: Digest) -> Part | None:
        lock, path = self._lock(digest), self._paths.ingest(digest)
        if not is_held(lock):
            return None
        with suppress(FileNotFoundError, ValueError):
            size = int(lock.read_bytes())
            return Part(path, os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), size)
        return None

    async def _watch(self, *, task_status: TaskStatus[None]) -> None:
        with watching(self._paths.ingests) as changed:
            task_status.started()
            while True:
                await changed()
                for digest, part in list(self._parts.items()):
                    if not part.look():
                        self._forget(digest, part)

    async def _follow(self, digest: Digest, part: Part) -> None:
        """Until whoever brings it lets it go."""
        try:
            # Where that cannot be waited for, who reads is cut, and asks again.
            with suppress(StoreError):
                await wait_until_free(self._lock(digest))
                part.look()
        finally:
            self._forget(digest, part)
            part.close()

    def _forget(self, digest: Digest, part: Part) -> None:
        """The next one who asks finds what is there then."""
        if self._parts.get(digest) is part:
            del self._parts[digest]

    def _lock(self, digest: Digest) -> Path:
        return self._paths.lock(f"blob-{digest}")


@asynccontextmanager
async def following(paths: Paths) -> AsyncIterator[Parts]:
    """While the block runs, blobs can be read behind those who bring them."""
    async with anyio.create_task_group() as tasks:
        yield Parts(paths, tasks)
        tasks.cancel_scope.cancel()
