"""A volume begins with what the image has at its place."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from aiodocker_lite.snapshot import fill


@pytest.fixture
def layers(tmp_path: Path) -> list[Path]:
    """Two layers with a directory in common; the lower one also has a link to it, and one that leads up and out."""
    lower, upper = tmp_path / "lower", tmp_path / "upper"
    for layer, names in ((lower, ("a", "both")), (upper, ("b", "both"))):
        (layer / "data").mkdir(parents=True)
        for name in names:
            (layer / "data" / name).write_text(layer.name)
    (lower / "link").symlink_to("/data")
    (lower / "up").symlink_to("../../../../../data/./")
    (lower / "loop").symlink_to("loop")
    (lower / "data" / "sub").mkdir()
    (upper / "data").chmod(0o1770)
    return [lower, upper]


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    path = tmp_path / "volumes" / "data"
    path.mkdir(parents=True)
    return path


@pytest.mark.parametrize("target", ["/data", "/data/", "/link", "/up", "//data/sub/.."])
def test_it_is_what_a_container_would_see(layers: list[Path], volume: Path, target: str) -> None:
    """Of all layers, the uppermost first; with the mode of the directory; links lead inside of the image."""
    fill(layers, target, volume)
    found = {path.name: path.read_text() for path in volume.iterdir() if path.is_file()}
    assert found == {"a": "lower", "b": "upper", "both": "upper"}
    assert (volume / "sub").is_dir()
    assert volume.stat().st_mode & 0o7777 == 0o1770
    assert list(volume.parent.iterdir()) == [volume]


@pytest.mark.parametrize("target", ["/nothing", "/data/a", "/loop", "/data/sub/nothing", "/data/a/b"])
def test_what_is_no_directory_there_is_nothing_here(layers: list[Path], volume: Path, target: str) -> None:
    """A missing place, a file, a loop."""
    fill(layers, target, volume)
    assert list(volume.iterdir()) == []


def test_what_is_not_empty_stays_as_it_is(layers: list[Path], volume: Path) -> None:
    """It is somebody's by then."""
    (volume / "mine").write_text("mine")
    fill(layers, "/data", volume)
    assert [path.name for path in volume.iterdir()] == ["mine"]


@pytest.mark.root
def test_what_an_upper_layer_hides_stays_hidden(layers: list[Path], volume: Path) -> None:
    """A file that takes the place of a directory, a directory that is new, and a mark of its absence."""
    if os.geteuid() != 0:
        pytest.skip("needs uid 0")
    third = layers[0].parent / "third"
    (third / "data").mkdir(parents=True)
    os.setxattr(third / "data", "trusted.overlay.opaque", b"y")
    (third / "data" / "new").write_text("third")
    fill([*layers, third], "/data", volume)
    assert [path.name for path in volume.iterdir()] == ["new"]
    (volume / "new").unlink()
    gone = layers[0].parent / "gone"
    gone.mkdir()
    os.mknod(gone / "data", 0o20000, 0)
    fill([*layers, gone], "/link", volume)
    assert list(volume.iterdir()) == []
