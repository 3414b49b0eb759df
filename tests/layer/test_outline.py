"""An unpacked layer is compared with its own tar: what is sound is never called damaged."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from aiodocker_lite.layer.compare import CONTENT, Comparison, Difference, same_content
from aiodocker_lite.layer.decompress import plain_blocks
from aiodocker_lite.layer.outline import Outline
from aiodocker_lite.layer.rules import UnpackRules
from aiodocker_lite.layer.unpack import unpack_layer
from aiodocker_lite.settings import Limits
from tests.cases.benign_layers import Twin, benign_layers
from tests.fakes.tars import END, directory, file

PRIVILEGED = [pytest.param(True, marks=pytest.mark.root), False] if os.geteuid() == 0 else [False]


@pytest.fixture(autouse=True)
def _umask() -> Iterator[None]:
    """What a worker sets, and the place it comes back to."""
    before, here = os.umask(0), Path.cwd()
    yield
    os.umask(before)
    os.chdir(here)


def unpack(layer: bytes, root: Path, rules: UnpackRules) -> int:
    """Unpack into a new directory, which is opened."""
    root.mkdir(mode=0o755)
    fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    pieces = (layer[n : n + 5000] for n in range(0, len(layer), 5000))
    unpack_layer(plain_blocks(pieces, "abc"), fd, "abc", rules, io.BytesIO())
    return fd


def compared(
    layer: bytes, actual: int, root: Path, *, privileged: bool = False, whole: bool = False
) -> list[Difference]:
    """How a tree differs from what a layer says, by an outline at `root`, or by all of it."""
    outline = Outline(actual)
    root.mkdir(mode=0o755)
    fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        comparison = Comparison(fd, actual)
        rules = UnpackRules(privileged, Limits(), outline=None if whole else outline)
        unpack_layer(plain_blocks(iter([layer]), "abc"), fd, "abc", rules, io.BytesIO())
        return list(comparison.run(same_content if whole else outline.judge))
    finally:
        outline.close()
        os.close(fd)


@pytest.mark.parametrize("privileged", PRIVILEGED)
@pytest.mark.parametrize("twin", benign_layers(), ids=lambda twin: twin.name)
def test_an_honest_layer_is_what_it_was(tmp_path: Path, twin: Twin, privileged: bool) -> None:
    """Every oddity of real layers, with and without the rights of root."""
    actual = unpack(twin.layer, tmp_path / "actual", UnpackRules(privileged, Limits()))
    try:
        assert compared(twin.layer, actual, tmp_path / "whole", privileged=privileged, whole=True) == []
        found = compared(twin.layer, actual, tmp_path / "outline", privileged=privileged)
        # A file that gets a second name and is replaced under its first one: so it is compared with all of it.
        assert found == ([(b"g", CONTENT)] if twin.name == "hard-link-broken-up" else [])
    finally:
        os.close(actual)


def test_an_outline_has_no_content(tmp_path: Path) -> None:
    """A layer of any size can be checked on a disk that is nearly full."""
    layer = directory(b"d") + file(b"d/large", os.urandom(3_000_000)) + END
    actual = unpack(layer, tmp_path / "actual", UnpackRules(False, Limits()))
    assert compared(layer, actual, tmp_path / "outline") == []
    os.close(actual)
    how = (tmp_path / "outline/d/large").stat()
    assert (how.st_size, how.st_blocks) == (3_000_000, 0)


def test_a_way_out_of_the_tree_that_is_here_is_not_followed(tmp_path: Path) -> None:
    """A directory of a damaged layer may have become a link to the host."""
    layer = directory(b"d") + file(b"d/secret", b"equal") + END
    actual = unpack(layer, tmp_path / "actual", UnpackRules(False, Limits()))
    outside = tmp_path / "outside"
    (tmp_path / "actual/d").rename(outside)
    (tmp_path / "actual/d").symlink_to(outside)
    found = dict(compared(layer, actual, tmp_path / "outline"))
    os.close(actual)
    assert found[b"d"] == "it is a symbolic link, not a directory"
    assert set(found) <= {b"", b"d"}
