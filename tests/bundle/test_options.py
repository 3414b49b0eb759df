"""Each option of a run, as it stands in the runtime spec; and what is refused, with which words."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from aiodocker_lite.bundle import CAPABILITIES
from aiodocker_lite.errors import InvalidOption
from aiodocker_lite.options import INIT, STOP_SIGNAL, Mount, RunOptions
from tests.bundle.test_spec import mount_at, spec

UNLIMITED = 2**64 - 1


def at(found: Any, path: str) -> Any:
    """What stands at this place of a document; None where nothing does."""
    for name in path.split("/"):
        found = found.get(name) if isinstance(found, dict) else None
    return found


@pytest.mark.parametrize(
    ("options", "path", "value"),
    [
        ({"read_only": True}, "root/readonly", True),
        ({"domainname": "example"}, "domainname", "example"),
        ({"stop_signal": "SIGINT"}, "annotations", {STOP_SIGNAL: "SIGINT"}),
        ({"init": True}, "annotations", {INIT: "1"}),
        (
            {"ulimits": ("nofile=10:20", "core=0", "nproc=-1", "nofile=5")},
            "process/rlimits",
            [
                {"type": "RLIMIT_NOFILE", "soft": 5, "hard": 5},
                {"type": "RLIMIT_CORE", "soft": 0, "hard": 0},
                {"type": "RLIMIT_NPROC", "soft": UNLIMITED, "hard": UNLIMITED},
            ],
        ),
        ({"oom_score_adj": -5}, "process/oomScoreAdj", -5),
        ({"sysctls": {"kernel.msgmax": "9"}}, "linux/sysctl", {"kernel.msgmax": "9"}),
        ({"memory": 7 << 20}, "linux/resources/memory", {"limit": 7 << 20, "swap": 14 << 20}),
        ({"memory": 7 << 20, "memory_swap": -1}, "linux/resources/memory", {"limit": 7 << 20, "swap": -1}),
        ({"memory_reservation": 5}, "linux/resources/memory", {"reservation": 5}),
        ({"cpus": 0.5}, "linux/resources/cpu", {"period": 100_000, "quota": 50_000}),
        (
            {"cpu_shares": 2, "cpu_period": 5000, "cpu_quota": 2000, "cpuset_cpus": "0-1,3", "cpuset_mems": "0"},
            "linux/resources/cpu",
            {"shares": 2, "period": 5000, "quota": 2000, "cpus": "0-1,3", "mems": "0"},
        ),
        ({"pids_limit": 7}, "linux/resources/pids", {"limit": 7}),
        ({"pids_limit": -1}, "linux/resources/pids", None),
        ({"pids_limit": 0}, "linux/resources/pids", None),
        ({"security": ("no-new-privileges=false",)}, "process/noNewPrivileges", False),
        ({"security": ("no-new-privileges",), "privileged": True}, "process/noNewPrivileges", True),
        ({"security": ("seccomp=unconfined", "apparmor=unconfined", "label=disable")}, "linux/seccomp", None),
        ({"security": ("systempaths=unconfined",)}, "linux/maskedPaths", []),
        ({"privileged": True}, "linux/seccomp", None),
        ({"privileged": True}, "linux/readonlyPaths", []),
        ({"privileged": True}, "process/noNewPrivileges", False),
        ({"privileged": True}, "linux/resources/devices", [{"allow": True, "access": "rwm"}]),
        ({"uts": "host"}, "hostname", None),
    ],
)  # fmt: skip
def test_an_option_in_the_spec(options: dict[str, Any], path: str, value: Any) -> None:
    """One place for each."""
    assert at(spec("x", options=RunOptions(**options)), path) == value


@pytest.mark.parametrize(
    ("added", "dropped", "names"),
    [
        ((), (), set(CAPABILITIES)),
        (("NET_ADMIN",), ("CAP_CHOWN",), set(CAPABILITIES) - {"CAP_CHOWN"} | {"CAP_NET_ADMIN"}),
        (("net_raw",), ("all",), {"CAP_NET_RAW"}),
        ((), ("ALL",), set()),
    ],
)
def test_capabilities_are_added_and_dropped(
    added: tuple[str, ...], dropped: tuple[str, ...], names: set[str]
) -> None:
    """By either spelling; ALL first."""
    found = spec("x", options=RunOptions(cap_add=added, cap_drop=dropped))["process"]["capabilities"]
    assert set(found["bounding"]) == set(found["effective"]) == set(found["permitted"]) == names
    assert found["inheritable"] == found["ambient"] == []
    maps: dict[str, Any] = {"uid_map": ((0, 1000, 1),), "gid_map": ((0, 1000, 1),)}
    everything = spec("x", options=RunOptions(cap_add=("ALL",), cap_drop=("SYS_ADMIN",)), **maps)
    assert len(everything["process"]["capabilities"]["bounding"]) == 40


def test_namespaces_can_be_the_hosts() -> None:
    """Those of names and of shared memory, whose file systems come along."""
    found = spec("x", options=RunOptions(uts="host", ipc="host"))
    assert {n["type"] for n in found["linux"]["namespaces"]} == {"mount", "pid", "cgroup"}
    assert mount_at(found, "/dev/shm")["type"] == "bind"
    ours = spec("x", options=RunOptions(uts="private", ipc="shareable", pid="private", shm_size=1000))
    assert "size=1000" in mount_at(ours, "/dev/shm")["options"]


def test_a_tmpfs_has_the_options_it_was_given() -> None:
    """And docker's defaults for the others."""
    mounts = (Mount("/a"), Mount("/b", options=("size=1m", "mode=700", "exec", "ro"), read_only=True))
    found = spec("x", options=RunOptions(mounts=mounts))
    assert mount_at(found, "/a")["options"] == ["nosuid", "noexec", "nodev", "mode=1777", "rw"]
    assert mount_at(found, "/b")["options"] == ["nosuid", "nodev", "mode=700", "ro", "size=1m"]


def test_volumes_are_where_they_are_said_to_be() -> None:
    """Those of the options, those of the image, and a path of the host before these."""
    mounts = (Mount("/a", "data", read_only=True), Mount("/c", "/host"))
    volumes = {"/a": Path("/store/a"), "/b": Path("/store/b")}
    found = spec("x", options=RunOptions(mounts=mounts), volumes=volumes)
    sources = {target: mount_at(found, target)["source"] for target in ("/a", "/b", "/c")}
    assert sources == {"/a": "/store/a", "/b": "/store/b", "/c": "/host"}
    assert "ro" in mount_at(found, "/a")["options"]


def test_a_device_is_a_node_that_may_be_used() -> None:
    """With the host's numbers, mode and owner; in a user namespace the host's own node is bound."""
    found = spec("x", options=RunOptions(devices=("/dev/full:/dev/other:r",)))
    node = {"path": "/dev/other", "type": "c", "major": 1, "minor": 7, "fileMode": 0o666, "uid": 0, "gid": 0}
    assert found["linux"]["devices"] == [node]
    rules = found["linux"]["resources"]["devices"]
    assert rules[0] == {"allow": False, "access": "rwm"}
    assert rules[-1] == {"allow": True, "type": "c", "major": 1, "minor": 7, "access": "r"}
    maps: dict[str, Any] = {"uid_map": ((0, 1000, 1),), "gid_map": ((0, 1000, 1),)}
    bound = spec("x", options=RunOptions(devices=("/dev/full:/dev/other",)), **maps)
    assert mount_at(bound, "/dev/other")["source"] == "/dev/full"
    assert "devices" not in bound["linux"]
    with pytest.raises(InvalidOption, match="only root can forbid a part of it"):
        spec("x", options=RunOptions(devices=("/dev/full:r",)), **maps)


def test_a_directory_of_devices_is_all_of_them(tmp_path: Path) -> None:
    """With the same names below the target."""
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "zero").symlink_to("/dev/zero")
    found = spec("x", options=RunOptions(devices=(f"{tmp_path}:/dev/some",)))
    assert [device["path"] for device in found["linux"]["devices"]] == ["/dev/some/sub/zero"]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"ulimits": ("nofile",)}, "--ulimit: '' in 'nofile' is not a number"),
        ({"ulimits": ("nofile=1:2:3",)}, "--ulimit: 'nofile=1:2:3' is not NAME=SOFT[:HARD]"),
        (
            {"ulimits": ("nofile=5:3",)},
            "--ulimit: the soft limit is larger than the hard one in 'nofile=5:3'",
        ),
        ({"ulimits": ("odd=5",)}, "--ulimit: there is no limit 'odd'"),
        ({"cap_add": ("NOPE",)}, "--cap-add: there is no capability 'NOPE'"),
        ({"cap_drop": ("CAP_",)}, "--cap-drop: there is no capability 'CAP_'"),
        (
            {"security": ("apparmor=docker-default",)},
            "--security-opt: 'apparmor=docker-default' cannot be done here",
        ),
        ({"security": ("no-new-privileges=maybe",)}, "--security-opt: 'no-new-privileges=maybe' is neither"),
        ({"security": ("seccomp={}",)}, "--security-opt: the seccomp profile cannot be understood"),
        ({"devices": ("/dev/nothing",)}, "--device: '/dev/nothing' does not exist"),
        ({"devices": ("/etc/passwd",)}, "--device: '/etc/passwd' is not a device"),
        ({"devices": ("/dev/null:/dev/x:q",)}, "--device: 'q' is not made of r, w and m"),
        ({"devices": ("dev/null",)}, "--device: 'dev/null' has a path that is not absolute"),
        ({"devices": ("",)}, "--device: '' is not HOST"),
        ({"memory": 5}, "--memory: the least that can be had is 6 MB"),
        ({"memory_swap": 5}, "--memory-swap: it is memory and swap together, and --memory is missing"),
        (
            {"memory": 7 << 20, "memory_swap": 5},
            "--memory-swap: it is memory and swap together, and less than",
        ),
        (
            {"memory": 7 << 20, "memory_reservation": 8 << 20},
            "--memory-reservation: it is more than --memory",
        ),
        ({"cpus": 0.001}, "--cpus: it can be from 0.01 to "),
        ({"cpus": float("nan")}, "--cpus: it can be from 0.01 to "),
        ({"cpus": 1e6}, f"--cpus: it can be from 0.01 to {os.cpu_count()}.00"),
        ({"cpus": 1, "cpu_quota": 5000}, "--cpus: it cannot be combined with"),
        ({"cpu_period": 5}, "--cpu-period: it can be from 1 ms"),
        ({"cpu_quota": 5}, "--cpu-quota: it cannot be less than 1 ms"),
        ({"cpuset_cpus": "a"}, "--cpuset-cpus: 'a' is not a list such as 0-2,4"),
        ({"oom_score_adj": 1001}, "--oom-score-adj: it can be from -1000 to 1000"),
        ({"sysctls": {"net.core.somaxconn": "1"}}, "--sysctl: 'net.core.somaxconn' would change the host"),
        ({"sysctls": {"kernel.core_pattern": "|x"}}, "--sysctl: 'kernel.core_pattern' is not in a namespace"),
        ({"sysctls": {"kernel.sem": "1"}, "ipc": "host"}, "--sysctl: 'kernel.sem' is not in a namespace"),
        ({"pid": "host"}, "--pid: a container cannot have 'host'"),
        ({"ipc": "container:x"}, "--ipc: 'container:x' is neither host nor private"),
        ({"uts": "host", "hostname": "x"}, "--uts: with the host's name, no other can be given"),
        ({"domainname": "a b"}, "--domainname: 'a b' is not a domain name"),
    ],
)
def test_what_cannot_be_honoured_is_refused(options: dict[str, Any], sentence: str) -> None:
    """With the option and the reason; never ignored."""
    with pytest.raises(InvalidOption) as caught:
        spec("x", options=RunOptions(**options))
    assert str(caught.value).startswith(f"invalid value for {sentence}")
