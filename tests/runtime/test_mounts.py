"""Layers, volumes, and the ways by which their targets could lead outside."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from aiodocker_lite import syscalls
from aiodocker_lite.errors import SetupFailed
from aiodocker_lite.options import Mount, RunOptions
from aiodocker_lite.runtime import mounts
from aiodocker_lite.runtime.ladder import probe
from aiodocker_lite.runtime.launch import launch
from aiodocker_lite.snapshot import flatten, plan_rootfs
from aiodocker_lite.users import resolve_user
from tests.runtime import driver
from tests.runtime.conftest import Run


def volumes(*chosen: Mount) -> RunOptions:
    return RunOptions(mounts=chosen)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "data"
    path.mkdir()
    (path / "file").write_text("from the host\n")
    return path


# --- volumes ---------------------------------------------------------------------------------


async def test_a_volume_is_the_hosts_directory(script: Run, data: Path) -> None:
    """Both sides see what the other writes; the target is made where the image has none."""
    done = await script(
        "cat /deep/down/here/file; echo back > /deep/down/here/answer",
        options=volumes(Mount("/deep/down/here", str(data))),
    )
    assert (done.code, done.out) == (0, "from the host\n")
    assert (data / "answer").read_text() == "back\n"


async def test_a_read_only_volume_cannot_be_written(script: Run, data: Path) -> None:
    """Nor anything that is mounted below it."""
    done = await script(
        "cat /v/file; touch /v/x; chmod 0 /v/file; mount -o remount,rw /v",
        options=volumes(Mount("/v", str(data), read_only=True)),
    )
    assert done.out == "from the host\n"
    assert done.err.count("Read-only file system") == 2
    assert [path.name for path in data.iterdir()] == ["file"]


@pytest.mark.root
async def test_a_read_only_volume_is_so_all_the_way_down(as_root: None, script: Run, data: Path) -> None:
    """A file system that is mounted in the volume comes along, and is read-only too."""
    (data / "sub").mkdir()
    syscalls.mount("tmpfs", str(data / "sub"), "tmpfs")
    try:
        (data / "sub" / "inner").write_text("x")
        done = await script(
            "cat /v/sub/inner; touch /v/sub/y", options=volumes(Mount("/v", str(data), read_only=True))
        )
    finally:
        syscalls.umount2(str(data / "sub"), 0)
    assert done.out == "x"
    assert "Read-only" in done.err


async def test_a_single_file_can_be_mounted(script: Run, data: Path) -> None:
    """Over a file of the image, or where there is none."""
    file = str(data / "file")
    done = await script(
        "cat /etc/passwd /new/place", options=volumes(Mount("/etc/passwd", file), Mount("/new/place", file))
    )
    assert done.out == "from the host\n" * 2


async def test_programs_in_a_volume_get_no_rights_and_devices_do_not_work(script: Run, data: Path) -> None:
    """Volumes are nosuid and nodev (X08)."""
    done = await script("grep ' /v ' /proc/self/mountinfo", options=volumes(Mount("/v", str(data))))
    assert {"nosuid", "nodev"} <= set(done.out.split()[5].split(","))


async def test_a_volume_within_a_volume(script: Run, data: Path, tmp_path: Path) -> None:
    """The outer comes first, whatever the order on the command line; its directory gets the target."""
    inner = tmp_path / "inner"
    inner.mkdir()
    (inner / "seen").write_text("x")
    done = await script("ls /v /v/sub", options=volumes(Mount("/v/sub", str(inner)), Mount("/v", str(data))))
    assert done.out.split() == ["/v:", "file", "sub", "/v/sub:", "seen"]


async def test_a_tmpfs_is_empty_and_forgotten(script: Run) -> None:
    """It covers what the image has there."""
    done = await script(
        "ls -A /etc; echo x > /etc/y; grep -c ' /etc tmpfs' /proc/mounts", options=volumes(Mount("/etc"))
    )
    assert (done.code, done.lines[-1]) == (0, "1")
    assert "passwd" not in done.out


async def test_a_source_that_is_not_there_is_refused(script: Run, tmp_path: Path) -> None:
    """Nothing is made on the host."""
    with pytest.raises(SetupFailed, match=r"mounting /v: the source .*/gone does not exist"):
        await script("true", options=volumes(Mount("/v", str(tmp_path / "gone"))))
    assert not (tmp_path / "gone").exists()


async def test_a_file_is_not_mounted_over_a_directory(script: Run, data: Path) -> None:
    """Nor the other way round."""
    with pytest.raises(SetupFailed, match=r"mounting /etc: the source .* is a file, and .* a directory$"):
        await script("true", options=volumes(Mount("/etc", str(data / "file"))))
    with pytest.raises(
        SetupFailed, match=r"mounting /etc/passwd: the source .* is a directory, and .* a file$"
    ):
        await script("true", options=volumes(Mount("/etc/passwd", str(data))))


@pytest.mark.parametrize(
    ("link", "target", "lands"),
    [
        ("{outside}", "/vol", "{outside}"),
        ("{outside}", "/vol/deeper", "{outside}/deeper"),
        ("../../../../../../..{outside}", "/vol", "{outside}"),
        ("/proc/1/root{outside}", "/vol", None),
        ("/proc/self/cwd", "/vol", None),
        ("vol", "/vol", None),
    ],
)
async def test_a_target_behind_a_link_stays_inside(
    run: Run, above: Path, tmp_path: Path, data: Path, link: str, target: str, lands: str | None
) -> None:
    """The link is followed as the container would follow it; the host's directory is not touched (X16)."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (above / "vol").symlink_to(link.format(outside=outside))
    place = "/vol" if lands is None else lands.format(outside=outside)
    try:
        done = await run(
            "/bin/cat", f"{place}/file", above=[above], options=volumes(Mount(target, str(data)))
        )
    except SetupFailed:
        assert lands is None
    else:
        assert done.out == "from the host\n"
    assert list(outside.iterdir()) == []
    assert str(tmp_path) not in Path("/proc/self/mountinfo").read_text()


@pytest.mark.parametrize("where", ["/proc/sysrq-trigger", "/sys/kernel"])
async def test_a_link_into_a_kernel_file_system_is_contained(
    run: Run, above: Path, data: Path, where: str
) -> None:
    """A target that a link moves there lands in the container's own, if anywhere."""
    (above / "vol").symlink_to(where)
    try:
        await run("/bin/true", above=[above], options=volumes(Mount("/vol", str(data))))
    except SetupFailed as error:
        refused = str(error)
        assert "mounting /vol" in refused


@pytest.mark.root
async def test_a_device_that_is_asked_for_works(as_root: None, script: Run) -> None:
    """A device of the host's /dev is not made useless by nodev."""
    done = await script("head -c 4 /mine | wc -c", options=volumes(Mount("/mine", "/dev/zero")))
    assert done.out == "4\n"


# --- layers ----------------------------------------------------------------------------------


@pytest.fixture
def many(tmp_path: Path) -> list[Path]:
    """120 layers: each replaces one file, and has one that is its own."""
    # Long names, so that they would not fit into the page that mount(2) has for them.
    base = tmp_path / ("x" * 100)
    base.mkdir()
    layers = [base / f"{number:0100}" for number in range(120)]
    for number, path in enumerate(layers):
        path.mkdir()
        (path / "top").write_text(f"{number}\n")
        (path / f"own{number}").write_text("")
    return layers


async def test_a_hundred_and_twenty_layers(script: Run, many: list[Path]) -> None:
    """Docker's limit is near; the uppermost layer wins."""
    done = await script("cat /top; ls / | grep -c own", above=many)
    assert done.lines == ["119", "120"]


@pytest.mark.root
@pytest.mark.overlay
def test_the_same_without_the_newest_calls(as_root: None, many: list[Path], tmp_path: Path) -> None:
    """Where lower directories cannot be given one by one, they fit into one page all the same."""
    for name in ("upper", "work", "root"):
        (tmp_path / name).mkdir()
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            syscalls.unshare(syscalls.CLONE_NEWNS)
            syscalls.mount(None, "/", None, syscalls.MS_REC | syscalls.MS_PRIVATE)
            held = [
                os.open(path, os.O_PATH) for path in (tmp_path / "upper", tmp_path / "work", *reversed(many))
            ]
            upper, work, *lowers = (f"/proc/self/fd/{fd}" for fd in held)
            place = os.open(tmp_path / "root", os.O_PATH)
            mounts._mount_overlay_by_text(lowers, upper, work, [], place)
            os.write(write, (tmp_path / "root" / "top").read_bytes())
            os.write(write, str(len(list((tmp_path / "root").iterdir()))).encode())
        except BaseException as error:
            os.write(write, repr(error).encode())
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    assert os.read(read, 1000) == b"119\n121"
    os.close(read)
    os.close(write)


@pytest.mark.root
@pytest.mark.parametrize("mark", ["trusted.overlay.opaque", "user.overlay.opaque"])
async def test_whiteouts_and_opaque_directories(
    as_root: None, script: Run, tmp_path: Path, mark: str
) -> None:
    """What a layer removed is not there, also where the opaque mark is the one for root."""
    first, second = tmp_path / "first", tmp_path / "second"
    for path in (first / "opaque", second / "opaque", first / "open"):
        path.mkdir(parents=True)
    for path in (
        first / "gone",
        first / "opaque" / "old",
        second / "opaque" / "new",
        first / "open" / "kept",
    ):
        path.write_text("x")
    os.mknod(second / "gone", stat.S_IFCHR, os.makedev(0, 0))
    os.setxattr(second / "opaque", mark, b"y")
    done = await script("ls /gone; ls /opaque /open", above=[first, second])
    # Root's overlays do not heed the mark of others.
    old = ["old"] if mark.startswith("user.") else []
    assert done.lines == ["/opaque:", "new", *old, "", "/open:", "kept"]
    assert "No such file" in done.err


async def test_what_is_written_goes_to_the_upper_directory(script: Run, tmp_path: Path, layer: Path) -> None:
    """The layer is never changed, and the next run of the container finds what the last one wrote."""
    done = await script("echo x > /etc/passwd; echo y > /new; rm -r /home")
    assert done.code == 0
    upper = tmp_path / "container1" / "upper"
    assert sorted(path.name for path in upper.iterdir()) == ["dev", "etc", "home", "new", "proc", "sys"]
    assert "bob" in (layer / "etc" / "passwd").read_text()


async def test_a_file_system_that_cannot_be_mounted_is_said(
    tmp_path: Path, layer: Path, isolated: None
) -> None:
    """Which step it was, and what the kernel says."""
    container = tmp_path / "c"
    container.mkdir()
    (container / "work").symlink_to("/dev/shm")
    with pytest.raises(SetupFailed, match="mounting the root file system: Invalid argument"):
        await driver.run([layer], container, ["/bin/true"])


async def test_a_tree_without_overlay_is_the_root_too(tmp_path: Path, layer: Path, isolated: None) -> None:
    """Where overlays are refused, namespaces still have a root of their own."""
    container = tmp_path / "c"
    container.mkdir()
    plan = plan_rootfs([layer], container, overlay=False)
    flatten(plan)
    ladder = probe(tmp_path)
    spec, _ = driver.prepare(
        [layer], tmp_path / "d", ["/bin/touch", "/written"], RunOptions(), driver.image_config(), ladder
    )
    async with launch(spec, plan, ladder.rung, resolve_user=resolve_user) as process:
        assert await process.wait() == 0
    assert (plan.root / "written").exists()
