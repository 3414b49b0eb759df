"""Images whose blobs are not kept: they run, are verified and repaired, and are not passed on."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import anyio
import pytest

from aiodocker_lite import Engine, Image, Settings
from aiodocker_lite.errors import BlobMissing, EngineError
from aiodocker_lite.layer.pool import listing_of
from aiodocker_lite.testing import FakeRegistry, cut, image, layer
from aiodocker_lite.testing.images import write_layout
from tests.fakes.commands import command, environment
from tests.fakes.real_images import busybox
from tests.pipeline.test_verify import APP, do_damage, flip, said, trees


@pytest.fixture
async def registry() -> AsyncIterator[FakeRegistry]:
    """A registry with one image, that counts what it is asked."""
    async with FakeRegistry() as registry:
        registry.add("app", "latest", APP)
        yield registry


@pytest.fixture
async def engine(settings: Settings) -> AsyncIterator[Engine]:
    """One that keeps no blobs."""
    async with Engine(replace(settings, discard_blobs=True)) as engine:
        yield engine


async def pulled(engine: Engine, registry: FakeRegistry) -> Image:
    found = await engine.pull(registry.reference("app"))
    registry.forget()
    return found


def blobs(engine: Engine) -> set[str]:
    return {path.name for path in engine.store.paths.blobs.glob("*/*")}


async def test_only_the_documents_are_kept(
    engine: Engine, settings: Settings, registry: FakeRegistry, tmp_path: Path
) -> None:
    """The same trees, nothing on its way, and a pull of what is up to date costs one HEAD."""
    found = await pulled(engine, registry)
    assert found.verified == "Yes"
    assert blobs(engine) == {APP.manifest.digest.hex, APP.config.digest.hex}
    assert list(engine.store.paths.ingests.iterdir()) == []
    async with Engine(replace(settings, root=tmp_path / "other")) as other:
        await pulled(other, registry)
        assert trees(other) == trees(engine)
    assert (await pulled(engine, registry)).verified == "Yes"
    await engine.pull(registry.reference("app"))
    assert [seen.method for seen in registry.requests] == ["HEAD"]


async def test_what_is_sound_is_said_to_be_and_an_unreadable_list_is_not(
    engine: Engine, registry: FakeRegistry
) -> None:
    """The list has a digest in the record of its layer."""
    found = await pulled(engine, registry)
    (checked,) = await engine.verify()
    assert (said(checked), checked.is_sound) == ([], True)
    flip(listing_of(engine.store.layers.files(found.config.diff_ids[0])), 100)
    (checked,) = await engine.verify()
    assert said(checked) == [f"layer {found.config.diff_ids[0].short}: /: the list of its files is damaged"]


async def test_all_damage_of_files_is_found(engine: Engine, registry: FakeRegistry) -> None:
    """What a comparison with the blob finds, and directories in which something was changed."""
    if os.geteuid() != 0:
        pytest.skip("some of it only root can do")
    await pulled(engine, registry)
    before = trees(engine)
    wanted = do_damage(engine)
    (checked,) = await engine.verify()
    found = {flaw.path: flaw.reason for flaw in checked.flaws}
    assert {path: reason for path, reason in found.items() if path in wanted} == wanted
    beside = {path for path in found if path not in wanted}
    assert all(found[path] in ("it was changed at another time", "it is missing") for path in beside)
    assert checked.image.verified == "Damaged"
    (checked,) = await engine.verify(repair=True)
    assert checked.repaired
    assert trees(engine) == before


async def test_one_flipped_byte_costs_the_blob_of_its_layer_alone(
    engine: Engine, registry: FakeRegistry
) -> None:
    """And that is not kept either."""
    found = await pulled(engine, registry)
    before = trees(engine)
    for blob, diff_id in zip(found.manifest.layers, found.config.diff_ids, strict=True):
        top = engine.store.layers.files(diff_id)
        paths = [path for path in sorted(top.rglob("*")) if stat.S_ISREG(path.lstat().st_mode)]
        path = next(path for path in paths if path.stat().st_size)
        flip(path, path.stat().st_size // 2)
        (checked,) = await engine.verify(repair=True)
        assert str(path.relative_to(top)) in {flaw.path for flaw in checked.flaws}
        assert (checked.repaired, checked.image.verified) == (True, "Yes")
        asked = [seen.path for seen in registry.requests if "/blobs/" in seen.path]
        assert len(asked) == 1
        assert asked[0].endswith(str(blob.digest))
        registry.forget()
        assert blobs(engine) == {APP.manifest.digest.hex, APP.config.digest.hex}
    assert trees(engine) == before


async def test_what_was_kept_before_stays_and_what_is_missing_comes_with_a_pull(
    engine: Engine, settings: Settings, registry: FakeRegistry, tmp_path: Path
) -> None:
    """`save` says what it lacks; a pull that keeps blobs brings them, and unpacks nothing."""
    await pulled(engine, registry)
    with pytest.raises(BlobMissing):
        await engine.save([registry.reference("app").familiar], tmp_path / "archive")
    assert not (tmp_path / "archive").exists()
    records = {path: path.read_bytes() for path in engine.store.paths.layers.glob("*/*/layer.json")}
    async with Engine(settings) as keeping:
        await pulled(keeping, registry)
        assert blobs(engine) >= {layer.digest.hex for layer in APP.layers}
        assert {path: path.read_bytes() for path in records} == records
        await keeping.save([registry.reference("app").familiar], tmp_path / "archive")
        assert all(checked.is_sound for checked in await keeping.verify())
    await pulled(engine, registry)
    assert blobs(engine) >= {layer.digest.hex for layer in APP.layers}


async def test_a_layer_from_another_blob_is_the_same_layer(engine: Engine, registry: FakeRegistry) -> None:
    """What was unpacked is known by its content."""
    await pulled(engine, registry)
    files = {"only": b"this"}
    registry.add("one", "latest", image(layer(files)))
    registry.add("two", "latest", image(layer(files, "zstd")))
    await engine.pull(registry.reference("one"))
    registry.forget()
    assert (await engine.pull(registry.reference("two"))).verified == "Yes"
    assert not [seen for seen in registry.requests if str(layer(files, "zstd").digest) in seen.path]


async def test_what_a_broken_pull_has_is_kept_for_the_next_one(
    engine: Engine, settings: Settings, registry: FakeRegistry
) -> None:
    """And thrown away when its layer is there."""
    blob = APP.layers[0]
    async with Engine(replace(settings, discard_blobs=True, pauses=())) as hasty:
        registry.script("GET", str(blob.digest), cut(20_000))
        with pytest.raises(EngineError):
            await hasty.pull(registry.reference("app"))
    assert engine.store.has_part(blob.digest)
    await pulled(engine, registry)
    assert list(engine.store.paths.ingests.iterdir()) == []
    left = engine.store.paths.ingest(
        APP.layers[1].digest
    )  # of a pull that was killed after the layer was sealed
    left.write_bytes(APP.layers[1].raw)
    found = await pulled(engine, registry)
    await engine.remove(found.name)
    await pulled(engine, registry)
    assert not left.exists()


async def test_an_archive_can_be_loaded_so(engine: Engine, tmp_path: Path) -> None:
    """And the option does it."""
    layout = write_layout(tmp_path / "layout", {"app": APP})
    (found,) = await engine.load(layout)
    assert (found.verified, len(blobs(engine))) == ("Yes", 2)


async def test_it_runs_and_the_list_of_images_says_verified(registry: FakeRegistry, tmp_path: Path) -> None:
    """At a prompt, in a store of its own."""
    store = tmp_path / "store"
    registry.add("box", "latest", busybox(tmp_path))
    name = registry.reference("box").familiar
    words = command(store, "run", "--discard-blobs", name, "/bin/busybox", "echo", "it runs")
    done = await anyio.run_process(words, env=environment(tmp_path))
    assert done.stdout == b"it runs\n"
    done = await anyio.run_process(command(store, "images", "--format", "json"), env=environment(tmp_path))
    assert json.loads(done.stdout)["Verified"] == "Yes"
    done = await anyio.run_process(
        command(store, "save", "-o", str(tmp_path / "out"), name), env=environment(tmp_path), check=False
    )
    assert done.returncode == 1
    assert b"is not in the store" in done.stderr
    done = await anyio.run_process(command(store, "verify"), env=environment(tmp_path))
    assert done.stdout.endswith(b"1 layer, unpacked, for their blobs are not kept\n")
