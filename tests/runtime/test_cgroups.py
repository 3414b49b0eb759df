"""Limits by control groups: version 1 for real, where it is mounted; version 2 as far as files can tell."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import anyio
import pytest

from aiodocker_lite.errors import LimitsUnavailable, SetupFailed
from aiodocker_lite.options import RunOptions
from aiodocker_lite.runtime import cgroups
from aiodocker_lite.runtime.cgroups import PREFIX
from tests.runtime import driver
from tests.runtime.conftest import HERE, Caged, Run

MIB = 1 << 20
FIRST = cgroups._hierarchies().first


def needs(*controllers: str) -> pytest.MarkDecorator:
    missing = [name for name in controllers if name not in FIRST or not os.access(FIRST[name], os.W_OK)]
    return pytest.mark.skipif(bool(missing), reason=f"needs version 1 of {', '.join(missing)}, to be written")


def groups_of(engine: int) -> list[Path]:
    """What an engine has made, which calls it after itself where nobody says otherwise."""
    return [group for base in FIRST.values() for group in base.glob(f"{PREFIX}{engine}")]


# --- version 1 -------------------------------------------------------------------------------


@needs("memory")
async def test_too_much_memory_is_the_end(script: Run) -> None:
    """Killed by the kernel: 137; less than the limit is no trouble, nor is the smallest there can be."""
    options = RunOptions(memory=32 * MIB)
    assert (await script("tail /dev/zero", options=options)).code == 137
    assert (await script("head -c 9000000 /dev/zero | tail | wc -c", options=options)).out == "9000000\n"
    assert (await script("echo small", options=RunOptions(memory=6 * MIB))).out == "small\n"
    assert groups_of(os.getpid()) == []


@needs("pids")
async def test_too_many_processes_cannot_be_made(script: Run) -> None:
    """Six that sleep, and no seventh."""
    text = "for i in 1 2 3 4 5 6 7 8 9; do sleep 9 & done; echo never"
    done = await script(text, options=RunOptions(pids_limit=7))
    assert (done.code, done.out) == (2, "")
    assert "fork" in done.err


@needs("cpu", "cpuset", "memory", "pids")
async def test_limits_are_in_the_containers_own_groups(script: Run) -> None:
    """Which are the roots of what it sees, and show each limit."""
    options = RunOptions(
        cpus=0.5, cpu_shares=500, cpuset_cpus="0", memory=64 * MIB, memory_reservation=32 * MIB, pids_limit=50
    )
    names = (
        "cpu/cpu.cfs_quota_us cpu/cpu.cfs_period_us cpu/cpu.shares cpuset/cpuset.cpus memory/memory.limit_in_bytes "
        "memory/memory.soft_limit_in_bytes pids/pids.max"
    )
    done = await script(f"cd /sys/fs/cgroup; cat {names}; cut -d: -f2- /proc/self/cgroup", options=options)
    values, own = done.lines[:7], done.lines[7:]
    assert values == ["50000", "100000", "500", "0", str(64 * MIB), str(32 * MIB), "50"]
    assert {line for line in own if line.split(":")[0] in ("cpu", "memory", "pids", "cpuset")} == {
        "cpu:/", "memory:/", "pids:/", "cpuset:/"
    }  # fmt: skip


@needs("cpu")
async def test_less_than_a_processor_is_less_work(script: Run) -> None:
    """The kernel holds it back, and counts that."""
    text = "timeout 0.5 sh -c 'while :; do :; done'; grep nr_throttled /sys/fs/cgroup/cpu/cpu.stat"
    done = await script(text, options=RunOptions(cpus=0.1))
    assert int(done.out.split()[1]) > 0


@needs("cpuset")
async def test_a_processor_that_is_not_there_is_said(run: Run) -> None:
    """With the kernel's reason, and no group is left."""
    with pytest.raises(SetupFailed, match=r"limiting cpuset.cpus to 4095: "):
        await run("/bin/true", options=RunOptions(cpuset_cpus="4095"))
    assert groups_of(os.getpid()) == []


@needs("pids")
@pytest.mark.root
def test_what_a_killed_engine_has_left_is_removed_by_the_next(
    layer: Path, tmp_path: Path, as_root: None
) -> None:
    """And what a living one has is left alone."""
    job: dict[str, Any] = {
        "layers": [str(layer)],
        "container": str(tmp_path / "c"),
        "command": ["/bin/sleep", "1000"],
    }
    job |= {"options": {"pids_limit": 9}, "stay": True}
    command = [sys.executable, str(HERE / "driver.py"), json.dumps(job)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as engine:
        assert engine.stdout is not None
        pid = int(engine.stdout.readline())
        pidfd = os.pidfd_open(pid)
        assert len(groups_of(engine.pid)) == 1
        cgroups.sweep(FIRST["pids"])
        assert len(groups_of(engine.pid)) == 1, "its engine lives"
        engine.kill()
        engine.wait()
    anyio.run(anyio.wait_readable, pidfd)
    os.close(pidfd)
    deadline = time.monotonic() + 5
    while groups_of(engine.pid) and time.monotonic() < deadline:
        cgroups.sweep(FIRST["pids"])
    assert groups_of(engine.pid) == []


@pytest.mark.root
@pytest.mark.skipif(not FIRST, reason="needs version 1")
@pytest.mark.parametrize(
    ("options", "what"),
    [({"memory": 64 * MIB}, "memory"), ({"pids_limit": 5}, "pids"), ({"cpus": 0.5}, "cpu")],
)
def test_an_ordinary_user_is_told_what_is_missing(caged: Caged, options: dict[str, Any], what: str) -> None:
    """A limit that cannot be set is refused; without one all is well."""
    done = caged("ordinary-user", "/bin/true", options=options)
    assert done["code"] == 125
    assert done["message"].startswith(f"limits of {what} cannot be set here: /sys/fs/cgroup/{what}")
    assert done["message"].endswith(": Permission denied")


# --- version 2 -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("resources", "controller", "values"),
    [
        ({"memory": {"limit": 10, "swap": 25, "reservation": 5}}, "memory", [("memory.max", "10"), ("memory.low", "5"), ("memory.swap.max", "15")]),
        ({"memory": {"limit": 10, "swap": -1}}, "memory", [("memory.max", "10"), ("memory.swap.max", "max")]),
        ({"cpu": {"quota": 50, "period": 100}}, "cpu", [("cpu.max", "50 100")]),
        ({"cpu": {"period": 100}}, "cpu", [("cpu.max", "max 100")]),
        ({"cpu": {"shares": 1024}}, "cpu", [("cpu.weight", "39")]),
        ({"cpu": {"shares": 2}}, "cpu", [("cpu.weight", "1")]),
        ({"cpu": {"shares": 262144}}, "cpu", [("cpu.weight", "10000")]),
        ({"cpu": {"cpus": "0-1"}}, "cpuset", [("cpuset.cpus", "0-1")]),
        ({"pids": {"limit": 7}}, "pids", [("pids.max", "7")]),
    ],
)  # fmt: skip
def test_the_same_limits_in_the_words_of_version_2(
    resources: dict[str, Any], controller: str, values: list[tuple[str, str]]
) -> None:
    """Swap is counted apart there, and shares are weights."""
    assert cgroups._second_version(controller, resources) == values


def group(path: Path, controllers: str, handed_on: str) -> Path:
    """A directory with the files of a group; that they are files is all that is known of it."""
    path.mkdir(parents=True)
    for name, content in (
        ("cgroup.controllers", controllers), ("cgroup.subtree_control", handed_on), ("cgroup.procs", "")
    ):  # fmt: skip
        (path / name).write_text(content)
    return path


def test_a_group_that_hands_a_controller_on_is_the_place(tmp_path: Path) -> None:
    """The own one if it does, else the one above, whose other children already have it."""
    above = group(tmp_path / "app", "cpu memory pids\n", "memory\n")
    own = group(above / "scope", "memory pids\n", "")
    assert cgroups._base_of_second(own, "memory") == own
    assert (own / "cgroup.subtree_control").read_text() == "+memory"
    assert cgroups._base_of_second(own, "cpu") == above
    with pytest.raises(
        LimitsUnavailable, match=r"limits of io cannot be set here: .* does not have the controller io"
    ):
        cgroups._base_of_second(own, "io")
    with pytest.raises(LimitsUnavailable, match="no control groups with this controller are mounted"):
        cgroups._base_of_second(None, "memory")
    with pytest.raises(LimitsUnavailable, match="version 2 of control groups has no devices"):
        cgroups._second_version("devices", {})


MOUNTS = """\
30 25 0:26 / /sys/fs/cgroup ro - tmpfs tmpfs ro
31 30 0:27 / /sys/fs/cgroup/unified rw shared:9 - cgroup2 cgroup2 rw
32 30 0:28 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct
33 30 0:29 /docker/a /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory
34 30 0:30 /other /sys/fs/cgroup/pids ro - cgroup cgroup rw,pids
"""
GROUPS = """\
4:memory:/docker/a/b
3:pids:/
2:cpu,cpuacct:/user
0::/user.slice/x
"""


def test_the_own_groups_are_found_in_every_kind_of_mount(tmp_path: Path) -> None:
    """Several controllers in one hierarchy, a mount that begins at a group, one that shows another's."""
    (tmp_path / "cgroup").write_text(GROUPS)
    (tmp_path / "mountinfo").write_text(MOUNTS)
    found = cgroups._hierarchies(tmp_path)
    assert found.second == Path("/sys/fs/cgroup/unified/user.slice/x")
    assert {name: str(path) for name, path in found.first.items()} == {
        "cpu": "/sys/fs/cgroup/cpu,cpuacct/user",
        "cpuacct": "/sys/fs/cgroup/cpu,cpuacct/user",
        "memory": "/sys/fs/cgroup/memory/b",
        "pids": "/sys/fs/cgroup/pids",
    }


async def test_without_limits_there_are_no_groups(layer: Path, tmp_path: Path, isolated: None) -> None:
    """They would cost time, and many may not make any."""
    async with driver.started([layer], tmp_path / "c", ["/bin/sleep", "1000"]):
        assert groups_of(os.getpid()) == []
