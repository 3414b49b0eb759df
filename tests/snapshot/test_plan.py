"""Which directories become a root file system."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from aiodocker_lite.errors import StoreUnwritable
from aiodocker_lite.snapshot import RootfsPlan, flatten, plan_rootfs


@pytest.fixture
def layers(tmp_path: Path) -> list[Path]:
    found = [tmp_path / name for name in ("lowest", "middle", "uppermost")]
    for path in found:
        path.mkdir()
    return found


def test_an_overlay_is_planned_with_its_empty_directories(tmp_path: Path, layers: list[Path]) -> None:
    """Upper, work and mount point are made; `/` will look as in the uppermost layer."""
    layers[-1].chmod(0o1751)
    plan = plan_rootfs(layers, tmp_path, overlay=True)
    assert plan == RootfsPlan(tmp_path / "rootfs", tuple(layers), tmp_path / "upper", tmp_path / "work")
    assert stat.S_IMODE((tmp_path / "upper").stat().st_mode) == 0o1751
    assert list(plan.root.iterdir()) == []
    assert not (tmp_path / "upper.new").exists()


def test_the_upper_directory_is_like_its_model(tmp_path: Path, layers: list[Path]) -> None:
    """Mode, time and attributes: it is what the container sees as `/`."""
    layers[0].chmod(0o1751)
    os.setxattr(layers[0], "user.said", b"so")
    os.utime(layers[0], ns=(0, 1_234_567_890_123_456_789))
    upper = plan_rootfs(layers, tmp_path, overlay=True, model=layers[0]).upper
    assert upper is not None
    assert stat.S_IMODE(upper.stat().st_mode) == 0o1751
    assert upper.stat().st_mtime_ns == 1_234_567_890_123_456_789
    assert os.getxattr(upper, "user.said") == b"so"


@pytest.mark.parametrize("overlay", [True, False])
def test_what_lies_below_an_opaque_root_is_left_out(
    tmp_path: Path, layers: list[Path], *, overlay: bool
) -> None:
    """Overlayfs does not heed the mark there."""
    os.setxattr(layers[1], "user.overlay.opaque", b"y")
    assert plan_rootfs(layers, tmp_path, overlay=overlay).lowers == tuple(layers[1:])


def test_planning_again_keeps_what_was_written(tmp_path: Path, layers: list[Path]) -> None:
    """A container that is started again finds its files."""
    plan = plan_rootfs(layers, tmp_path, overlay=True)
    assert plan.upper is not None
    (plan.upper / "mine").write_text("x")
    plan.upper.chmod(0o700)
    assert plan_rootfs(layers, tmp_path, overlay=True) == plan
    assert (plan.upper / "mine").exists()
    assert stat.S_IMODE(plan.upper.stat().st_mode) == 0o700


def test_no_layers_are_no_overlay(tmp_path: Path) -> None:
    """An image from scratch is an empty tree."""
    plan = plan_rootfs([], tmp_path, overlay=True)
    assert plan == RootfsPlan(tmp_path / "rootfs", ())
    flatten(plan)
    assert list(plan.root.iterdir()) == []


def test_a_place_that_cannot_be_written_is_said(tmp_path: Path, layers: list[Path]) -> None:
    """One sentence names the directory."""
    with pytest.raises(StoreUnwritable, match="missing"):
        plan_rootfs(layers, tmp_path / "missing", overlay=True)
