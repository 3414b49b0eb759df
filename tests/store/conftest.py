"""A store, a small disk for it, and a directory that is not only root's."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from aiodocker_lite.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """An empty store."""
    return Store(tmp_path / "store").create()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MiB."""
    place = tmp_path / "disk"
    place.mkdir()
    with mounted(place, "size=1m"):
        yield place


@pytest.fixture
def open_directory() -> Iterator[Path]:
    """A directory that everybody can enter and change."""
    with tempfile.TemporaryDirectory() as path:
        Path(path).chmod(0o777)
        yield Path(path)


class mounted:  # noqa: N801 - it is used as a function
    """A tmpfs at a place while the block runs; skips the test where that is not permitted."""

    def __init__(self, place: Path, options: str) -> None:
        self._place = place
        self._options = options

    def __enter__(self) -> None:
        if os.geteuid() != 0:
            pytest.skip("only root may mount")
        command = ["mount", "-t", "tmpfs", "-o", self._options, "tmpfs", str(self._place)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"nothing can be mounted here: {done.stderr.strip()}")

    def __exit__(self, *exc_info: object) -> None:
        subprocess.run(["umount", str(self._place)], check=True)
