"""Layers merged into one tree: what is written, when, by whom, and however deep."""

from __future__ import annotations

import os
import resource
import stat
from pathlib import Path

import pytest

from aiodocker_lite.errors import StoreUnwritable
from aiodocker_lite.snapshot import RootfsPlan, flatten, plan_rootfs
from tests.fakes.overlays import USERS, as_user
from tests.runtime.cage import NOBODY, become_nobody, forbid_user_namespaces


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
    found = [tmp_path / name for name in ("lowest", "middle", "uppermost")]
    for path in found:
        path.mkdir()
    return found


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
    for name in ("rootfs.partial", "rootfs.links"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "garbage").write_text("x")
    flatten(plan)
    assert names(plan.root) == ["file"]
    assert not list(tmp_path.glob("rootfs.*"))
    (plan.root / "written").write_text("by the container")
    flatten(plan)
    assert names(plan.root) == ["file", "written"]


def test_the_root_is_like_its_model(tmp_path: Path, layers: list[Path]) -> None:
    """A layer that says nothing of the root does not decide what it is like."""
    layers[0].chmod(0o1751)
    os.utime(layers[0], ns=(0, 1_234_567_890_123_456_789))
    plan = plan_rootfs(layers, tmp_path, overlay=False, model=layers[0])
    flatten(plan)
    assert stat.S_IMODE(plan.root.stat().st_mode) == 0o1751
    assert plan.root.stat().st_mtime_ns == 1_234_567_890_123_456_789


def descend(depth: int, start: Path) -> None:
    """Make so many directories in each other, and stay in the last."""
    os.chdir(start)
    for _ in range(depth):
        os.mkdir("d")  # noqa: PTH102
        os.chdir("d")


@pytest.mark.parametrize("user", USERS)
def test_no_depth_is_too_deep(user: int) -> None:
    """Neither the stack, nor the longest path, nor the number of open files is a limit."""
    depth = int(os.environ.get("DEPTH", "12000"))

    def deep(base: Path) -> int:
        layers = [base / "low", base / "up"]
        for layer in layers:
            layer.mkdir()
        descend(depth, layers[0])
        Path("file").write_text("x")
        os.link("file", "linked")
        descend(depth // 2, layers[1])
        Path("upper").write_text("x")
        (base / "container").mkdir()
        few = max(map(int, os.listdir("/proc/self/fd"))) + 16  # noqa: PTH208
        resource.setrlimit(resource.RLIMIT_NOFILE, (few, few))
        plan = plan_rootfs(layers, base / "container", overlay=False)
        flatten(plan)
        os.chdir(plan.root)
        found = 0
        while (names := sorted(os.listdir())) and names[0] == "d":  # noqa: PTH208
            assert names == (["d", "upper"] if found == depth // 2 else ["d"])
            os.chdir("d")
            found += 1
        assert names == ["file", "linked"]
        assert Path("file").stat().st_nlink == 2
        return found

    assert as_user(user, deep) == depth


@pytest.mark.parametrize("user", USERS)
def test_what_goes_wrong_is_said(user: int) -> None:
    """An ordinary user's merge is made by another process, but its errors are the same."""

    def merge(base: Path) -> None:
        flatten(RootfsPlan(base / "rootfs", (base / "missing",)))

    with pytest.raises(StoreUnwritable, match="rootfs: No such file or directory"):
        as_user(user, merge)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs uid 0 to become somebody else")
def test_where_user_namespaces_are_forbidden_what_is_closed_is_left_empty() -> None:
    """Nobody in such a container could look into it either."""

    def merge(base: Path) -> dict[str, int]:
        os.chown(base, NOBODY, NOBODY)
        forbid_user_namespaces()
        become_nobody()
        layer, place = base / "layer", base / "container"
        for path in (layer / "closed", layer / "unsearchable", place):
            path.mkdir(parents=True)
            (path / "file").write_text("x")
        (layer / "secret").write_text("x")
        for name, mode in (("closed", 0), ("unsearchable", 0o600), ("secret", 0)):
            (layer / name).chmod(mode)
        plan = plan_rootfs([layer], place, overlay=False)
        flatten(plan)
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in plan.root.iterdir()}
        for name in modes:
            (plan.root / name).chmod(0o700)
        assert (plan.root / "secret").read_text() == ""
        assert list((plan.root / "closed").iterdir()) == list((plan.root / "unsearchable").iterdir()) == []
        return modes

    assert as_user(0, merge) == {"closed": 0, "unsearchable": 0o600, "secret": 0}
