"""Every honest twin of a hostile layer is accepted, and is what GNU tar makes of it."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from aiodocker_lite.layer.decompress import plain_blocks
from aiodocker_lite.layer.rules import Unpacked, UnpackRules
from aiodocker_lite.settings import Limits
from tests.cases.benign_layers import Twin, benign_layers
from tests.fakes import layers
from tests.fakes.trees import Node, differences, read_tree

TWINS = benign_layers()
ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


@pytest.fixture(autouse=True)
def _umask() -> Iterator[None]:
    """What a worker sets, and the place it comes back to."""
    before, here = os.umask(0), Path.cwd()
    yield
    os.umask(before)
    os.chdir(here)


def unpack(layer: bytes, root: Path, *, privileged: bool) -> Unpacked:
    root.mkdir()
    pieces = (layer[n : n + 5000] for n in range(0, len(layer), 5000))
    return layers.unpack(plain_blocks(pieces, "abc"), root, UnpackRules(privileged, Limits()))


def trees(ours: Path, theirs: Path, since: float) -> tuple[dict[bytes, Node], dict[bytes, Node]]:
    """Both, without the times of what no entry gives a time: implied directories, whiteouts, the root."""
    mine, other = read_tree(ours), read_tree(theirs)
    for name, node in mine.items():
        if since * 1e9 <= node.mtime_ns <= time.time_ns():
            mine[name] = replace(node, mtime_ns=0)
            if name in other:
                other[name] = replace(other[name], mtime_ns=0)
    return mine, other


def test_the_table_is_large_and_its_names_are_unique() -> None:
    """At least 60 twins, and one can be found by its name."""
    assert len({twin.name for twin in TWINS}) == len(TWINS) >= 60


@ROOT
@pytest.mark.root
@pytest.mark.parametrize("twin", TWINS, ids=lambda twin: twin.name)
def test_an_honest_layer_is_what_gnu_tar_makes_of_its_plain_form(tmp_path: Path, twin: Twin) -> None:
    """Names, types, modes, owners, times, attributes, links and contents."""
    since = time.time() - 1
    done = unpack(twin.layer, tmp_path / "ours", privileged=True)
    (tmp_path / "theirs").mkdir(0o777)
    tar = ["tar", "-xp", "--numeric-owner", "--xattrs", "--xattrs-include=*", "--delay-directory-restore"]
    subprocess.run([*tar, "-C", tmp_path / "theirs"], input=twin.means, check=True, umask=0o022)
    assert differences(*trees(tmp_path / "ours", tmp_path / "theirs", since)) == []
    assert done.skipped == 0 or "aufs" in twin.name


@pytest.mark.parametrize("twin", TWINS, ids=lambda twin: twin.name)
def test_without_privileges_it_is_accepted_as_well(tmp_path: Path, twin: Twin) -> None:
    """Owners, devices and capabilities are left out, and nothing else is."""
    unpack(twin.layer, tmp_path / "ours", privileged=False)
