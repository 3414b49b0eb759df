"""Sealing: many at once with one sync, each whole or absent, whoever is cancelled and whatever fails."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio import to_thread
from anyio.lowlevel import checkpoint

from aiodocker_lite.digest import Digest
from aiodocker_lite.errors import StoreUnwritable
from aiodocker_lite.store import Store
from aiodocker_lite.store.layers import LayerRecord
from tests.store.filling import stage, traced

MANY = """
import anyio, sys
from pathlib import Path
from aiodocker_lite.errors import StoreError
from aiodocker_lite.store import Store
from tests.store.filling import stage

async def seal(store, record):
    try:
        await store.sealer.seal(None, record)
    except StoreError as error:
        print(error)

async def main():
    store = Store(Path(sys.argv[1])).create()
    records = [stage(store, b"%d" % number) for number in range(10)]
    async with anyio.create_task_group() as tasks:
        for record in records:
            tasks.start_soon(seal, store, record)

anyio.run(main)
"""
AHEAD = """
import anyio, sys
from pathlib import Path
from aiodocker_lite.errors import StoreError
from aiodocker_lite.store import Store

async def main():
    try:
        with anyio.move_on_after(1):
            await Store(Path(sys.argv[1])).create().sealer.sync_ahead()
    except StoreError as error:
        print(error)

anyio.run(main)
"""
CONTENTS = [b"a", b"b", b"c"]


def is_whole(store: Store, content: bytes) -> bool:
    """It is here with its file; raises if it is here by halves."""
    digest = Digest.of(content)
    if store.layers.find(digest) is None:
        assert not store.paths.layer(digest).exists()
        return False
    assert (store.layers.files(digest) / "file").read_bytes() == content
    return True


def held_up(store: Store) -> tuple[LayerRecord, Callable[[], Coroutine[Any, Any, None]]]:
    """A layer whose sealing does not go on until somebody lets it: its record goes into a FIFO."""
    record = stage(store, b"held up")
    fifo = store.paths.staging(record.diff_id) / "layer.json"
    os.mkfifo(fifo)

    async def let_go() -> None:
        await to_thread.run_sync(fifo.read_bytes)

    return record, let_go


async def seal_or_unstage(store: Store, content: bytes, finished: list[bytes]) -> None:
    """As a pull does it."""
    record = stage(store, content)
    try:
        await store.sealer.seal(None, record)
    except BaseException:
        store.layers.unstage(record.diff_id)
        raise
    finished.append(content)


async def test_blob_and_layer_become_visible(store: Store) -> None:
    """Not before, and then nothing is left where they came from."""
    record = stage(store)
    store.paths.ingest(record.blob).write_bytes(b"hello")
    assert not store.blobs.has(record.blob, 5)
    assert not is_whole(store, b"hello")
    await store.sealer.seal(record.blob, record)
    assert store.blobs.read(record.blob) == b"hello"
    assert is_whole(store, b"hello")
    assert list(store.paths.ingests.iterdir()) == []


async def test_one_of_both_can_be_sealed(store: Store) -> None:
    """The other is here already."""
    record = stage(store)
    await store.sealer.seal(None, record)
    store.paths.ingest(record.blob).write_bytes(b"hello")
    await store.sealer.seal(record.blob, None)
    assert store.blobs.has(record.blob, 5)


def test_many_layers_cost_few_syncs(tmp_path: Path) -> None:
    """All that are ready are served by one: the first is alone, the others are together."""
    log = tmp_path / "log"
    assert traced(MANY, tmp_path / "store", log=log) == ""
    assert 1 <= log.read_text().count("syncfs(") <= 3
    assert sum(is_whole(Store(tmp_path / "store"), b"%d" % number) for number in range(10)) == 10


def test_what_was_written_is_synced_before_anybody_seals(tmp_path: Path) -> None:
    """So that little is left to write when the last layer is there."""
    log = tmp_path / "log"
    assert traced(AHEAD, tmp_path / "store", log=log) == ""
    assert "syncfs(" in log.read_text()


def test_an_error_that_a_sync_ahead_hears_is_not_kept(tmp_path: Path) -> None:
    """The kernel tells it once, and the sync before the seal would not hear of it (S05)."""
    assert "Input/output error" in traced(AHEAD, tmp_path, fault="syncfs:error=EIO")


def test_a_failed_sync_publishes_nothing(tmp_path: Path) -> None:
    """Each of them has the error, and none is visible; the next try brings them all (S05)."""
    out = traced(MANY, tmp_path, fault="syncfs:error=EIO")
    assert out.count("Input/output error") == 10
    assert not any(is_whole(Store(tmp_path), b"%d" % number) for number in range(10))
    assert traced(MANY, tmp_path) == ""


async def test_what_fails_does_not_take_others_along(store: Store) -> None:
    """Of those sealed together one is broken: it has the error, and no other believes to be sealed that is not."""
    outcomes: dict[bytes, str] = {}
    blocker, let_go = held_up(store)

    async def seal(content: bytes) -> None:
        try:
            await store.sealer.seal(None, stage(store, content))
            outcomes[content] = "sealed"
        except StoreUnwritable as error:
            outcomes[content] = error.reason

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(store.sealer.seal, None, blocker)
        for content in CONTENTS:
            tasks.start_soon(seal, content)
        await anyio.wait_all_tasks_blocked()
        shutil.rmtree(store.paths.staging(Digest.of(b"b")))
        await let_go()
    assert outcomes == {b"a": "sealed", b"b": "No such file or directory", b"c": "sealed"}
    assert [is_whole(store, content) for content in CONTENTS] == [True, False, True]


async def test_who_is_cancelled_waits_until_his_files_are_published(store: Store) -> None:
    """He throws them away next, and a layer must not be removed while it becomes visible."""
    blocker, let_go = held_up(store)
    let_it_be = anyio.Event()
    async with anyio.create_task_group() as outer:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(store.sealer.seal, None, blocker)
            await anyio.wait_all_tasks_blocked()
            tasks.cancel_scope.cancel()

            async def see_that_it_waits() -> None:
                for _ in range(20):
                    await checkpoint()
                assert store.paths.staging(blocker.diff_id).exists()
                let_it_be.set()
                await let_go()

            outer.start_soon(see_that_it_waits)
        assert let_it_be.is_set()
        assert store.paths.layer(blocker.diff_id).exists()


async def test_cancelling_who_seals_for_others_leaves_them_sealed(store: Store) -> None:
    """The batch goes on without him."""
    blocker, let_go = held_up(store)
    async with anyio.create_task_group() as tasks, anyio.create_task_group() as cancelled:
        cancelled.start_soon(store.sealer.seal, None, blocker)
        await anyio.wait_all_tasks_blocked()
        for content in CONTENTS:
            tasks.start_soon(store.sealer.seal, None, stage(store, content))
        await anyio.wait_all_tasks_blocked()
        cancelled.cancel_scope.cancel()
        tasks.start_soon(let_go)
    assert [is_whole(store, content) for content in CONTENTS] == [True, True, True]


async def test_cancelling_before_its_turn_seals_nothing(store: Store) -> None:
    """Whoever gave up while waiting is not part of the next batch."""
    blocker, let_go = held_up(store)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(store.sealer.seal, None, blocker)
        await anyio.wait_all_tasks_blocked()
        with anyio.CancelScope() as scope:
            scope.cancel()
            await store.sealer.seal(None, stage(store, b"a"))
        tasks.start_soon(store.sealer.seal, None, stage(store, b"b"))
        tasks.start_soon(let_go)
    assert [is_whole(store, content) for content in (b"a", b"b")] == [False, True]


async def test_cancelled_seals_leave_whole_layers_or_none(tmp_path: Path) -> None:
    """All are cancelled after more and more turns of the loop, and throw away what they staged."""
    turns = 0
    while True:
        store = Store(tmp_path / str(turns)).create()
        finished: list[bytes] = []
        async with anyio.create_task_group() as tasks:
            for content in CONTENTS:
                tasks.start_soon(seal_or_unstage, store, content, finished)
            for _ in range(turns):
                await checkpoint()
            tasks.cancel_scope.cancel()
        assert list(store.paths.ingests.iterdir()) == []
        assert all(is_whole(store, content) for content in finished)
        assert sum(is_whole(store, content) for content in CONTENTS) >= len(finished)
        if len(finished) == len(CONTENTS):
            break
        turns += 1 + turns // 3


async def test_what_a_killed_removal_left_is_replaced(store: Store) -> None:
    """A directory without a record is no layer, and not in the way of one (S08)."""
    record = stage(store)
    leftover = store.layers.files(record.diff_id)
    leftover.mkdir(parents=True)
    (leftover / "old").write_text("x")
    await store.sealer.seal(None, record)
    assert is_whole(store, b"hello")
    assert not (leftover / "old").exists()


async def test_sealing_what_is_sealed_changes_nothing(store: Store) -> None:
    """A layer that is in use is never replaced (S08)."""
    await store.sealer.seal(None, stage(store))
    before = store.layers.files(Digest.of(b"hello")).stat().st_ino
    again = stage(store)
    await store.sealer.seal(None, again)
    assert is_whole(store, b"hello")
    assert store.layers.files(again.diff_id).stat().st_ino == before


@pytest.mark.parametrize("fault", ["fsync:error=EIO", "?rename,?renameat,?renameat2:error=ENOSPC:when=3"])
def test_a_failing_disk_is_reported_and_the_next_try_works(tmp_path: Path, fault: str) -> None:
    """At the renames and at the syncs of the names (S05)."""
    Store(tmp_path).create()
    assert traced(MANY, tmp_path, fault=fault) != ""
    assert traced(MANY, tmp_path) == ""
    assert all(is_whole(Store(tmp_path), b"%d" % number) for number in range(10))
