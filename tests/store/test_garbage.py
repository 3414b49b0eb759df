"""Collecting takes what nothing leads to, and never what somebody needs."""

from __future__ import annotations

import shutil
from pathlib import Path

import anyio
import pytest

from aiodocker_lite.digest import Digest
from aiodocker_lite.errors import StoreUnwritable
from aiodocker_lite.image import Image
from aiodocker_lite.store import Store
from aiodocker_lite.testing import images
from tests.store.conftest import mounted
from tests.store.filling import bring, end, python, stage, tiny

COUNT_ON_IT = """
import anyio, sys
from pathlib import Path
from aiodocker_lite.store import Store

async def main():
    async with Store(Path(sys.argv[1])).create().counting_on_content():
        print("counting", flush=True)
        sys.stdin.readline()

anyio.run(main)
"""
BASE, TOP = images.layer({"base": b"x"}), images.layer({"top": b"x"})


async def forget(store: Store, image: Image) -> None:
    """Take all its names away."""
    await store.images.untag(image.manifest.digest, image.names)


def here(store: Store) -> set[str]:
    """The digests of all blobs and layers."""
    return {path.name for top in (store.paths.blobs, store.paths.layers) for path in top.glob("*/*")}


def of(image: Image) -> set[str]:
    """All that an image consists of."""
    digests = (image.manifest.digest, image.id, *image.config.diff_ids)
    return {digest.hex for digest in (*digests, *(layer.digest for layer in image.manifest.layers))}


async def test_what_an_image_needs_stays(store: Store) -> None:
    """Also of one without a name, and layers that are shared with one that is gone."""
    kept = await bring(store, images.image(BASE), "kept")
    nameless = await bring(store, tiny())
    gone = await bring(store, images.image(BASE, TOP), "gone")
    assert store.collect() == ()
    await forget(store, gone)
    removed = store.collect()
    assert {digest.hex for digest in removed} == of(gone) - of(kept)
    assert here(store) == of(kept) | of(nameless)
    assert [image.verified for image in store.images.all()] == ["Yes", "Yes"]


async def test_both_manifests_of_an_image_stay(store: Store) -> None:
    """The one that was pulled and the one that the layout lists."""
    image = await bring(store, tiny(docker=True), "alpine")
    assert store.collect() == ()
    listed = store.images.entries()[0].listed.digest
    assert listed != image.manifest.digest
    assert here(store) == of(image) | {listed.hex}
    await forget(store, image)
    store.collect()
    assert here(store) == set()


async def test_a_container_needs_its_layers(store: Store) -> None:
    """The image can go before it, for what runs needs no blobs (S13)."""
    image = await bring(store, tiny(), "alpine")
    async with store.containers.living(image, ("sh",), name="one", remove=False):
        await forget(store, image)
        store.collect()
        assert here(store) == {image.config.diff_ids[0].hex}
    store.collect()
    assert here(store) == {image.config.diff_ids[0].hex}
    store.containers.remove(store.containers.find("one"))
    assert store.collect() == image.config.diff_ids
    assert here(store) == set()


async def test_nothing_is_collected_while_somebody_counts_on_it(store: Store) -> None:
    """A pull or a load in this process or in another one; when it has ended, or was killed, it is (S06)."""
    image = await bring(store, tiny(), "alpine")
    await forget(store, image)
    async with store.counting_on_content():
        assert store.collect() == ()
    process = python(COUNT_ON_IT, store.paths.root)
    assert process.stdout is not None
    process.stdout.readline()
    assert store.collect() == ()
    process.kill()
    process.communicate()
    assert here(store) == of(image)
    store.collect()
    assert here(store) == set()


async def test_many_can_count_on_the_content(store: Store) -> None:
    """They do not wait for each other."""
    process = python(COUNT_ON_IT, store.paths.root)
    assert process.stdout is not None
    process.stdout.readline()
    with anyio.fail_after(5):
        async with store.counting_on_content(), store.counting_on_content():
            pass
    end(process)


async def test_what_killed_processes_were_writing_goes_too(store: Store) -> None:
    """But not what was downloaded: the next pull continues there."""
    stage(store)
    half = store.paths.ingest(Digest.of(b"half"))
    half.write_bytes(b"ha")
    (store.paths.ingests / "index.json.0.tmp").write_text("{")
    store.collect()
    assert list(store.paths.ingests.iterdir()) == [half]


async def test_what_is_being_written_stays(store: Store) -> None:
    """A pull stages, and counts on the content meanwhile."""
    async with store.counting_on_content():
        record = stage(store)
        store.collect()
        assert store.paths.staging(record.diff_id).exists()


async def test_an_interrupted_collection_is_finished_by_the_next(store: Store) -> None:
    """What is left of a layer is none, and the others are still there or gone (S01)."""
    image = await bring(store, tiny(), "alpine")
    diff_id = image.config.diff_ids[0]
    await forget(store, image)
    place = store.layers.files(diff_id) / "mounted"
    place.mkdir()
    with mounted(place, "size=1m"):
        with pytest.raises(StoreUnwritable, match="busy"):
            store.collect()
        assert store.layers.find(diff_id) is None
    store.collect()
    assert here(store) == set()


async def test_an_image_that_comes_again_after_a_half_removal_is_whole(store: Store) -> None:
    """Its layer is unpacked anew, not taken for what was left (S01, S08)."""
    image = await bring(store, tiny(), "alpine")
    diff_id = image.config.diff_ids[0]
    await forget(store, image)
    place = store.layers.files(diff_id) / "mounted"
    place.mkdir()
    with mounted(place, "size=1m"), pytest.raises(StoreUnwritable, match="busy"):
        store.collect()
    again = await bring(store, tiny(), "alpine")
    assert again.verified == "Yes"
    assert (store.layers.files(diff_id) / "file").read_bytes() == b"hello"


async def test_a_store_that_was_moved_is_the_same(store: Store, tmp_path: Path) -> None:
    """Nothing in it says where it is (S11)."""
    image = await bring(store, tiny(), "alpine")
    async with store.containers.living(image, ("sh",), name="one", remove=False):
        pass
    moved = Store(shutil.copytree(store.paths.root, tmp_path / "moved")).create()
    store.paths.root.rename(tmp_path / "elsewhere")
    assert moved.images.all() == [image]
    assert [container.name for container in moved.containers.all()] == ["one"]
    assert moved.collect() == ()
