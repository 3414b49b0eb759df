"""Volumes in a store: made once, seen by name, kept as long as a container has them."""

from __future__ import annotations

from pathlib import Path

import pytest

from aiodocker_lite.errors import InvalidOption, NoSuchVolume, VolumeInUse
from aiodocker_lite.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """An empty one."""
    return Store(tmp_path / "store").create()


def test_a_volume_is_made_once(store: Store) -> None:
    """With its labels, in a directory of its own that only the owner of the store can reach."""
    made = store.volumes.make("data", {"a": "b"})
    (made.path / "file").write_text("kept")
    assert store.volumes.make("data") == made
    assert store.volumes.find("data").labels == {"a": "b"}
    assert [volume.name for volume in store.volumes.all()] == ["data"]
    assert (made.path / "file").read_text() == "kept"
    assert store.paths.volumes.stat().st_mode & 0o777 == 0o700
    assert made.path.stat().st_mode & 0o777 == 0o755


@pytest.mark.parametrize("name", ["", "x", "../x", "a/b", ".hidden", "a b", "-x"])
def test_a_name_that_leads_elsewhere_is_none(store: Store, name: str) -> None:
    """Docker's rule, which has no slash in it."""
    with pytest.raises(InvalidOption, match="cannot be the name of a volume"):
        store.volumes.make(name)
    with pytest.raises(NoSuchVolume, match="No such volume"):
        store.volumes.find(name)


def test_a_volume_stays_while_a_container_has_it(store: Store) -> None:
    """Whether that runs or not; one that has gone is forgotten."""
    container = store.paths.containers / ("c" * 64)
    container.mkdir(parents=True)
    (container / "config.json").write_text("{}")
    volume = store.volumes.give("data", container.name)
    assert store.volumes.users(volume) == [container.name]
    with pytest.raises(VolumeInUse, match=f"cannot remove volume data: it is in use by {'c' * 12}"):
        store.volumes.remove("data")
    (container / "config.json").unlink()
    store.volumes.remove("data")
    assert store.volumes.all() == []
    assert list(store.paths.volumes.iterdir()) == []
    with pytest.raises(NoSuchVolume):
        store.volumes.remove("data")


def test_a_damaged_record_hides_nothing(store: Store) -> None:
    """What is in the volume is still somebody's."""
    volume = store.volumes.make("data")
    volume.path.with_name("volume.json").write_text("{")
    assert [found.path for found in store.volumes.all()] == [volume.path]
    store.volumes.remove("data")
