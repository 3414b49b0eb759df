"""A slice of what `scripts.powercuts` plays, and whether whoever judges it sees what is wrong."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from aiodocker_lite import Engine, Settings
from aiodocker_lite.testing.images import write_layout
from tests.cases.cut_commands import Shell, images
from tests.cases.powercuts import Life, judge
from tests.fakes.disks import Disk, why_not
from tests.fakes.processes import RealRegistry


@pytest.mark.timeout(300)
@pytest.mark.skipif(bool(why_not()), reason=why_not())
def test_nothing_is_lost_or_torn_when_the_power_is_cut() -> None:
    """Three cuts of a real disk; in a process of its own, for mounts that nobody else keeps."""
    words = [sys.executable, "-m", "scripts.powercuts", "--cuts", "3", "--planted", "0"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith("3 cuts in ")


def torn_file(root: Path) -> None:
    next(root.glob("layers/sha256/*/fs/app/two")).write_bytes(b"")


def torn_blob(root: Path) -> None:
    os.truncate(max(root.glob("blobs/sha256/*"), key=lambda path: path.stat().st_size), 1000)


def torn_record(root: Path) -> None:
    next(root.glob("layers/sha256/*/layer.json")).write_bytes(b"")


def torn_index(root: Path) -> None:
    (root / "index.json").write_bytes(b"")


def lost_name(root: Path) -> None:
    index = json.loads((root / "index.json").read_bytes())
    (root / "index.json").write_text(json.dumps({**index, "manifests": []}))


def nothing(root: Path) -> None:
    """As it must be."""


@pytest.mark.parametrize(
    ("damage", "found"),
    [
        (torn_file, "is damaged: layer"),
        (torn_blob, "is not what its name says"),
        (torn_record, "is torn"),
        (torn_index, "index.json is torn"),
        (lost_name, "leads to None"),
        (nothing, ""),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
async def test_what_a_power_cut_could_do_is_seen(
    open_registry: RealRegistry, tmp_path: Path, damage: Callable[[Path], None], found: str
) -> None:
    """What is not synced is empty afterwards, or not there: each by hand, and then judged."""
    life = Life(Disk("", "", tmp_path, ""), tmp_path, "")
    life.ended["pull"] += 1
    layout = write_layout(tmp_path / "layout", {"tiny": images()["tiny"]})
    name = open_registry.push(layout, "cuts/tiny:a", "tiny")
    async with Engine(Settings(root=life.root)) as engine:
        image = await engine.pull(name)
    shell = Shell("a", open_registry, {}, tmp_path, random.Random(1), True, {name: str(image.id)})
    damage(life.root)
    await judge(life, [shell], [None])
    assert bool(life.findings) == bool(found)
    assert found in "; ".join(life.findings)
