"""A blob on its way: the file is the pipe between the download and whoever reads behind it.

Up to its watermark the file is complete. Written by one stream, its length is its watermark, in this
run and for the next one. Where several streams write at once, there are gaps; then a journal beside
the file has a line for everything that was written. What a killed process left is kept, and hashed
again from the start by whoever unpacks it.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from io import FileIO
from pathlib import Path

import aiofiles
import anyio
from aiofiles.threadpool.binary import AsyncFileIO
from anyio import to_thread

from aiodocker_lite.store.durable import store_errors

_FLUSH = 1.0
Extent = tuple[int, int]
"""The first byte, and the byte after the last."""


class Ingest:
    """One blob that is being written; `watermark` bytes of it can be read."""

    def __init__(self, path: Path, extents: list[Extent], size: int, batch: int) -> None:
        self.path = path
        self.batch = batch
        self._extents = extents
        self._size = size
        self._writers: list[Writer] = []
        self._journal: FileIO | None = None
        self._grown = anyio.Event()

    @property
    def watermark(self) -> int:
        """Up to here nothing is missing."""
        return self._extents[0][1] if self._extents and self._extents[0][0] == 0 else 0

    @property
    def received(self) -> int:
        """Bytes that are in the file, those behind a gap too."""
        return sum(end - start for start, end in self._extents)

    @property
    def gaps(self) -> list[Extent]:
        """What is missing, in order."""
        starts = [*(start for start, _ in self._extents), self._size]
        ends = [0, *(end for _, end in self._extents)]
        return [(end, start) for end, start in zip(ends, starts, strict=True) if end < start]

    @asynccontextmanager
    async def writing(self, offset: int) -> AsyncIterator[Writer]:
        """Write from an offset on; several at once may, in different gaps.

        What is pending is written also when the block is left by an error: it was received.
        Raises DiskFull, StoreUnwritable.
        """
        if offset > self.watermark or not self._is_whole:
            self._keep_journal()
        with anyio.CancelScope(shield=True), store_errors(self.path):
            file = await aiofiles.open(self.path, "r+b", buffering=0)
        try:
            with anyio.CancelScope(shield=True), store_errors(self.path):
                await file.seek(offset)
            writer = Writer(self, file, offset)
            self._writers.append(writer)
            try:
                yield writer
            finally:
                self._writers.remove(writer)
                await writer.flush()
        finally:
            with anyio.CancelScope(shield=True):
                await file.close()

    async def flush_now_and_then(self) -> None:
        """Never return: write also what fills no batch, for a link that is cut brings no end either."""
        while True:
            await anyio.sleep(_FLUSH)
            for writer in list(self._writers):
                await writer.flush()

    async def wait_beyond(self, have: int) -> int:
        """Wait until the watermark is above `have`; returns it."""
        while self.watermark <= have:
            await self._grown.wait()
        return self.watermark

    async def note(self, extent: Extent) -> None:
        """These bytes are in the file now."""
        if self._journal is not None:
            await to_thread.run_sync(self._journal.write, _line(extent))
        self._extents = _merged([*self._extents, extent])
        self._grown.set()
        self._grown = anyio.Event()

    def close(self) -> None:
        """Without gaps, the length of the file is enough again."""
        if self._journal is not None:
            self._journal.close()
            if self._is_whole:
                os.truncate(self.path, self.watermark)
                _journal_of(self.path).unlink()

    @property
    def _is_whole(self) -> bool:
        return self.received == self.watermark

    def _keep_journal(self) -> None:
        """From now on the length of the file says nothing."""
        if self._journal is None:
            with store_errors(self.path):
                # Not in a thread: nobody may write meanwhile without a line.
                self._journal = _journal_of(self.path).open("ab", buffering=0)
                self._journal.write(b"".join(map(_line, self._extents)))


class Writer:
    """Bytes of a blob, one after the other from an offset on; written to disk in batches."""

    def __init__(self, ingest: Ingest, file: AsyncFileIO, offset: int) -> None:
        self._ingest = ingest
        self._file = file
        self._position = offset
        self._pending: list[bytes] = []
        self._pending_size = 0
        self._turn = anyio.Lock()

    async def write(self, chunk: bytes) -> None:
        """Take the next bytes. Raises DiskFull, StoreUnwritable."""
        self._pending.append(chunk)
        self._pending_size += len(chunk)
        if self._pending_size >= self._ingest.batch:
            await self.flush()

    async def flush(self) -> None:
        """Write what is pending. Raises DiskFull, StoreUnwritable."""
        # A thread that writes cannot be called back: it must not go on when the file is somebody else's.
        with anyio.CancelScope(shield=True), store_errors(self._ingest.path):
            async with self._turn:
                await self._write_pending()

    async def _write_pending(self) -> None:
        content = memoryview(b"".join(self._pending))
        self._pending.clear()
        self._pending_size = 0
        while content:
            written = await self._file.write(content)
            content = content[written:]
            self._position += written
            await self._ingest.note((self._position - written, self._position))


@asynccontextmanager
async def ingesting(path: Path, size: int, batch: int) -> AsyncIterator[Ingest]:
    """Open the file of a blob that shall have `size` bytes, with what it has already."""
    with store_errors(path):
        path.touch()
        extents = _kept(path, size)
    ingest = Ingest(path, extents, size, batch)
    try:
        yield ingest
    finally:
        with store_errors(path):
            ingest.close()


def watermark_of(fd: int, path: Path, size: int) -> int:
    """How much of a blob is complete in its file, which another process may be writing, or have finished."""
    length = os.fstat(fd).st_size  # first: with a journal that begins after this it says too much
    try:
        noted = _parse(_journal_of(path).read_bytes())
    except FileNotFoundError:
        return min(length, size)
    extents = _merged((start, min(end, length)) for start, end in noted)
    return extents[0][1] if extents and extents[0][0] == 0 else 0


def discard(path: Path) -> None:
    """Remove what has come of a blob. Raises StoreUnwritable."""
    with store_errors(path):
        # The file first: one without its journal would look complete.
        path.unlink(missing_ok=True)
        _journal_of(path).unlink(missing_ok=True)


def _kept(path: Path, size: int) -> list[Extent]:
    """What a file has; bytes at its end that nobody noted are cut off."""
    length = path.stat().st_size
    extents = [(0, length)]
    with suppress(FileNotFoundError):
        noted = _parse(_journal_of(path).read_bytes())
        extents = _merged((start, min(end, length)) for start, end in noted)
    if length > size:
        extents = []  # it is something else, for instance of a registry that lied about a size
    os.truncate(path, extents[-1][1] if extents else 0)
    if not extents or extents[0] == (0, extents[-1][1]):
        _journal_of(path).unlink(missing_ok=True)
    return extents


def _merged(extents: Iterable[Extent]) -> list[Extent]:
    """The same bytes in as few extents as possible, in order; empty ones left out."""
    merged: list[Extent] = []
    for start, end in sorted(extents):
        if merged and start <= merged[-1][1]:
            merged[-1] = merged[-1][0], max(merged[-1][1], end)
        elif start < end:
            merged.append((start, end))
    return merged


def _journal_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.written")


def _line(extent: Extent) -> bytes:
    # A line that a full disk cut short must not run into the next one.
    return b"\n%d %d\n" % extent


def _parse(journal: bytes) -> list[Extent]:
    """The extents in a journal; of a line that was cut short nothing is believed."""
    extents = []
    for line in journal.split(b"\n")[:-1]:
        start, _, end = line.partition(b" ")
        if start.isdigit() and end.isdigit():
            extents.append((int(start), int(end)))
    return extents
