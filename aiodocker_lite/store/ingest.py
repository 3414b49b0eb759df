"""A blob on its way: the file is the pipe between the download and whoever reads behind it.

The length of the file is its watermark, in this run and for the next one: it is only appended
to. What a killed process left is kept, and hashed again from the start by whoever unpacks it.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiofiles
import anyio
from aiofiles.threadpool.binary import AsyncFileIO

from aiodocker_lite.store.durable import store_errors


class Ingest:
    """One blob that is being written; `watermark` bytes of it can be read."""

    def __init__(self, path: Path, file: AsyncFileIO, have: int, batch: int) -> None:
        self.path = path
        self.watermark = have
        self._file = file
        self._batch = batch
        self._pending: list[bytes] = []
        self._pending_size = 0
        self._grown = anyio.Event()

    async def write(self, chunk: bytes) -> None:
        """Append; written to disk in batches. Raises DiskFull, StoreUnwritable."""
        self._pending.append(chunk)
        self._pending_size += len(chunk)
        if self._pending_size >= self._batch:
            await self.flush()

    async def flush(self) -> None:
        """Write what is pending, and move the watermark. Raises DiskFull, StoreUnwritable."""
        content = memoryview(b"".join(self._pending))
        self._pending.clear()
        self._pending_size = 0
        # A thread that writes cannot be called back: it must not go on when the file is somebody else's.
        with anyio.CancelScope(shield=True), store_errors(self.path):
            while content:
                written = await self._file.write(content)
                content = content[written:]
                self.watermark += written
                self._grown.set()
                self._grown = anyio.Event()

    async def wait_beyond(self, have: int) -> int:
        """Wait until the watermark is above `have`; returns it."""
        while self.watermark <= have:
            await self._grown.wait()
        return self.watermark

    async def start_over(self) -> None:
        """Throw everything away: it turned out to be something else."""
        self._pending.clear()
        self._pending_size = 0
        with anyio.CancelScope(shield=True), store_errors(self.path):
            await self._file.truncate(0)
        self.watermark = 0


@asynccontextmanager
async def ingesting(path: Path, size: int, batch: int) -> AsyncIterator[Ingest]:
    """Open the file of a blob that shall have `size` bytes, at the place where it ends.

    What is pending is written also when the block is left by an error: it was received.
    """
    with anyio.CancelScope(shield=True), store_errors(path):
        file = await aiofiles.open(path, "ab", buffering=0)
    try:
        with store_errors(path):
            have = os.fstat(file.fileno()).st_size
        ingest = Ingest(path, file, have, batch)
        if have > size:
            await ingest.start_over()
        try:
            yield ingest
        finally:
            with anyio.CancelScope(shield=True):
                await ingest.flush()
    finally:
        with anyio.CancelScope(shield=True):
            await file.close()
