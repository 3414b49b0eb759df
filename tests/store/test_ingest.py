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
from aiodocker_lite.store.ingest import Ingest, Writer, discard, ingesting
from tests.store.filling import descriptors, descriptors_before, python

DATA = bytes(range(256)) * 40
BATCH = 1000
WRITE_AND_DIE = """
import anyio, os, signal, sys
from pathlib import Path
from aiodocker_lite.store.ingest import ingesting

async def main():
    async with ingesting(Path(sys.argv[1]), 1 << 20, 1000) as ingest, ingest.writing(int(sys.argv[2])) as writer:
        data = bytes(range(256)) * 40
        for position in range(0, len(data), 300):
            await writer.write(data[position : position + 300])
            if ingest.received >= 4000:
                os.kill(os.getpid(), signal.SIGKILL)

anyio.run(main)
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where a blob is written to."""
    return tmp_path / "ingest"


async def write(writer: Writer, data: bytes = DATA, size: int = 300) -> None:
    """Hand it over as a network does."""
    for position in range(0, len(data), size):
        await writer.write(data[position : position + size])


async def test_the_watermark_is_what_is_in_the_file(path: Path) -> None:
    """It moves by batches, and by the rest when that is flushed."""
    marks = set()
    async with ingesting(path, len(DATA), BATCH) as ingest:
        async with ingest.writing(0) as writer:
            for position in range(0, len(DATA), 300):
                await writer.write(DATA[position : position + 300])
                assert path.stat().st_size == ingest.watermark == ingest.received
                marks.add(ingest.watermark)
            assert ingest.watermark < len(DATA)
        assert ingest.watermark == len(DATA)
    assert path.read_bytes() == DATA
    assert len(marks) == len(DATA) // 1200 + 1
    assert list(path.parent.iterdir()) == [path]


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
            assert DATA.startswith(seen)
        read[reader] = seen

    async with ingesting(path, len(DATA), BATCH) as ingest, anyio.create_task_group() as tasks:
        for reader in range(3):
            tasks.start_soon(follow, reader)
        for offset in (5000, 0, 2500, 7500):
            tasks.start_soon(_write_a_quarter, ingest, offset)
    assert read == dict.fromkeys(range(3), DATA)


async def _write_a_quarter(ingest: Ingest, offset: int) -> None:
    end = len(DATA) if offset == 7500 else offset + 2500
    async with ingest.writing(offset) as writer:
        await write(writer, DATA[offset:end])


async def test_the_watermark_moves_when_a_gap_closes(path: Path) -> None:
    """What lies behind it is counted, and cannot be read before."""
    async with ingesting(path, len(DATA), BATCH) as ingest:
        assert ingest.gaps == [(0, len(DATA))]
        for start, end, mark in [(4000, 6000, 0), (0, 2000, 2000), (8000, 9000, 2000), (2000, 4000, 6000)]:
            async with ingest.writing(start) as writer:
                await write(writer, DATA[start:end])
            assert ingest.watermark == mark
        assert ingest.received == 7000
        assert ingest.gaps == [(6000, 8000), (9000, len(DATA))]


async def test_what_lies_behind_a_gap_is_kept(path: Path) -> None:
    """The next process fetches the gaps and nothing else, and then no trace of them is left."""
    async with ingesting(path, len(DATA), BATCH) as ingest:
        for start, end in [(4000, 6000), (0, 2000)]:
            async with ingest.writing(start) as writer:
                await write(writer, DATA[start:end])
    for expected in ([(2000, 4000), (6000, len(DATA))], [(2500, 4000), (6000, len(DATA))]):
        async with ingesting(path, len(DATA), BATCH) as ingest:
            assert ingest.gaps == expected
            start = expected[0][0]
            async with ingest.writing(start) as writer:
                await write(writer, DATA[start : start + 500])
    async with ingesting(path, len(DATA), BATCH) as ingest:
        for start, end in ingest.gaps:
            async with ingest.writing(start) as writer:
                await write(writer, DATA[start:end])
    assert path.read_bytes() == DATA
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize(
    ("journal", "gaps"),
    [
        (b"\n0 2000\n\n4000 6000\n", [(2000, 4000), (6000, 10240)]),
        (b"\n4000 6000\n\n0 2000\n\n1000 4000\n", [(6000, 10240)]),
        (b"\n0 2000\n\n4000 60", [(2000, 10240)]),
        (b"\n0 20\n40\n4000 6000\n", [(20, 4000), (6000, 10240)]),
        (b"\n0 2000\n\n9000 99999\n", [(2000, 10240)]),
        (b"\n0 2000\n\n5000 99999\n", [(2000, 5000), (7000, 10240)]),
        (b"", [(0, 10240)]),
        (b"\0" * 40, [(0, 10240)]),
        (b"-1 5\n\nx y\n\n7 3\n", [(0, 10240)]),
    ],
)
async def test_a_journal_is_believed_where_it_can_be(
    path: Path, journal: bytes, gaps: list[tuple[int, int]]
) -> None:
    """Lines cut short, bytes that a power cut took, and a tail that nobody noted."""
    path.write_bytes(DATA[:7000])
    path.with_name("ingest.written").write_bytes(journal)
    async with ingesting(path, len(DATA), BATCH) as ingest:
        assert ingest.gaps == gaps
        for start, end in gaps:
            async with ingest.writing(start) as writer:
                await write(writer, DATA[start:end])
    assert path.read_bytes() == DATA
    assert list(path.parent.iterdir()) == [path]


async def test_what_is_discarded_leaves_nothing(path: Path) -> None:
    """Neither the file nor its journal; and a file without one is begun anew."""
    path.write_bytes(DATA[:7000])
    journal = path.with_name("ingest.written")
    journal.write_bytes(b"\n2000 7000\n")
    discard(path)
    discard(path)
    assert list(path.parent.iterdir()) == []
    journal.write_bytes(b"\n2000 7000\n")
    async with ingesting(path, len(DATA), BATCH) as ingest:
        assert ingest.gaps == [(0, len(DATA))]
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("start", [0, 1_000_000 // 2], ids=["from the start", "behind a gap"])
async def test_a_killed_process_leaves_its_batches(path: Path, start: int) -> None:
    """The next one starts where that ended, and nothing is written twice (S01, S09)."""
    process = python(WRITE_AND_DIE, path, str(start))
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    async with ingesting(path, 1 << 20, BATCH) as ingest:
        assert ingest.received >= 4000
        assert ingest.watermark == (0 if start else ingest.received)
        assert ingest.gaps[-1] == (start + ingest.received, 1 << 20)
        assert path.stat().st_size == start + ingest.received
        assert path.read_bytes()[start:] == DATA[: ingest.received]


async def test_a_file_longer_than_the_blob_is_begun_anew(path: Path) -> None:
    """It is something else, for instance of a registry that lied about a size."""
    path.write_bytes(b"x" * (len(DATA) + 1))
    async with ingesting(path, len(DATA), BATCH) as ingest:
        assert (ingest.watermark, path.stat().st_size) == (0, 0)


async def test_a_file_that_is_complete_is_kept(path: Path) -> None:
    """Everything was received, and then the process died."""
    path.write_bytes(DATA)
    async with ingesting(path, len(DATA), BATCH) as ingest:
        assert (ingest.watermark, ingest.gaps) == (len(DATA), [])
    assert path.read_bytes() == DATA


async def test_what_was_received_is_kept_after_an_error(path: Path) -> None:
    """Also what did not fill a batch yet."""

    async def receive() -> None:
        async with ingesting(path, len(DATA), BATCH) as ingest, ingest.writing(0) as writer:
            await writer.write(DATA[:700])
            raise ConnectionError("cut")

    with pytest.raises(ConnectionError):
        await receive()
    assert path.read_bytes() == DATA[:700]


async def test_cancelling_keeps_what_was_received(path: Path) -> None:
    """After 0, 1, 2, ... turns of the loop: a beginning of the blob, no open file, and nobody still writing."""
    before = descriptors_before()
    for turns in itertools.count():
        path.unlink(missing_ok=True)
        received = 0
        finished = False
        async with anyio.create_task_group() as tasks:

            async def receive() -> None:
                nonlocal received, finished
                async with ingesting(path, len(DATA), BATCH) as ingest, ingest.writing(0) as writer:
                    for position in range(0, len(DATA), 400):
                        received = position + 400
                        await writer.write(DATA[position:received])
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
        async with ingesting(path, len(data), 1 << 16) as ingest, ingest.writing(0) as writer:
            await write(writer, data, 1 << 14)
    assert ingest.watermark == path.stat().st_size
    assert 0 < ingest.watermark < len(data)
    assert data.startswith(path.read_bytes())


async def test_a_directory_in_its_place_is_one_sentence(path: Path) -> None:
    """It names the path."""
    path.mkdir()
    with pytest.raises(StoreUnwritable, match=f"{path}: Is a directory"):
        async with ingesting(path, 1, 1):
            pass
