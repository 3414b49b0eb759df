"""Limits by control groups, from the engine's side: v1 and v2, root's and delegated ones.

A container has a group below that of the engine, made before its process starts and removed after
its end. It is locked (flock) as long as its engine lives; one that nobody has locked is a
leftover, and removed by the next that comes by.
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from aiodocker_lite.errors import LimitsUnavailable, SetupFailed

PREFIX = "aiodocker-lite-"

Settings = Mapping[str, list[tuple[str, str]]]
"""For each controller, files and what is to be written into them, in this order."""


@dataclass(frozen=True, slots=True)
class _Hierarchies:
    """Where this process's own groups are."""

    first: Mapping[str, Path]
    """Of version 1, by controller."""
    second: Path | None
    """Of version 2."""


@contextmanager
def limited(spec: dict[str, Any]) -> Iterator[list[str]]:
    """Make the groups that the resources of a runtime spec need; yields the files by which a process joins them.

    Raises LimitsUnavailable, SetupFailed.
    """
    wanted = _wanted(spec)
    if not wanted:
        yield []
        return
    found = _hierarchies()
    name = spec["linux"].get("cgroupsPath", f"/{PREFIX}{os.getpid()}").rpartition("/")[2]
    with ExitStack() as stack:
        places: dict[Path, dict[str, str]] = {}
        for controller in wanted:
            base = found.first.get(controller)
            if base is not None:
                values = _first_version(controller, spec["linux"]["resources"], base)
            else:
                base = _base_of_second(found.second, controller)
                values = _second_version(controller, spec["linux"]["resources"])
            places.setdefault(base, {})
            for file, value in values:
                # Several values for one file are several writes.
                places[base][file] = f"{places[base][file]}\n{value}" if file in places[base] else value
        for base, files in places.items():
            sweep(base)
            group = stack.enter_context(_group(base / name, ", ".join(wanted)))
            for file, value in files.items():
                _write(group / file, value)
        yield [str(base / name / "cgroup.procs") for base in places]


@dataclass(frozen=True, slots=True)
class Available:
    """What there is of control groups."""

    version: str
    """``1`` or ``2``, whichever has controllers; empty if neither has."""
    controllers: tuple[str, ...]
    writable: bool
    """This process may make groups below its own."""


def available() -> Available:
    """What there is of control groups for this process."""
    found = _hierarchies()
    first = tuple(sorted(name for name in found.first if not name.startswith("name=")))
    if first or found.second is None:
        bases = [found.first.get(name) for name in ("memory", "pids")]
        return Available(
            "1" if first else "", first, all(base and os.access(base, os.W_OK) for base in bases)
        )
    with suppress(OSError):
        controllers = tuple(sorted((found.second / "cgroup.controllers").read_text().split()))
        return Available("2", controllers, os.access(found.second, os.W_OK))
    return Available("", (), writable=False)


def groups_of(pid: int) -> dict[str, Path]:
    """The groups that were made for the container of this process, by controller."""
    found = _hierarchies(groups=Path(f"/proc/{pid}/cgroup"))
    every = dict(found.first)
    if found.second is not None:
        for controller in ("memory", "cpu", "pids"):
            every.setdefault(controller, found.second)
    return {controller: group for controller, group in every.items() if group.name.startswith(PREFIX)}


def was_out_of_memory(spec: dict[str, Any]) -> bool:
    """The kernel killed a process of this container, whose groups are still there, for its limit of memory."""
    if "memory" not in spec["linux"].get("resources", {}):
        return False
    found = _hierarchies()
    bases = (found.first.get("memory"), found.second, found.second and found.second.parent)
    name = spec["linux"]["cgroupsPath"].rpartition("/")[2]
    for base in filter(None, bases):
        for file in ("memory.oom_control", "memory.events"):
            with suppress(OSError):
                lines = (base / name / file).read_text().splitlines()
                return any(line.startswith("oom_kill ") and line != "oom_kill 0" for line in lines)
    return False


def sweep(base: Path) -> None:
    """Remove the groups in this directory whose engines were killed."""
    for group in base.glob(f"{PREFIX}*"):
        with suppress(OSError):  # it has gone, or processes in it are just dying, or somebody holds it
            fd = os.open(group, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                group.rmdir()
            finally:
                os.close(fd)


@cache
def sweep_all() -> None:
    """The same wherever this process would make groups; once in its life."""
    found = _hierarchies()
    second = (found.second, found.second.parent) if found.second else ()
    for base in {*found.first.values(), *second}:
        sweep(base)


@contextmanager
def _group(path: Path, what: str) -> Iterator[Path]:
    """A new group, locked while the block runs and removed after it."""
    fd = -1
    while fd < 0:
        try:
            path.mkdir(exist_ok=True)
            fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except FileNotFoundError:  # it was taken for a leftover, in the moment before it was locked
            continue
        except OSError as error:
            raise LimitsUnavailable(what, f"{path}: {error.strerror}") from error
    try:
        yield path
    finally:
        with suppress(OSError):  # what still has processes is removed by whoever comes next
            path.rmdir()
        os.close(fd)


def _write(file: Path, value: str) -> None:
    try:
        for line in value.split("\n"):
            file.write_text(line)
    except OSError as error:
        raise SetupFailed(f"limiting {file.name} to {value}", error.strerror or str(error)) from error


# --- what is wanted ------------------------------------------------------------------------


def _wanted(spec: dict[str, Any]) -> list[str]:
    """The controllers that are needed."""
    resources = spec["linux"].get("resources", {})
    cpu = resources.get("cpu", {})
    needed = {
        "memory": "memory" in resources,
        "cpu": any(name in cpu for name in ("shares", "quota", "period")),
        "cpuset": any(name in cpu for name in ("cpus", "mems")),
        "pids": "pids" in resources,
        "devices": _needs_devices(spec),
    }
    return [controller for controller, is_needed in needed.items() if is_needed]


def _needs_devices(spec: dict[str, Any]) -> bool:
    """Without CAP_MKNOD there are no devices but those that are given; in a user namespace neither."""
    rules = spec["linux"].get("resources", {}).get("devices") or [{"allow": True}]
    if rules[0]["allow"] or "uidMappings" in spec["linux"]:
        return False
    is_partial = any("minor" in rule and rule["access"] != "rwm" for rule in rules)
    return is_partial or "CAP_MKNOD" in spec["process"]["capabilities"]["bounding"]


def _first_version(controller: str, resources: dict[str, Any], base: Path) -> list[tuple[str, str]]:
    cpu = resources.get("cpu", {})
    match controller:
        case "memory":
            return _first_memory(resources["memory"], base)
        case "cpu":
            names = (("shares", "shares"), ("period", "cfs_period_us"), ("quota", "cfs_quota_us"))
            return [(f"cpu.{file}", str(cpu[name])) for name, file in names if name in cpu]
        case "cpuset":
            # A new group has neither, and nothing may enter it then.
            return [
                (f"cpuset.{name}", cpu.get(name) or (base / f"cpuset.{name}").read_text().strip())
                for name in ("cpus", "mems")
            ]
        case "pids":
            return [("pids.max", str(resources["pids"]["limit"]))]
        case _:
            return [
                (f"devices.{'allow' if rule['allow'] else 'deny'}", _device_rule(rule))
                for rule in resources["devices"]
            ]


def _first_memory(memory: dict[str, int], base: Path) -> list[tuple[str, str]]:
    found = []
    if "limit" in memory:
        found.append(("memory.limit_in_bytes", str(memory["limit"])))
    if "reservation" in memory:
        found.append(("memory.soft_limit_in_bytes", str(memory["reservation"])))
    if "swap" in memory:
        if (base / "memory.memsw.limit_in_bytes").exists():
            found.append(("memory.memsw.limit_in_bytes", str(memory["swap"])))
        elif memory["swap"] not in (-1, 2 * memory.get("limit", 0)):  # the default, where it cannot be had
            raise LimitsUnavailable("swap", "the kernel does not account for it (swapaccount=1)")
    return found


def _device_rule(rule: dict[str, Any]) -> str:
    if "type" not in rule:
        return "a"
    return f"{rule['type']} {rule.get('major', '*')}:{rule.get('minor', '*')} {rule['access']}"


def _second_version(controller: str, resources: dict[str, Any]) -> list[tuple[str, str]]:
    cpu, memory = resources.get("cpu", {}), resources.get("memory", {})
    match controller:
        case "memory":
            found = {"memory.max": memory.get("limit"), "memory.low": memory.get("reservation")}
            if "swap" in memory:
                # Here it is swap alone, and there is none to be limited where the kernel has none.
                more = memory["swap"] - memory["limit"]
                found["memory.swap.max"] = "max" if memory["swap"] == -1 else more
            return [(file, str(value)) for file, value in found.items() if value is not None]
        case "cpu":
            values = []
            if "shares" in cpu:
                # From 2..262144 to 1..10000, as all runtimes do.
                weight = 1 + (max(cpu["shares"], 2) - 2) * 9999 // 262142
                values.append(("cpu.weight", str(min(weight, 10000))))
            if "quota" in cpu or "period" in cpu:
                quota = cpu.get("quota", 0)
                values.append(("cpu.max", f"{quota if quota > 0 else 'max'} {cpu.get('period', 100_000)}"))
            return values
        case "cpuset":
            return [(f"cpuset.{name}", cpu[name]) for name in ("cpus", "mems") if name in cpu]
        case "pids":
            return [("pids.max", str(resources["pids"]["limit"]))]
        case _:
            reason = "version 2 of control groups has no devices: CAP_MKNOD and a part of rwm are only for version 1"
            raise LimitsUnavailable("devices", reason)


# --- where -----------------------------------------------------------------------------------


def _hierarchies(proc: Path = Path("/proc/self"), groups: Path | None = None) -> _Hierarchies:
    """Where the groups of this process are mounted, or those of another in the same mounts."""
    own: dict[str, str] = {}
    with suppress(OSError):
        for line in (groups or proc / "cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            own.update(dict.fromkeys(controllers.split(","), path))
    first: dict[str, Path] = {}
    second = None
    for line in (proc / "mountinfo").read_text().splitlines():
        before, _, behind = line.partition(" - ")
        kind, _, options = behind.split(" ", 2)
        root, place = before.split()[3:5]
        if kind == "cgroup2" and "" in own:
            second = _below(place, root, own[""])
        elif kind == "cgroup":
            for controller in options.split(","):
                if controller in own:
                    first[controller] = _below(place, root, own[controller])
    return _Hierarchies(first, second)


def _below(place: str, root: str, path: str) -> Path:
    """Where a group is, in a mount of a hierarchy that may begin at a group itself."""
    inside = path.removeprefix(root.rstrip("/")) if path.startswith(root) else "/"
    return Path(place) / inside.lstrip("/")


def _base_of_second(own: Path | None, controller: str) -> Path:
    """The group, of this process or the one above, below which this controller can be had.

    A group with processes cannot hand controllers on, so it is mostly the one above.
    Raises LimitsUnavailable.
    """
    if own is None:
        raise LimitsUnavailable(controller, "no control groups with this controller are mounted")
    reasons = []
    for base in (own, own.parent):
        try:
            if controller not in (base / "cgroup.controllers").read_text().split():
                reasons.append(f"{base} does not have the controller {controller}")
                continue
            if controller not in (base / "cgroup.subtree_control").read_text().split():
                (base / "cgroup.subtree_control").write_text(f"+{controller}")
        except OSError as error:
            reasons.append(f"{base} does not hand on the controller {controller} ({_why(error)})")
            continue
        if os.access(base, os.W_OK) and os.access(base / "cgroup.procs", os.W_OK):
            return base
        reasons.append(f"{base} cannot be written")
    raise LimitsUnavailable(controller, "; ".join(dict.fromkeys(reasons)))


def _why(error: OSError) -> str:
    if error.errno == errno.EBUSY:
        return "it has processes of its own"
    return error.strerror or str(error)
