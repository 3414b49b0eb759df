"""The runtime spec: docker's ways of merging, and the fixed parts that isolation stands on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from aiodocker_lite.bundle import CAPABILITIES, DEFAULT_PATH, build_spec
from aiodocker_lite.digest import Digest
from aiodocker_lite.errors import InvalidManifest, InvalidOption, NoCommand
from aiodocker_lite.manifest import ImageConfig, RunDefaults
from aiodocker_lite.options import Mount, RunOptions
from aiodocker_lite.platforms import Platform


def config(**defaults: Any) -> ImageConfig:
    return ImageConfig(b"", Digest.of(b""), Platform.here(), (), RunDefaults(**defaults))


def spec(
    *command: str, options: RunOptions | None = None, image: dict[str, Any] | None = None, **more: Any
) -> dict[str, Any]:
    return build_spec(
        config(**(image or {})),
        command,
        options or RunOptions(),
        rootfs=Path("/store/rootfs"),
        hostname="box",
        **more,
    )


def destinations(found: dict[str, Any]) -> list[str]:
    return [mount["destination"] for mount in found["mounts"]]


def mount_at(found: dict[str, Any], target: str) -> dict[str, Any]:
    [mount] = [mount for mount in found["mounts"] if mount["destination"] == target]
    return dict(mount)


@pytest.mark.parametrize(
    ("entrypoint", "cmd", "chosen", "command", "merged"),
    [
        ((), ("sh",), None, (), ["sh"]),
        ((), ("sh",), None, ("ls", "-l"), ["ls", "-l"]),
        (("/init",), ("serve",), None, (), ["/init", "serve"]),
        (("/init",), ("serve",), None, ("check",), ["/init", "check"]),
        (("/init",), ("serve",), ("/bin/sh",), (), ["/bin/sh"]),
        (("/init",), ("serve",), ("/bin/sh",), ("-c", "x"), ["/bin/sh", "-c", "x"]),
        (("/init",), ("serve",), ("",), ("ls",), ["ls"]),
        (("/init",), ("serve",), (), ("ls",), ["ls"]),
        (("",), ("serve",), None, (), ["serve"]),
    ],
)
def test_entrypoint_and_command_merge_as_docker_does(
    entrypoint: tuple[str, ...],
    cmd: tuple[str, ...],
    chosen: tuple[str, ...] | None,
    command: tuple[str, ...],
    merged: list[str],
) -> None:
    """Another entrypoint drops the image's command; an empty one drops the image's entrypoint too."""
    found = spec(
        *command,
        options=RunOptions(entrypoint=chosen),
        image={"entrypoint": entrypoint, "command": cmd},
    )
    assert found["process"]["args"] == merged


@pytest.mark.parametrize("chosen", [None, (), ("",)])
def test_nothing_to_run_is_said_in_dockers_words(chosen: tuple[str, ...] | None) -> None:
    """An image without a command needs one; `--entrypoint ""` takes the image's away."""
    image = {"entrypoint": ("/init",), "command": ("x",)} if chosen is not None else {}
    with pytest.raises(NoCommand, match=r"^no command specified$"):
        spec(options=RunOptions(entrypoint=chosen), image=image)


def test_the_environment_is_built_from_nothing() -> None:
    """Docker's defaults, the image's, the caller's: the last of a name wins, a bare name removes."""
    image = {"env": ("PATH=/opt/bin", "A=1", "A=2", "EQ=x=y", "HOSTNAME", "=odd", "EMPTY=")}
    found = spec("x", options=RunOptions(env={"A": "3", "B": ""}), image=image)
    assert found["process"]["env"] == ["PATH=/opt/bin", "A=3", "EQ=x=y", "EMPTY=", "B="]
    assert spec("x")["process"]["env"] == [f"PATH={DEFAULT_PATH}", "HOSTNAME=box"]
    assert "TERM=xterm" in spec("x", terminal=True)["process"]["env"]


@pytest.mark.parametrize(
    ("option", "options"),
    [
        ("--env", RunOptions(env={"": "x"})),
        ("--env", RunOptions(env={"a=b": "x"})),
        ("--env", RunOptions(env={"a": "x\0"})),
        ("--workdir", RunOptions(workdir="relative")),
        ("--hostname", RunOptions(hostname="-bad")),
        ("--hostname", RunOptions(hostname="a" * 65)),
        ("--hostname", RunOptions(hostname="a\n")),
        ("--volume", RunOptions(mounts=(Mount("/proc", "/tmp"),))),
        ("--volume", RunOptions(mounts=(Mount("/x/../proc/sys", "/tmp"),))),
        ("--tmpfs", RunOptions(mounts=(Mount("/proc"),))),
        ("--volume", RunOptions(mounts=(Mount("/a", "/tmp"), Mount("/a/", "/var")))),
    ],
)
def test_an_option_that_makes_no_sense_is_refused(option: str, options: RunOptions) -> None:
    """The sentence names the option."""
    with pytest.raises(InvalidOption, match=option):
        spec("x", options=options)


@pytest.mark.parametrize(
    "image", [{"env": ("A=\0",)}, {"command": ("a\0b",)}, {"working_dir": "/\0", "command": ("x",)}]
)
def test_a_nul_of_an_image_is_refused(image: dict[str, Any]) -> None:
    """The kernel could not take it."""
    with pytest.raises(InvalidManifest):
        spec(*image.get("command", ("x",)), image=image)


@pytest.mark.parametrize(
    ("image", "chosen", "cwd"),
    [
        ("", None, "/"),
        ("/app", None, "/app"),
        ("app", None, "/app"),
        ("//app/", None, "/app"),
        ("../../app", None, "/app"),
        ("/app", "/else/./where/", "/else/where"),
    ],
)
def test_the_working_directory(image: str, chosen: str | None, cwd: str) -> None:
    """The caller's, else the image's, else the root; always absolute."""
    assert (
        spec("x", options=RunOptions(workdir=chosen), image={"working_dir": image})["process"]["cwd"] == cwd
    )


def test_the_fixed_parts() -> None:
    """Capabilities, privileges and hidden paths are what security stands on (X06, X07, X08)."""
    found = spec("x", image={"user": "bob", "labels": {"io.evil.hook": "rm"}})
    process = found["process"]
    assert process["capabilities"]["bounding"] == list(CAPABILITIES)
    assert process["capabilities"]["inheritable"] == process["capabilities"]["ambient"] == []
    assert len(CAPABILITIES) == 11
    assert process["noNewPrivileges"] is True
    assert process["user"] == {"uid": 0, "gid": 0, "username": "bob"}
    assert {"/proc/kcore", "/sys/firmware", "/proc/timer_list"} <= set(found["linux"]["maskedPaths"])
    assert found["linux"]["readonlyPaths"] == [
        "/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"
    ]  # fmt: skip
    assert {n["type"] for n in found["linux"]["namespaces"]} == {"mount", "pid", "uts", "ipc", "cgroup"}
    assert "annotations" not in found  # X21


def test_a_user_namespace_brings_its_own_rules() -> None:
    """The host's /sys has to do, and a terminal group that is not mapped is left out."""
    found = spec("x", uid_map=((0, 1000, 1),), gid_map=((0, 1000, 1),))
    assert found["linux"]["uidMappings"] == [{"containerID": 0, "hostID": 1000, "size": 1}]
    assert {"type": "user"} in found["linux"]["namespaces"]
    assert mount_at(found, "/sys")["type"] == "bind"
    assert "ro" in mount_at(found, "/sys")["options"]
    assert "gid=5" not in mount_at(found, "/dev/pts")["options"]
    whole = spec("x", uid_map=((0, 0, 70000),), gid_map=((0, 0, 70000),))
    assert "gid=5" in mount_at(whole, "/dev/pts")["options"]


def test_what_the_caller_mounts_replaces_what_would_be_there() -> None:
    """One mount for each target; a parent always comes before what is in it."""
    chosen = (
        Mount("/dev/shm", "/data"),
        Mount("/a/b/c", "/deep"),
        Mount("/a", "/shallow", read_only=True),
        Mount("/etc/hosts", "/my/hosts"),
        Mount("/scratch"),
        Mount("/kvm", "/dev/kvm"),
    )
    files = {"/etc/hosts": Path("/c/hosts"), "/etc/hostname": Path("/c/hostname")}
    found = spec("x", options=RunOptions(mounts=chosen), files=files)
    order = destinations(found)
    assert len(set(order)) == len(order)
    for target in order:
        above = [order.index(parent) for parent in order if target.startswith(parent + "/")]
        assert all(position < order.index(target) for position in above)
    assert mount_at(found, "/dev/shm")["source"] == "/data"
    assert mount_at(found, "/etc/hosts")["source"] == "/my/hosts"
    assert {"ro", "nosuid", "nodev", "rprivate"} <= set(mount_at(found, "/a")["options"])
    assert "nodev" not in mount_at(found, "/kvm")["options"]
    assert mount_at(found, "/scratch")["type"] == "tmpfs"
