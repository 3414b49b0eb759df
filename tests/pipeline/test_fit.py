"""An image that cannot fit is refused before it is begun, and what is used least makes room for others."""

from __future__ import annotations

import os
import re
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import anyio
import pytest

from aiodocker_lite import Engine, Limits, Settings
from aiodocker_lite.errors import DoesNotFit, ExceedsMaxStore
from aiodocker_lite.events import Event, LayerStarted, Notice
from aiodocker_lite.reference import Reference
from aiodocker_lite.settings import number_of
from aiodocker_lite.testing import FakeRegistry, cut, image, layer
from aiodocker_lite.testing.images import noise, write_layout
from tests.fakes.commands import command, environment
from tests.fakes.stores import flaws
from tests.pipeline.conftest import Disk

BASE = layer({"base": noise(600_000, "base")})
IMAGES = {name: image(BASE, layer({name: noise(300_000, name)})) for name in ("one", "two", "three")}
ONE_IMAGE, EACH_MORE = 1_800_000, 600_000
"""What an image takes as blobs and unpacked, about; and each more that shares a layer with it."""


@pytest.fixture
async def registry() -> AsyncIterator[FakeRegistry]:
    """It has three images that share a layer."""
    async with FakeRegistry() as registry:
        for name, each in IMAGES.items():
            registry.add(name, "latest", each)
        yield registry


async def test_an_image_that_cannot_fit_is_refused_before_a_layer_is_asked_for(
    disk: Disk, engine: Engine, registry: FakeRegistry
) -> None:
    """With the figures; what is here already needs no room."""
    disk.remount("size=1700k")
    registry.forget()
    with pytest.raises(DoesNotFit) as caught:
        await engine.pull(f"{registry.address}/one")
    assert f"{registry.address}/one:latest does not fit into {disk.place}: it needs at least 1.8" in str(
        caught.value
    )
    assert "MB are free for it" in str(caught.value)
    assert not [seen for seen in registry.requests if str(BASE.digest) in seen.path]
    assert list((disk.place / "ingest").iterdir()) == []
    disk.remount("size=3m")
    await engine.pull(f"{registry.address}/one")
    disk.leave_free(700_000 // os.sysconf("SC_PAGE_SIZE"))
    await engine.pull(f"{registry.address}/two")
    with pytest.raises(DoesNotFit, match="it needs at least 600"):
        await engine.pull(f"{registry.address}/three")
    assert flaws(disk.place) == []


async def test_an_archive_that_cannot_fit_is_refused(disk: Disk, engine: Engine, tmp_path: Path) -> None:
    """As a pull is."""
    disk.remount("size=1700k")
    with pytest.raises(DoesNotFit, match=r"needs at least 1\.8"):
        await engine.load(write_layout(tmp_path / "layout", {"one": IMAGES["one"]}))


async def test_what_has_to_stay_free_is_not_for_images(
    disk: Disk, settings: Settings, registry: FakeRegistry
) -> None:
    """`--limit free_bytes`, or 5 % where that is less."""
    disk.remount("size=1830k")
    async with Engine(replace(settings, limits=Limits())) as engine:
        with pytest.raises(DoesNotFit):
            await engine.pull(f"{registry.address}/one")
    disk.remount("size=2m")
    async with Engine(replace(settings, limits=Limits())) as engine:
        await engine.pull(f"{registry.address}/one")


@pytest.mark.parametrize("way", ["remove", "prune"])
async def test_a_disk_without_a_page_left_can_be_emptied(
    disk: Disk, engine: Engine, registry: FakeRegistry, way: str
) -> None:
    """What makes room needs none, and what is left can be checked."""
    disk.remount("size=5m")
    for name in IMAGES:
        await engine.pull(f"{registry.address}/{name}")
    disk.leave_free(0)
    assert all(checked.is_sound for checked in await engine.verify())
    if way == "remove":
        await engine.remove(f"{registry.address}/one")
        assert len(await engine.images()) == 2
    else:
        await engine.prune(all_images=True)
        assert await engine.images() == []
    assert flaws(disk.place) == []
    assert engine.store.paths.index_copy.read_bytes() == engine.store.paths.index.read_bytes()


async def test_what_has_come_already_does_not_count(
    disk: Disk, engine: Engine, registry: FakeRegistry
) -> None:
    """A pull that was cut goes on where less is free than the image takes."""
    registry.script("GET", str(BASE.digest), cut(400_000, "stall"))
    with anyio.CancelScope() as scope:

        def watch(event: Event) -> None:
            if isinstance(event, LayerStarted) and event.layer == BASE.digest:
                tasks.start_soon(cancel_when_it_is_here)

        async def cancel_when_it_is_here() -> None:
            part = engine.store.paths.ingest(BASE.digest)
            while not part.exists() or part.stat().st_size < 400_000:
                await anyio.sleep(0.01)
            scope.cancel()

        async with anyio.create_task_group() as tasks:
            await engine.pull(f"{registry.address}/one", progress=watch)
    disk.leave_free((ONE_IMAGE - 380_000) // os.sysconf("SC_PAGE_SIZE"))
    await engine.pull(f"{registry.address}/one")


async def test_the_image_that_was_used_last_the_longest_ago_makes_room(
    settings: Settings, registry: FakeRegistry
) -> None:
    """Layers that others need stay, and the newest image stays whatever it takes."""
    told: list[str] = []

    def tell(event: Event) -> None:
        if isinstance(event, Notice):
            told.append(event.text)

    async with Engine(replace(settings, max_store=ONE_IMAGE + EACH_MORE + 100_000)) as engine:
        for number, name in enumerate(("one", "two")):
            found = await engine.pull(f"{registry.address}/{name}", progress=tell)
            os.utime(engine.store.paths.blob(found.manifest.digest), (number, number))
        assert told == []
        await engine.pull(f"{registry.address}/one", progress=tell)
        await engine.pull(f"{registry.address}/three", progress=tell)
        assert {image.name.rpartition("/")[2] for image in await engine.images()} == {
            "one:latest",
            "three:latest",
        }
        assert [text.partition(", not used for")[0] for text in told] == [
            f"Removed {registry.address}/two:latest"
        ]
        assert engine.store.blobs.path(BASE.digest) is not None
        assert engine.store.blobs.path(IMAGES["two"].layers[1].digest) is None
    assert flaws(settings.root) == []


async def test_a_partial_download_makes_room_too(settings: Settings, registry: FakeRegistry) -> None:
    """By the time at which the last of it came."""
    async with Engine(replace(settings, max_store=ONE_IMAGE + 100_000)) as engine:
        engine.store.create()
        part = engine.store.paths.ingest(IMAGES["two"].layers[1].digest)
        part.write_bytes(bytes(200_000))
        os.utime(part, (1, 1))
        await engine.pull(f"{registry.address}/one")
        assert not part.exists()
        assert len(await engine.images()) == 1


async def test_what_cannot_be_read_is_not_counted_in_silence(
    settings: Settings, registry: FakeRegistry
) -> None:
    """It may be more than the store should have."""
    told: list[str] = []
    async with Engine(replace(settings, max_store=ONE_IMAGE + 100_000)) as engine:
        found = await engine.pull(f"{registry.address}/one")
        engine.store.paths.blob(found.manifest.digest).write_bytes(b"{}")
        await engine.pull(f"{registry.address}/two", progress=lambda event: told.append(str(event)))
        assert len(await engine.images()) == 2
    assert any(f"Warning: what {found.name} takes is not known" in text for text in told)


async def test_an_image_that_is_larger_than_the_store_may_be_is_refused(
    settings: Settings, registry: FakeRegistry
) -> None:
    """Before anything makes room for it."""
    async with Engine(replace(settings, max_store=ONE_IMAGE + EACH_MORE)) as engine:
        await engine.pull(f"{registry.address}/one")
    async with Engine(replace(settings, max_store=1_000_000)) as engine:
        with pytest.raises(
            ExceedsMaxStore, match=r"it takes at least 1\.8\d+MB, and the store may have 1MB \(--max-store\)$"
        ) as caught:
            await engine.pull(f"{registry.address}/two")
        assert len(await engine.images()) == 1
    enough = number_of(str(caught.value).partition("at least ")[2].partition(",")[0])
    async with Engine(replace(settings, max_store=enough)) as engine:
        await engine.pull(f"{registry.address}/two")


@pytest.mark.parametrize("policy", ["always", "missing"])
async def test_images_of_one_command_make_no_room_for_each_other(
    registry: FakeRegistry, tmp_path: Path, policy: str
) -> None:
    """Others do; what does not fit beside them is refused, with the figures, and nothing of it stays."""
    store = tmp_path / "store"

    async def pull(*names: str, most: str) -> tuple[int, list[str]]:
        words = [f"{registry.address}/{name}" for name in names]
        argv = command(store, "pull", "-q", "--policy", policy, "--max-store", most, *words)
        done = await anyio.run_process(argv, env=environment(tmp_path), check=False)
        return done.returncode, done.stderr.decode().splitlines()

    async def here() -> set[str]:
        async with Engine(Settings(root=store)) as engine:
            return {image.name.rpartition("/")[2].partition(":")[0] for image in await engine.images()}

    assert await pull("three", most="2.5MB") == (0, [])
    code, _ = await pull("one", "two", most="2.5MB")
    assert (code, await here()) == (0, {"one", "two"})
    code, (sentence, hint) = await pull("one", "two", "three", most="2.5MB")
    assert (code, await here()) == (1, {"one", "two"})
    assert re.fullmatch(
        rf"aiodocker-lite: .*/three:latest does not fit into {store}: with what this command has pulled it takes "
        r"(at least )?3\.0\d*MB, and the store may have 2\.5MB \(--max-store\)",
        sentence,
    )
    assert hint.startswith("aiodocker-lite: hint: give a --max-store of more than that")
    assert flaws(store) == []


async def test_images_that_come_together_are_refused_together(
    settings: Settings, registry: FakeRegistry
) -> None:
    """How large they are is seen when they are here; the others then stay."""
    names = [Reference.parse(f"{registry.address}/{name}") for name in IMAGES]
    refused: list[str] = []

    async def pull(name: Reference) -> None:
        try:
            await engine.pull(name, beside=names)
        except ExceedsMaxStore as error:
            refused.append(error.name)

    async with Engine(replace(settings, max_store=ONE_IMAGE + EACH_MORE + 100_000)) as engine:
        async with anyio.create_task_group() as tasks:
            for name in names:
                tasks.start_soon(pull, name)
        assert len(await engine.images()) == 2
    assert len(refused) == 1
    assert flaws(settings.root) == []


async def test_what_a_container_uses_stays_and_the_rest_is_told(
    settings: Settings, registry: FakeRegistry
) -> None:
    """A store that is larger than it should be says so."""
    told: list[str] = []
    async with Engine(replace(settings, max_store=ONE_IMAGE + 100_000)) as engine:
        one = await engine.pull(f"{registry.address}/one")
        async with engine.store.containers.living(one, ("x",), name="user", remove=True):
            await engine.pull(f"{registry.address}/two", progress=lambda event: told.append(str(event)))
        assert len(await engine.images()) == 2
        (warning,) = [text for text in told if "Warning" in text]
        assert "the store has 2.4" in warning
        assert "it should have 1.9MB" in warning


async def test_the_option_says_how_much(registry: FakeRegistry, tmp_path: Path) -> None:
    """In words where it is none."""
    store = tmp_path / "store"
    for name in IMAGES:
        words = command(store, "pull", "--max-store", "2M", f"{registry.address}/{name}")
        done = await anyio.run_process(words, env=environment(tmp_path))
    assert b"Removed" in done.stderr
    done = await anyio.run_process(command(store, "images", "--quiet"), env=environment(tmp_path))
    assert len(done.stdout.split()) == 1
    words = command(store, "pull", "--max-store", "much", "one")
    done = await anyio.run_process(words, env=environment(tmp_path), check=False)
    assert (done.returncode, done.stderr.decode().splitlines()[0]) == (
        125,
        "aiodocker-lite: invalid value for --max-store: 'much' is not a size such as 500M or 10G",
    )
