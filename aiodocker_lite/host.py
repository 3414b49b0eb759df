"""What this machine gives to containers: facts for `info`, and for `doctor` what is missing and how it is mended.

Found by trying where that is possible, and never changed.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiodocker_lite import subids
from aiodocker_lite.errors import InvalidOption, RuntimeUnavailable
from aiodocker_lite.network import choice
from aiodocker_lite.programs import find_program
from aiodocker_lite.runtime import cgroups, oci
from aiodocker_lite.runtime.ladder import Ladder, Rung
from aiodocker_lite.settings import RUNTIME

_TUN = Path("/dev/net/tun")
_RANGE = "100000-165535"


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is missing here, or forbidden."""

    what: str
    effect: str
    """What does not work because of it."""
    mend: str
    """The command that mends it."""


def describe(ladder: Ladder, root: Path, version: str, runtime: str) -> dict[str, Any]:
    """The facts, under docker's names where it has them; `runtime` is what runs when nothing else is said."""
    backends = {one.kind: one for one in oci.found()}
    maps, groups = ladder.subordinate, cgroups.available()
    return {
        "ServerVersion": version,
        "DockerRootDir": str(root),
        "BackingFilesystem": _file_system_of(root),
        "Driver": "overlay" if ladder.overlay else "copy",
        "Isolation": str(ladder.rung),
        "InContainer": ladder.in_container,
        "CgroupVersion": groups.version,
        "CgroupControllers": list(groups.controllers),
        "CgroupAccess": ladder.has_cgroup_access,
        "Seccomp": _has_seccomp(),
        "Runtimes": {
            oci.NATIVE: {"path": "", "version": version},
            **{kind: {"path": one.program, "version": one.version} for kind, one in backends.items()},
        },
        "DefaultRuntime": runtime,
        "Networks": ["host", "none", *choice.available(privileged=not ladder.uid_map)],
        "SubordinateUIDs": subids.count_of(maps[0]) - 1 if maps else 0,
        "SubordinateGIDs": subids.count_of(maps[1]) - 1 if maps else 0,
        "KernelVersion": os.uname().release,
        "Architecture": os.uname().machine,
        "Warnings": [*ladder.warnings, *([ladder.cause] if ladder.cause and not ladder.is_isolated else [])],
    }


def examine(ladder: Ladder, runtime: str) -> list[Finding]:
    """All that is missing, the most important first; `runtime` is the default one."""
    return list(_findings(ladder, runtime))


def _findings(ladder: Ladder, runtime: str) -> Iterator[Finding]:
    is_root = os.geteuid() == 0
    try:
        oci.find_backend(runtime)
    except (InvalidOption, RuntimeUnavailable) as error:
        yield Finding(
            f"the default runtime cannot be used: {error}",
            "every `run` without --runtime",
            f"apt-get install {runtime}" if runtime in oci.KINDS else f"unset {RUNTIME}",
        )
    if not ladder.is_isolated:
        yield Finding(
            f"namespaces are not permitted ({ladder.cause})",
            f"containers have the isolation '{ladder.rung}' only, and no volumes",
            _switch_of_namespaces(),
        )
    elif not ladder.overlay:
        yield Finding(
            "overlays cannot be mounted",
            "each container has a copy of its layers, which takes time and room",
            "modprobe overlay" if is_root else "use Linux 5.11 or newer, and a store on ext4, xfs or btrfs",
        )
    if not is_root:
        yield from _of_subordinate_ids(ladder)
    if not choice.available(privileged=not ladder.uid_map):
        yield Finding(
            "nothing is installed that connects a network of a container's own",
            "--network private and -p",
            f"apt-get install {'containernetworking-plugins iptables' if is_root else 'slirp4netns'}",
        )
    if not is_root and not _opens(_TUN):
        yield Finding(
            f"{_TUN} cannot be opened",
            "--network private and -p, which make a device with it",
            f"chmod 0666 {_TUN}" if _TUN.exists() else "modprobe tun",
        )
    if not ladder.has_cgroup_access:
        yield Finding(
            "control groups cannot be made below that of this process",
            "-m, --cpus, --pids-limit and other limits are refused",
            "run as a service: systemd-run --user --scope -p Delegate=yes aiodocker-lite run …",
        )
    if not _has_seccomp():
        yield Finding(
            "the kernel filters no system calls",
            "the default filter: --security-opt seccomp=unconfined is needed",
            "use a kernel with CONFIG_SECCOMP_FILTER",
        )


def _of_subordinate_ids(ladder: Ladder) -> Iterator[Finding]:
    effect = "only root exists in containers: -u, and images with files of several owners"
    missing = [name for name in ("newuidmap", "newgidmap") if find_program(name) is None]
    if missing:
        yield Finding(f"{' and '.join(missing)} cannot be found", effect, "apt-get install uidmap")
    elif ladder.subordinate is None and ladder.rung is Rung.USER_NAMESPACES:
        user = subids.granted()
        reason = "cannot be used" if user else "are not granted to this user"
        yield Finding(
            f"subordinate ids {reason} (/etc/subuid, /etc/subgid)",
            effect,
            f"usermod --add-subuids {_RANGE} --add-subgids {_RANGE} {_user_name()}"
            if not user
            else "chmod u+s /usr/bin/newuidmap /usr/bin/newgidmap",
        )


def _switch_of_namespaces() -> str:
    """The first switch of the kernel's that is off."""
    for name, value in (
        ("kernel.unprivileged_userns_clone", "1"),
        ("user.max_user_namespaces", "15000"),
        ("kernel.apparmor_restrict_unprivileged_userns", "0"),
    ):
        try:
            found = Path("/proc/sys", *name.split(".")).read_text().strip()
        except OSError:
            continue
        if (found == "0") == (value != "0"):
            return f"sysctl -w {name}={value}"
    return "run as root, or outside of the container that forbids it"


def _opens(path: Path) -> bool:
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CLOEXEC))
    except OSError:
        return False
    return True


def _user_name() -> str:
    import pwd

    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())


def _has_seccomp() -> bool:
    return Path("/proc/sys/kernel/seccomp/actions_avail").exists()


def _file_system_of(path: Path) -> str:
    """The type of what is mounted there, or where it will be."""
    place = next(place for place in (path, *path.parents) if place.exists())
    device = place.stat().st_dev
    number = f"{os.major(device)}:{os.minor(device)}"
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        before, _, behind = line.partition(" - ")
        if before.split()[2] == number:
            return behind.split()[0]
    return "unknown"
