"""Reading behind whoever brings a blob: with gaps, given up, begun anew, and by many."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import pytest

from aiodocker_lite.digest import Digest
from aiodocker_lite.store import Store
from aiodocker_lite.store.behind import Parts, following
from aiodocker_lite.store.ingest import discard, ingesting

DATA = bytes(range(256)) * 40
BLOB, DIFF_ID = Digest.of(DATA), Digest.of(b"unpacked")
LATE = 5.0
"""Seconds after which a test does not wait any longer."""


@pytest.fixture
async def parts(store: Store) -> AsyncIterator[Parts]:
    """What is on its way in this store."""
    with anyio.fail_after(LATE):
        async with following(store.paths) as parts:
            yield parts


async def test_it_grows_as_its_file_does(store: Store, parts: Parts) -> None:
    """Everybody waits for what is beyond, and is woken; and the size is known from the beginning."""
    path = store.paths.ingest(BLOB)
    async with store.bringing(BLOB, DIFF_ID, pytest.fail, len(DATA)):
        assert await parts.find(BLOB) is None  # nothing has come
        async with ingesting(path, len(DATA), 1) as ingest, ingest.writing(0) as writer:
            part = await parts.find(BLOB)
            assert part is not None
            assert part.size == len(DATA)
            await writer.write(DATA[:1000])
            assert await part.beyond(0) == 1000
            seen = []

            async def wait(have: int) -> None:
                seen.append(await part.beyond(have))

            async with anyio.create_task_group() as tasks:
                for _ in range(3):
                    tasks.start_soon(wait, 1000)
                await anyio.lowlevel.checkpoint()
                await writer.write(DATA[1000:])
            assert seen == [len(DATA)] * 3


async def test_what_is_behind_a_gap_is_not_there(store: Store, parts: Parts) -> None:
    """The journal says so, whatever the length of the file; when the gap closes all of it is there."""
    path = store.paths.ingest(BLOB)
    async with (
        store.bringing(BLOB, DIFF_ID, pytest.fail, len(DATA)),
        ingesting(path, len(DATA), 1) as ingest,
        ingest.writing(0) as first,
        ingest.writing(5000) as second,
    ):
        await first.write(DATA[:100])
        await second.write(DATA[5000:6000])
        part = await parts.find(BLOB)
        assert part is not None
        assert path.stat().st_size == 6000
        assert await part.beyond(0) == 100
        await first.write(DATA[100:5000])
        assert await part.beyond(100) in (5000, 6000)  # in one step or in two
        assert await part.beyond(5000) == 6000
        fd = part.opened()
        assert os.pread(fd, 9000, 0) == DATA[:6000]
        os.close(fd)


async def test_who_gives_up_ends_it(store: Store, parts: Parts) -> None:
    """Whoever waits is told, and nobody is served any more; what came stays for the next pull."""
    path = store.paths.ingest(BLOB)
    async with store.bringing(BLOB, DIFF_ID, pytest.fail, len(DATA)):
        path.write_bytes(DATA[:1000])
        part = await parts.find(BLOB)
        assert part is not None
    assert await part.beyond(1000) == 1000
    assert await part.beyond(0) == 1000
    assert await parts.find(BLOB) is None
    assert path.exists()


async def test_what_is_thrown_away_is_over(store: Store, parts: Parts) -> None:
    """Its bytes were wrong: who reads them is cut, and whoever asks now gets the new ones."""
    path = store.paths.ingest(BLOB)
    async with store.bringing(BLOB, DIFF_ID, pytest.fail, len(DATA)):
        path.write_bytes(b"wrong" * 10)
        old = await parts.find(BLOB)
        assert old is not None
        discard(path)
        assert await old.beyond(50) == 50
        path.write_bytes(DATA[:200])
        new = await parts.find(BLOB)
        assert new is not None
        assert new is not old
        assert await new.beyond(50) == 200


async def test_what_is_sealed_is_read_to_its_end(store: Store, parts: Parts, tmp_path: Path) -> None:
    """Under another name, or none."""
    path = store.paths.ingest(BLOB)
    async with store.bringing(BLOB, DIFF_ID, pytest.fail, len(DATA)):
        path.write_bytes(DATA)
        part = await parts.find(BLOB)
        assert part is not None
        fd = part.opened()
        path.rename(tmp_path / "blob")
    assert await part.beyond(0) == len(DATA)
    assert os.pread(fd, len(DATA), 0) == DATA
    os.close(fd)


async def test_nobody_brings_it(store: Store, parts: Parts) -> None:
    """What a killed pull left is not served: it would not grow."""
    store.paths.ingest(BLOB).write_bytes(DATA)
    store.paths.lock(f"blob-{BLOB}").write_text(str(len(DATA)))
    assert await parts.find(BLOB) is None
