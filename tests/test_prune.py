"""Pruning takes what nobody uses and nobody is bringing, and says how much room that gave."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import pytest

from aiodocker_lite import Engine, Room, Settings
from aiodocker_lite.digest import Digest
from aiodocker_lite.errors import StoreUnreadable
from aiodocker_lite.events import Event, LayerReady
from aiodocker_lite.prune import Pruned
from aiodocker_lite.store import Store
from aiodocker_lite.store.usage import tree_size
from aiodocker_lite.testing.faults import cut
from aiodocker_lite.testing.images import image, layer, noise
from aiodocker_lite.testing.registry import FakeRegistry
from tests.store.filling import bring, end, python, tiny

RUN = """
import anyio, sys
from pathlib import Path
from aiodocker_lite.store import Store

async def main():
    store = Store(Path(sys.argv[1]))
    async with store.containers.living(store.images.find(sys.argv[2]), ("x",), name="alive", remove=False):
        print("alive", flush=True)
        sys.stdin.readline()

anyio.run(main)
"""


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[Engine]:
    """An open engine, and its store, empty."""
    async with Engine(Settings(root=tmp_path / "store", pauses=())) as engine:
        engine.store.create()
        yield engine


def part(store: Store, content: bytes, *, hours: float) -> Digest:
    """What came of a blob so long ago."""
    digest = Digest.of(content)
    path = store.paths.ingest(digest)
    path.write_bytes(content)
    os.utime(path, (time.time() - hours * 3600,) * 2)
    return digest


async def run(store: Store, name: str, container: str) -> str:
    """A container that has ended, with a file of 100 kB."""
    async with store.containers.living(store.images.find(name), ("x",), name=container, remove=False) as made:
        (made.path / "file").write_bytes(noise(100_000))
    return made.id


def names(engine: Engine) -> list[str]:
    return [image.name for image in engine.store.images.all()]


async def test_what_nobody_uses_goes(engine: Engine) -> None:
    """Ended containers, and images without a name; with `all_images` those with names too."""
    kept, nameless = await bring(engine.store, tiny("kept"), "kept"), await bring(engine.store, tiny("none"))
    container = await run(engine.store, "kept", "ended")
    first = await engine.prune()
    assert (first.containers, first.untagged, first.partial) == ((container,), (), ())
    assert set(first.deleted) == {
        nameless.manifest.digest, nameless.id, nameless.manifest.layers[0].digest, *nameless.config.diff_ids
    }  # fmt: skip
    blobs = (*nameless.manifest.layers, nameless.manifest.descriptor, nameless.manifest.config)
    assert first.reclaimed - sum(blob.size for blob in blobs) - nameless.size in range(100_000, 130_000)
    assert names(engine) == ["kept:latest"]
    second = await engine.prune(all_images=True)
    assert (second.untagged, len(second.deleted)) == (kept.names, 4)
    assert await engine.prune(all_images=True) == Pruned((), (), (), (), 0, ())
    assert (await engine.usage())[0] == Room("Images", 0, 0, 0, 0)


async def test_what_a_container_uses_stays(engine: Engine) -> None:
    """A running one is not touched, nor its image, of this process or of another."""
    await bring(engine.store, tiny("used"), "used")
    await bring(engine.store, tiny("unused"), "unused")
    process = python(RUN, engine.store.paths.root, "used")
    assert process.stdout is not None
    process.stdout.readline()
    pruned = await engine.prune(all_images=True)
    assert (pruned.containers, names(engine)) == ((), ["used:latest"])
    assert (await engine.images())[0].verified == "Yes"
    end(process)
    pruned = await engine.prune(all_images=True)
    assert (len(pruned.containers), names(engine)) == (1, [])


async def test_what_is_left_of_a_container_goes(engine: Engine) -> None:
    """Its removal was interrupted when it was none any more, but still took room."""
    store = engine.store
    await bring(store, tiny(), "alpine")
    place = store.paths.containers / await run(store, "alpine", "half-gone")
    (place / "config.json").unlink()
    pruned = await engine.prune()
    assert pruned.containers == ()
    assert pruned.reclaimed >= 100_000
    assert list(store.paths.containers.iterdir()) == []


async def test_what_cannot_be_read_is_a_sentence(engine: Engine) -> None:
    """What it says has the place (S05)."""
    place = engine.store.paths.containers / ("x" * 300)
    with pytest.raises(
        StoreUnreadable, match=r"cannot read the store at .*/containers/x+: File name too long"
    ):
        tree_size(place)


async def test_partial_downloads_go_by_age(engine: Engine) -> None:
    """A day, if nothing else is said; a clock that was wrong makes none old."""
    old, young = part(engine.store, b"old" * 1000, hours=25), part(engine.store, b"young", hours=23)
    ahead = part(engine.store, b"ahead", hours=-1000)
    pruned = await engine.prune()
    assert (pruned.partial, pruned.reclaimed) == ((old,), 3000)
    assert (await engine.prune(partial_older_than=22 * 3600)).partial == (young,)
    assert (await engine.prune(partial_older_than=1)).partial == ()
    assert (await engine.prune(partial_older_than=0)).partial == (ahead,)
    assert (await engine.usage())[2] == Room("Partial downloads", 0, 0, 0, 0)


async def test_partial_downloads_go_by_size_the_oldest_first(engine: Engine) -> None:
    """Until what is left is no more than that."""
    parts = [part(engine.store, bytes([n]) * 1000, hours=n) for n in (3, 2, 1)]
    assert (await engine.prune(partial_max=2500)).partial == (parts[0],)
    assert (await engine.prune(partial_max=2000)).partial == ()
    assert (await engine.prune(partial_max=1)).partial == (parts[1], parts[2])


async def test_what_is_being_pulled_stays(engine: Engine, tmp_path: Path) -> None:
    """Its part, and whatever of the store it may count on; the pull ends as if nothing had been."""
    shared = layer({"shared": noise(10_000)})
    async with FakeRegistry() as registry:
        registry.add("first", "latest", image(shared))
        registry.add("second", "latest", image(shared, layer({"large": noise(3_000_000)})))
        await engine.pull(registry.reference("first"))
        registry.script("GET", "/blobs/", lambda reply: reply, cut(2_000_000, "stall"))
        settings = Settings(root=engine.store.paths.root, idle_timeout=1.0)
        async with Engine(settings) as other, anyio.create_task_group() as tasks:
            tasks.start_soon(other.pull, registry.reference("second"))
            with anyio.fail_after(20):
                while not (await engine.usage())[2].size:
                    await anyio.lowlevel.checkpoint()
            pruned = await engine.prune(all_images=True, partial_older_than=0, partial_max=0)
            assert (len(pruned.untagged), pruned.deleted, pruned.partial) == (1, (), ())
            assert (await engine.usage())[2].reclaimable == 0
        (found,) = [image for image in await engine.images() if image.names]
        assert found.verified == "Yes"
        assert len(registry.asked("GET", str(shared.digest))) == 1


async def interrupted(engine: Engine, registry: FakeRegistry) -> list[Path]:
    """A pull ends when the first of its two layers is whole; returns that layer and its blob."""
    small, large = layer({"small": b"small"}), layer({"large": noise(3_000_000)})
    registry.add("half", "latest", image(small, large))
    registry.script("GET", str(large.digest), cut(2_000_000, "stall"))
    with anyio.CancelScope() as scope:

        def watch(event: Event) -> None:
            if isinstance(event, LayerReady):
                scope.cancel()

        await engine.pull(registry.reference("half"), progress=watch)
    return [engine.store.paths.layer(small.diff_id), engine.store.paths.blob(small.digest)]


@pytest.mark.parametrize("way", ["remove", "prune"])
async def test_layers_of_a_pull_that_was_interrupted_stay(engine: Engine, way: str) -> None:
    """Another image goes, with what was not collected while somebody pulled; the next pull asks for what is missing."""
    earlier = await bring(engine.store, tiny("earlier"), "earlier")
    gone = await bring(engine.store, tiny("gone"), *(["gone"] if way == "remove" else []))
    async with FakeRegistry() as registry:
        half = await interrupted(engine, registry)
        async with engine.store.counting_on_content():
            assert (await engine.remove("earlier")).deleted == ()
        deleted = (await (engine.remove("gone") if way == "remove" else engine.prune())).deleted
        assert {gone.manifest.digest, *gone.config.diff_ids, *earlier.config.diff_ids} < set(deleted)
        assert len(deleted) == 8
        assert [path.exists() for path in half] == [True, True]
        registry.forget()
        await engine.pull(registry.reference("half"))
        assert registry.asked("GET", half[1].name) == []


@pytest.mark.parametrize("how", [{"all_images": True}, {"partial_older_than": 0.0}, {}])
async def test_layers_of_a_pull_that_was_interrupted_go_in_time(engine: Engine, how: dict[str, Any]) -> None:
    """After a day, or what is said; with all images at once."""
    async with FakeRegistry() as registry:
        half = await interrupted(engine, registry)
    if not how:
        for path in (half[0] / "layer.json", half[1]):
            os.utime(path, (time.time() - 25 * 3600,) * 2)
    # Its documents are younger here, where the age counts.
    assert len((await engine.prune(**how)).deleted) == (4 if how else 2)
    assert [path.exists() for path in half] == [False, False]


async def test_an_image_that_comes_back_is_a_new_one(engine: Engine) -> None:
    """That it was let go before says nothing of when it was used."""
    async with engine.store.counting_on_content():
        await bring(engine.store, tiny(), "first")
        await engine.remove("first")
        again = await bring(engine.store, tiny(), "again")
    assert time.time() - engine.store.images.last_used(again) < 100


async def test_room_is_counted_by_who_uses_it(engine: Engine) -> None:
    """What images share is counted once, and what one of them needs for a container cannot go."""
    shared, more = layer({"shared": noise(50_000)}), layer({"more": noise(20_000)})
    one = await bring(engine.store, image(shared), "one")
    two = await bring(engine.store, image(shared, more), "two")
    await run(engine.store, "one", "ended")
    part(engine.store, b"x" * 500, hours=1)
    images, containers, partial = await engine.usage()
    documents = sum(len(raw) for each in (one, two) for raw in (each.manifest.raw, each.config.raw))
    assert (images.total, images.active) == (2, 1)
    # The files of these layers are five bytes each: see `bring`.
    assert images.size == documents + len(shared.raw) + len(more.raw) + 10
    assert images.reclaimable == len(two.manifest.raw) + len(two.config.raw) + len(more.raw) + 5
    assert (containers.total, containers.active) == (1, 0)
    assert containers.size == containers.reclaimable >= 100_000
    assert (partial.total, partial.active, partial.size, partial.reclaimable) == (1, 0, 500, 500)


async def test_a_damaged_image_keeps_what_it_may_need(engine: Engine) -> None:
    """Its name is said; removed or pulled, it stands in nobody's way."""
    damaged = await bring(engine.store, tiny("damaged"), "damaged")
    await bring(engine.store, tiny("none"))
    engine.store.paths.blob(damaged.manifest.digest).write_bytes(b"{")
    pruned = await engine.prune()
    assert (pruned.deleted, pruned.unreadable) == ((), ("damaged:latest",))
    pruned = await engine.prune(all_images=True)
    assert (pruned.untagged, len(pruned.deleted), pruned.unreadable) == (damaged.names, 8, ())


async def test_a_store_that_is_not_there_takes_no_room(tmp_path: Path) -> None:
    """And looking at it does not make it."""
    async with Engine(Settings(root=tmp_path / "nothing")) as engine:
        assert [room.size for room in await engine.usage()] == [0, 0, 0]
        assert not (tmp_path / "nothing").exists()
