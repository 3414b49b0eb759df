"""A blob on its way: appended to, continued, and never more in the file than was received."""

from __future__ import annotations

import itertools
import os
import signal
from pathlib import Path

import anyio
import pytest
from anyio.lowlevel import checkpoint

from aiodocker_lite.errors import DiskFull, StoreUnwritable
from aiodocker_lite.store.ingest import Ingest, ingesting
from tests.store.filling import descriptors, python

DATA = bytes(range(256)) * 40
BATCH = 1000
WRITE_AND_DIE = """
import anyio, os, signal, sys
from pathlib import Path
from aiodocker_lite.store.ingest import ingesting

async def main():
    async with ingesting(Path(sys.argv[1]), 1 << 20, 1000) as ingest:
        data = bytes(range(256)) * 40
        for position in range(0, len(data), 300):
            await ingest.write(data[position : position + 300])
            if ingest.watermark >= 4000:
                os.kill(os.getpid(), signal.SIGKILL)

anyio.run(main)
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where a blob is written to."""
    return tmp_path / "ingest"


async def write(ingest: Ingest, data: bytes = DATA, size: int = 300) -> None:
    """Hand it over as a network does."""
    for position in range(0, len(data), size):
        await ingest.write(data[position : position + size])


async def test_the_watermark_is_what_is_in_the_file(path: Path) -> None:
    """It moves by batches, and by the rest when that is flushed."""
    marks = set()
    async with ingesting(path, len(DATA), BATCH) as ingest:
        for position in range(0, len(DATA), 300):
            await ingest.write(DATA[position : position + 300])
            assert path.stat().st_size == ingest.watermark
            marks.add(ingest.watermark)
        assert ingest.watermark < len(DATA)
        await ingest.flush()
        assert ingest.watermark == len(DATA)
    assert path.read_bytes() == DATA
    assert len(marks) == len(DATA) // 1200 + 1


async def test_readers_follow_the_watermark(path: Path) -> None:
    """Several at once, each from where it is; none waits for what is there, none misses the end."""
    read: dict[int, bytes] = {}

    async def follow(reader: int) -> None:
        seen = b""
        while len(seen) < len(DATA):
            mark = await ingest.wait_beyond(len(seen))
            with path.open("rb") as file:
                seen = file.read(mark)
            assert len(seen) == mark
        read[reader] = seen

    async with ingesting(path, len(DATA), BATCH) as ingest, anyio.create_task_group() as tasks:
        for reader in range(3):
            tasks.start_soon(follow, reader)
        await write(ingest)
        await ingest.flush()
    assert read == dict.fromkeys(range(3), DATA)


async def test_a_killed_process_leaves_its_batches(path: Path) -> None:
    """The next one starts where the file ends, and nothing is written twice (S01, S09)."""
    process = python(WRITE_AND_DIE, path)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    have = path.stat().st_size
    assert have >= 4000
    async with ingesting(path, len(DATA), BATCH) as ingest:
        assert ingest.watermark == have
        assert await ingest.wait_beyond(0) == have
        await write(ingest, DATA[have:])
    assert path.read_bytes() == DATA


async def test_a_file_longer_than_the_blob_is_begun_anew(path: Path) -> None:
    """It is something else, for instance of a registry that lied about a size."""
    path.write_bytes(b"x" * (len(DATA) + 1))
    async with ingesting(path, len(DATA), BATCH) as ingest:
        assert (ingest.watermark, path.stat().st_size) == (0, 0)
        await write(ingest)
    assert path.read_bytes() == DATA


async def test_a_file_that_is_complete_is_kept(path: Path) -> None:
    """Everything was received, and then the process died."""
    path.write_bytes(DATA)
    async with ingesting(path, len(DATA), BATCH) as ingest:
        assert ingest.watermark == len(DATA)
    assert path.read_bytes() == DATA


async def test_what_was_received_is_kept_after_an_error(path: Path) -> None:
    """Also what did not fill a batch yet."""

    async def receive() -> None:
        async with ingesting(path, len(DATA), BATCH) as ingest:
            await ingest.write(DATA[:700])
            raise ConnectionError("cut")

    with pytest.raises(ConnectionError):
        await receive()
    assert path.read_bytes() == DATA[:700]


async def test_starting_over_forgets_what_is_pending_too(path: Path) -> None:
    """Nothing of the old content comes after the new."""
    async with ingesting(path, len(DATA), BATCH) as ingest:
        await write(ingest, b"y" * 1300)
        await ingest.start_over()
        await write(ingest)
    assert path.read_bytes() == DATA


async def test_cancelling_keeps_what_was_received(path: Path) -> None:
    """After 0, 1, 2, ... turns of the loop: a beginning of the blob, no open file, and nobody still writing."""
    for turns in itertools.count():
        path.unlink(missing_ok=True)
        before = descriptors()
        received = 0
        finished = False
        async with anyio.create_task_group() as tasks:

            async def receive() -> None:
                nonlocal received, finished
                async with ingesting(path, len(DATA), BATCH) as ingest:
                    for position in range(0, len(DATA), 400):
                        received = position + 400
                        await ingest.write(DATA[position:received])
                    finished = True
                tasks.cancel_scope.cancel()

            tasks.start_soon(receive)
            for _ in range(turns):
                await checkpoint()
            tasks.cancel_scope.cancel()
        assert descriptors() == before
        kept = path.read_bytes() if path.exists() else b""
        assert kept == DATA[:received]
        if finished:
            break


async def test_a_full_disk_keeps_what_fits(small_disk: Path) -> None:
    """The watermark is the truth, and with space the download goes on there (S05)."""
    path = small_disk / "ingest"
    data = os.urandom(3 << 19)
    with pytest.raises(DiskFull, match="no space left while writing"):
        async with ingesting(path, len(data), 1 << 16) as ingest:
            await write(ingest, data, 1 << 14)
    assert ingest.watermark == path.stat().st_size
    assert 0 < ingest.watermark < len(data)
    assert data.startswith(path.read_bytes())


async def test_a_directory_in_its_place_is_one_sentence(path: Path) -> None:
    """It names the path."""
    path.mkdir()
    with pytest.raises(StoreUnwritable, match=f"{path}: Is a directory"):
        async with ingesting(path, 1, 1):
            pass
