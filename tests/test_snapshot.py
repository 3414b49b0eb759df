"""Root file systems: the plan of an overlay, and layers merged into one tree."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from aiodocker_lite.errors import StoreUnwritable
from aiodocker_lite.snapshot import RootfsPlan, flatten, plan_rootfs


def whiteout(path: Path) -> None:
    os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(0, 0))


def merged(tmp_path: Path, *layers: Path) -> Path:
    container = tmp_path / "container"
    container.mkdir()
    plan = plan_rootfs(layers, container, overlay=False)
    flatten(plan)
    return plan.root


def names(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*"))


@pytest.fixture
def layers(tmp_path: Path) -> list[Path]:
    found = [tmp_path / name for name in ("lowest", "middle", "upper")]
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


@pytest.mark.skipif(os.geteuid() != 0, reason="owners need uid 0")
def test_merging_keeps_everything_about_a_file(tmp_path: Path, layers: list[Path]) -> None:
    """Content, mode with setuid, owner, time, attributes, links and kinds are those of the layer."""
    low = layers[0]
    file = low / "file"
    file.write_bytes(os.urandom(3 << 20))
    os.chown(file, 12, 34)
    file.chmod(0o4751)
    os.setxattr(file, "user.color", b"blue")
    os.utime(file, ns=(1, 1_234_567_890_123_456_789))
    os.link(file, low / "second")
    (low / "deep").mkdir(mode=0o711)
    os.link(file, low / "deep" / "third")
    (low / "link").symlink_to("/etc/passwd")
    os.chown(low / "link", 5, 6, follow_symlinks=False)
    os.mkfifo(low / "fifo", 0o640)
    os.mknod(low / "device", stat.S_IFCHR | 0o620, os.makedev(1, 3))
    os.utime(low / "deep", ns=(1, 42))

    root = merged(tmp_path, low)

    for name in ("file", "second", "deep", "deep/third", "link", "fifo", "device"):
        before, after = (low / name).lstat(), (root / name).lstat()
        for fact in ("st_mode", "st_uid", "st_gid", "st_size", "st_nlink", "st_mtime_ns", "st_rdev"):
            assert getattr(after, fact) == getattr(before, fact), (name, fact)
    assert (root / "file").read_bytes() == file.read_bytes()
    assert os.getxattr(root / "file", "user.color") == b"blue"
    assert (root / "file").samefile(root / "deep" / "third")
    assert (root / "link").readlink() == Path("/etc/passwd")


def test_upper_layers_win_and_whiteouts_remove(tmp_path: Path, layers: list[Path]) -> None:
    """A whiteout hides a file or a directory of the layers below, and is not itself seen."""
    low, middle, upper = layers
    (low / "dir" / "sub").mkdir(parents=True)
    for name in ("kept", "replaced", "removed", "dir/removed", "dir/sub/file"):
        (low / name).write_text("low")
    (middle / "dir").mkdir()
    (middle / "replaced").write_text("middle")
    whiteout(middle / "removed")
    whiteout(middle / "dir" / "removed")
    whiteout(upper / "dir")
    (upper / "removed").write_text("again")

    root = merged(tmp_path, low, middle, upper)

    assert names(root) == ["kept", "removed", "replaced"]
    assert (root / "replaced").read_text() == "middle"
    assert (root / "removed").read_text() == "again"


@pytest.mark.parametrize("mark", ["trusted.overlay.opaque", "user.overlay.opaque"])
def test_an_opaque_directory_shows_only_its_own(tmp_path: Path, layers: list[Path], mark: str) -> None:
    """What lower layers have in it is gone, and the mark itself is not copied."""
    low, middle, _ = layers
    for layer, name in ((low, "old"), (middle, "new")):
        (layer / "dir").mkdir()
        (layer / "dir" / name).write_text(name)
    try:
        os.setxattr(middle / "dir", mark, b"y")
    except OSError:
        pytest.skip(f"cannot set {mark} here")

    root = merged(tmp_path, low, middle)

    assert names(root) == ["dir", "dir/new"]
    assert mark not in os.listxattr(root / "dir")


def test_kinds_may_change_and_links_are_never_followed(tmp_path: Path, layers: list[Path]) -> None:
    """A link of a lower layer to a directory outside is replaced, not written through."""
    low, middle, _ = layers
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "canary").write_text("alive")
    (low / "a").symlink_to(outside)
    (low / "b").mkdir()
    (low / "b" / "file").write_text("x")
    (low / "c").symlink_to(outside / "canary")
    (middle / "a").mkdir()
    (middle / "a" / "canary").write_text("mine")
    (middle / "b").write_text("a file now")
    (middle / "c").write_text("mine too")

    root = merged(tmp_path, low, middle)

    assert (outside / "canary").read_text() == "alive"
    assert (root / "a" / "canary").read_text() == "mine"
    assert (root / "b").read_text() == "a file now"
    assert (root / "c").read_text() == "mine too"
    assert not (root / "c").is_symlink()


def test_a_merge_is_whole_or_absent(tmp_path: Path, layers: list[Path]) -> None:
    """What an interrupted merge left is thrown away, and a finished one is left alone."""
    (layers[0] / "file").write_text("x")
    plan = plan_rootfs(layers, tmp_path, overlay=False)
    (tmp_path / "rootfs.partial").mkdir()
    (tmp_path / "rootfs.partial" / "garbage").write_text("x")
    flatten(plan)
    assert names(plan.root) == ["file"]
    (plan.root / "written").write_text("by the container")
    flatten(plan)
    assert names(plan.root) == ["file", "written"]
