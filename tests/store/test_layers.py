"""Unpacked layers: staged out of sight, and nothing without its record."""

from __future__ import annotations

import fcntl
import json
import os
from pathlib import Path

import pytest

from aiodocker_lite.digest import Digest
from aiodocker_lite.errors import StoreCorrupt, StoreUnreadable, StoreUnwritable
from aiodocker_lite.store import Store
from aiodocker_lite.store.layers import LayerRecord
from tests.store.conftest import mounted
from tests.store.filling import stage, unprivileged

DIGEST = Digest.of(b"hello")


async def sealed(store: Store) -> LayerRecord:
    record = stage(store)
    await store.sealer.seal(None, record)
    return record


async def test_a_record_says_what_was_verified(store: Store) -> None:
    """It is read as it was written."""
    record = await sealed(store)
    assert store.layers.find(DIGEST) == record
    assert json.loads((store.paths.layer(DIGEST) / "layer.json").read_text())["diffID"] == str(DIGEST)
    assert (store.layers.files(DIGEST) / "file").read_bytes() == b"hello"


def test_a_layer_that_is_not_here_has_no_record(store: Store) -> None:
    """That is no error."""
    assert store.layers.find(DIGEST) is None


def test_staging_begins_with_an_empty_directory(store: Store) -> None:
    """What a killed process left is removed first; the layer's root has the usual mode."""
    stage(store)
    files = store.layers.stage(DIGEST)
    assert list(files.iterdir()) == []
    assert files.stat().st_mode & 0o7777 == 0o755
    assert files.parent.stat().st_mode & 0o7777 == 0o700
    assert store.layers.find(DIGEST) is None


def test_what_was_staged_can_be_thrown_away(store: Store) -> None:
    """Also twice."""
    stage(store)
    store.layers.unstage(DIGEST)
    store.layers.unstage(DIGEST)
    assert list(store.paths.ingests.iterdir()) == []


@pytest.mark.parametrize(
    "damage", [b"", b"{", b"null", b"[]", b'{"diffID": 1}', b"\xff\xfe", b'{"diffID": "sha256:x"}']
)
async def test_a_damaged_record_is_none_and_is_replaced(store: Store, damage: bytes) -> None:
    """What is not known to be verified is brought again, without any repair by hand."""
    await sealed(store)
    (store.paths.layer(DIGEST) / "layer.json").write_bytes(damage)
    (store.layers.files(DIGEST) / "file").unlink()
    assert store.layers.find(DIGEST) is None
    record = await sealed(store)
    assert store.layers.find(DIGEST) == record
    assert (store.layers.files(DIGEST) / "file").read_bytes() == b"hello"


async def test_a_record_that_cannot_be_read_is_damage(store: Store) -> None:
    """Nothing is removed because a disk does not answer."""
    await sealed(store)
    record = store.paths.layer(DIGEST) / "layer.json"
    record.unlink()
    record.symlink_to(record.name)
    with pytest.raises(StoreCorrupt, match="Too many levels"):
        store.layers.find(DIGEST)


@pytest.mark.parametrize("which", ["layer.json", "joint.json"])
async def test_a_record_that_this_user_may_not_read_is_no_damage(open_directory: Path, which: str) -> None:
    """Whose store it is, is another matter than what is in it."""
    store = Store(open_directory / "store").create()
    await sealed(store)
    joint = store.joints.stage(DIGEST)
    store.joints.seal(DIGEST, "user", needed=joint.exists())
    for path in (store.paths.root, *store.paths.root.rglob("*")):
        path.chmod(0o755)
    (record,) = store.paths.root.rglob(which)
    record.chmod(0)

    def read() -> None:
        if which == "layer.json":
            store.layers.find(DIGEST)
        else:
            store.joints.has(DIGEST, "user")

    with pytest.raises(StoreUnreadable, match=f"^cannot read the store at {record}: Permission denied$"):
        unprivileged(read)


async def test_a_layer_is_removed(store: Store) -> None:
    """With all its files; then it can be brought again."""
    await sealed(store)
    store.layers.remove(DIGEST)
    assert not store.paths.layer(DIGEST).exists()
    assert store.layers.find(DIGEST) is None
    await sealed(store)
    assert store.layers.find(DIGEST) is not None


async def test_an_interrupted_removal_leaves_no_layer(store: Store) -> None:
    """Its record goes first: half of its files are never taken for all of them (S01)."""
    await sealed(store)
    place = store.layers.files(DIGEST) / "mounted"
    place.mkdir()
    with mounted(place, "size=1m"):
        with pytest.raises(StoreUnwritable, match="busy"):
            store.layers.remove(DIGEST)
        assert store.paths.layer(DIGEST).exists()
        assert store.layers.find(DIGEST) is None
    await sealed(store)
    assert (store.layers.files(DIGEST) / "file").read_bytes() == b"hello"


def test_a_worker_that_outlived_its_process_is_let_alone(store: Store) -> None:
    """It knows another place than whoever comes next, who does not remove what it writes to; later somebody does."""
    orphaned = Store(store.paths.root).layers.stage(DIGEST)
    (orphaned / "file").write_bytes(b"half of")
    worker = os.open(orphaned, os.O_RDONLY)
    fcntl.flock(worker, fcntl.LOCK_EX)
    ours = store.layers.stage(DIGEST)
    store.collect()
    (orphaned / "late").write_bytes(b"one more")
    os.close(worker)
    assert orphaned.exists()
    assert Store(store.paths.root).layers.stage(DIGEST) not in (ours, orphaned)
    assert not orphaned.exists()


def test_a_file_in_the_way_is_one_sentence(store: Store) -> None:
    """It is not ours, so it is not removed."""
    store.paths.staging(DIGEST).write_text("x")
    with pytest.raises(StoreUnwritable, match="Not a directory"):
        store.layers.stage(DIGEST)
