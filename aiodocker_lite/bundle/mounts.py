"""What a container sees: kernel file systems, generated files, and what the user puts there."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from aiodocker_lite.bundle.devices import Device
from aiodocker_lite.errors import InvalidOption
from aiodocker_lite.mount import Mount, place
from aiodocker_lite.options import RunOptions

IdMap = Sequence[tuple[int, int, int]]
"""Rows of /proc/PID/uid_map: first id inside, first id outside, how many."""

MASKED = (
    *(
        f"/proc/{name}"
        for name in (
            "acpi", "asound", "interrupts", "kcore", "keys", "latency_stats", "sched_debug", "scsi", "timer_list",
            "timer_stats",
        )
    ),
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
)  # fmt: skip
READ_ONLY = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")

_QUIET = ["nosuid", "noexec", "nodev"]
_TTY_GROUP = 5
_SHM_SIZE = 64 << 20


def mounts_of(
    options: RunOptions,
    files: Mapping[str, Path],
    volumes: Mapping[str, Path],
    devices: Iterable[Device],
    uid_map: IdMap,
    gid_map: IdMap,
    *,
    has_network: bool,
) -> list[dict[str, Any]]:
    """Kernel file systems, generated files, then what the user wants: a target's parent before it.

    `volumes` says where each volume is, by its target; `devices` are bound, where nodes cannot be made.
    Raises InvalidOption.
    """
    kernel = _kernel_mounts(options, bool(uid_map), gid_map, has_network=has_network)
    mounts = {mount["destination"]: mount for mount in kernel}
    for target, source in files.items():
        mounts[target] = _bind(target, str(source), ["rbind", "rprivate", "nosuid", "nodev"])
    for device in devices:
        target = device.node["path"]
        mounts[target] = _bind(target, device.source, ["bind", "rprivate", "nosuid", "noexec"])
    targets: set[str] = set()
    for mount in options.mounts:
        target = place(mount.target)
        option = "--tmpfs" if mount.kind == "tmpfs" else "--volume"
        if target == "/proc" or target.startswith("/proc/"):
            raise InvalidOption(option, f"nothing may be mounted at '{mount.target}', inside of /proc")
        if target in targets:
            raise InvalidOption(option, f"two mounts have the target '{mount.target}'")
        targets.add(target)
    chosen = {place(mount.target): mount for mount in options.mounts}
    for target, path in volumes.items():
        chosen.setdefault(target, Mount(target, str(path)))
    for target, mount in chosen.items():
        mounts.pop(target, None)
        mounts[target] = _chosen_mount(mount, target, volumes)
    # The sort is stable: what has the same depth keeps its order.
    return sorted(mounts.values(), key=lambda mount: mount["destination"].count("/"))


def _chosen_mount(mount: Mount, target: str, volumes: Mapping[str, Path]) -> dict[str, Any]:
    access = "ro" if mount.read_only else "rw"
    if mount.kind == "tmpfs":
        return _mount(target, "tmpfs", _tmpfs_options(mount.options, access))
    source = str(volumes[target]) if mount.kind == "volume" else mount.source or ""
    # A device that is given on purpose must work as one; anywhere else devices are not followed.
    is_device = source == "/dev" or source.startswith("/dev/")
    guard = ["nosuid"] if is_device else ["nosuid", "nodev"]
    return _bind(target, source, ["rbind", "rprivate", *guard, access])


def _tmpfs_options(given: Iterable[str], access: str) -> list[str]:
    """Docker's defaults, but for what is said otherwise; the last word counts."""
    found = {"suid": "nosuid", "exec": "noexec", "dev": "nodev", "mode": "mode=1777", "access": access}
    for option in given:
        name = option.partition("=")[0]
        if option not in ("ro", "rw"):
            found[name.removeprefix("no") if "=" not in option else name] = option
    return [option for option in found.values() if option not in ("suid", "exec", "dev")]


def _kernel_mounts(
    options: RunOptions, in_user_namespace: bool, gid_map: IdMap, *, has_network: bool
) -> Iterable[dict[str, Any]]:
    access = "rw" if options.privileged else "ro"
    yield _mount("/proc", "proc", _QUIET)
    yield _mount("/dev", "tmpfs", ["nosuid", "strictatime", "mode=755", "size=65536k"])
    tty = [f"gid={_TTY_GROUP}"] if not in_user_namespace or _is_mapped(_TTY_GROUP, gid_map) else []
    yield _mount(
        "/dev/pts", "devpts", ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", *tty]
    )
    if options.ipc == "host":
        yield _bind("/dev/shm", "/dev/shm", ["rbind", "rprivate", *_QUIET, "rw"])
        if Path("/dev/mqueue").exists():
            yield _bind("/dev/mqueue", "/dev/mqueue", ["rbind", "rprivate", *_QUIET, "rw"])
    else:
        size = f"size={options.shm_size or _SHM_SIZE}"
        yield _mount("/dev/shm", "tmpfs", [*_QUIET, "mode=1777", size], "shm")
        yield _mount("/dev/mqueue", "mqueue", _QUIET)
    if in_user_namespace and not has_network:
        # The kernel gives a new sysfs only to the owner of the network namespace.
        yield _bind("/sys", "/sys", ["rbind", "rprivate", *_QUIET, access])
    else:
        yield _mount("/sys", "sysfs", [*_QUIET, access])
    yield _mount("/sys/fs/cgroup", "cgroup", [*_QUIET, "relatime", access])


def _mount(target: str, kind: str, options: Sequence[str], source: str | None = None) -> dict[str, Any]:
    return {"destination": target, "type": kind, "source": source or kind, "options": list(options)}


def _bind(target: str, source: str, options: Sequence[str]) -> dict[str, Any]:
    return _mount(target, "bind", options, source)


def mappings(rows: IdMap) -> list[dict[str, int]]:
    """Rows of an id map as the spec has them."""
    return [{"containerID": inside, "hostID": outside, "size": size} for inside, outside, size in rows]


def _is_mapped(number: int, rows: IdMap) -> bool:
    return any(inside <= number < inside + size for inside, _, size in rows)


def thermal_throttles() -> Iterable[str]:
    """What of the processors' sensors is to be hidden."""
    # GHSA-6fw5-f8r9-fgfm; one that is not there is passed over.
    for processor in range(os.cpu_count() or 1):
        yield f"/sys/devices/system/cpu/cpu{processor}/thermal_throttle"
