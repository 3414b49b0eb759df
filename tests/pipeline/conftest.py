"""An engine on a store of its own, and a small disk for it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from aiodocker_lite import Engine, Limits, Settings


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A store below the test's own directory, short pauses, and a disk that may be filled to its end."""
    return Settings(root=tmp_path / "store", pauses=(0, 0, 0), limits=Limits(free_bytes=0))


@pytest.fixture
async def engine(settings: Settings) -> AsyncIterator[Engine]:
    """An open engine, and its store, empty."""
    async with Engine(settings) as engine:
        engine.store.create()
        yield engine


@dataclass
class Disk:
    """A file system of its own below a store, which can be made larger."""

    place: Path

    def remount(self, options: str) -> None:
        subprocess.run(["mount", "-o", f"remount,{options}", str(self.place)], check=True)

    def leave_free(self, pages: int) -> None:
        how = os.statvfs(self.place)
        self.remount(f"size={(how.f_blocks - how.f_bfree + pages) * how.f_bsize}")

    def leave_inodes(self, number: int) -> None:
        how = os.statvfs(self.place)
        self.remount(f"nr_inodes={how.f_files - how.f_ffree + number}")


@pytest.fixture
def disk(settings: Settings) -> Iterator[Disk]:
    """Two megabytes for the store, if it is not made larger; to be asked for before anything that opens it."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small disk needs uid 0")
    settings.root.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(settings.root)], check=True)
    try:
        yield Disk(settings.root)
    finally:
        subprocess.run(["umount", "--lazy", str(settings.root)], check=True)
