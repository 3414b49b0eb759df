"""Image configuration and options -> OCI runtime spec (runtime-spec 1.0, config.md). Pure.

Nothing that an image says reaches the outside of its root by way of this: labels do not become
annotations (X21), the environment is built here and nowhere else (X19).
"""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from aiodocker_lite.errors import InvalidManifest, InvalidOption, NoCommand
from aiodocker_lite.manifest import ImageConfig, RunDefaults
from aiodocker_lite.options import Mount, RunOptions

IdMap = Sequence[tuple[int, int, int]]
"""Rows of /proc/PID/uid_map: first id inside, first id outside, how many."""

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

CAPABILITIES = tuple(
    f"CAP_{name}"
    for name in (
        "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "NET_BIND_SERVICE", "SETFCAP", "SETGID", "SETPCAP",
        "SETUID", "SYS_CHROOT",
    )
)  # fmt: skip
"""What root in a container may do: podman's list, shorter than docker's (X07)."""

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

_HOSTNAME = re.compile(r"[a-zA-Z0-9]([a-zA-Z0-9.-]{0,62}[a-zA-Z0-9])?")
_QUIET = ["nosuid", "noexec", "nodev"]
_TTY_GROUP = 5


def build_spec(
    config: ImageConfig,
    command: Sequence[str],
    options: RunOptions,
    *,
    rootfs: Path,
    hostname: str,
    files: Mapping[str, Path] | None = None,
    terminal: bool = False,
    uid_map: IdMap = (),
    gid_map: IdMap = (),
) -> dict[str, Any]:
    """The runtime spec of one container.

    `hostname` is used where the options name none; `files` are bound over the image's, such as
    ``/etc/hosts``. With maps there is a user namespace. `process.user` holds the user as text
    under ``username``, and root's numbers until somebody has looked into the image's passwd.
    Raises InvalidOption, NoCommand, InvalidManifest.
    """
    name = chosen_hostname(options, hostname)
    linux: dict[str, Any] = {
        "namespaces": [{"type": kind} for kind in ("mount", "pid", "uts", "ipc", "cgroup")],
        "maskedPaths": [*MASKED, *_thermal_throttles()],
        "readonlyPaths": list(READ_ONLY),
    }
    if uid_map:
        linux["namespaces"].insert(0, {"type": "user"})
        linux["uidMappings"] = _mappings(uid_map)
        linux["gidMappings"] = _mappings(gid_map)
    return {
        "ociVersion": "1.0.2",
        "hostname": name,
        "root": {"path": str(rootfs), "readonly": False},
        "process": {
            "terminal": terminal,
            "user": {"uid": 0, "gid": 0, "username": _user(config.defaults, options)},
            "args": merge_command(config.defaults, command, options),
            "env": merge_environment(config.defaults, options, hostname=name, terminal=terminal),
            "cwd": _working_directory(config.defaults, options),
            "capabilities": {
                "bounding": list(CAPABILITIES),
                "effective": list(CAPABILITIES),
                "permitted": list(CAPABILITIES),
                "inheritable": [],
                "ambient": [],
            },
            "noNewPrivileges": True,
        },
        "mounts": _mounts(options.mounts, files or {}, uid_map, gid_map),
        "linux": linux,
    }


def chosen_hostname(options: RunOptions, default: str) -> str:
    """The host name of a container. Raises InvalidOption for what cannot be one."""
    if options.hostname is None:
        return default
    if not _HOSTNAME.fullmatch(options.hostname):
        raise InvalidOption("--hostname", f"'{options.hostname}' is not a host name")
    return options.hostname


def merge_command(image: RunDefaults, command: Sequence[str], options: RunOptions) -> list[str]:
    """Entrypoint and command as docker merges them: another entrypoint drops the image's command.

    Raises NoCommand, InvalidManifest.
    """
    if options.entrypoint is not None:
        merged = [*_entrypoint(options.entrypoint), *command]
    else:
        merged = [*_entrypoint(image.entrypoint), *(command or image.command)]
    if not merged or not merged[0]:
        raise NoCommand
    _refuse_nul("the command", merged)
    return merged


def _entrypoint(words: Sequence[str]) -> Sequence[str]:
    # One empty word is how people write "none": --entrypoint "".
    return () if tuple(words) == ("",) else words


def merge_environment(image: RunDefaults, options: RunOptions, *, hostname: str, terminal: bool) -> list[str]:
    """The whole environment but HOME, which only the image's passwd knows; the last of a name wins.

    Raises InvalidOption, InvalidManifest.
    """
    found = {"PATH": DEFAULT_PATH, "HOSTNAME": hostname}
    if terminal:
        found["TERM"] = "xterm"
    for entry in image.env:
        name, assigned, value = entry.partition("=")
        if assigned and name:
            found[name] = value
        else:
            found.pop(entry, None)  # docker: a bare name takes the variable away
    _refuse_nul("the environment", (*found, *found.values()))
    for name, value in options.env.items():
        if not name or "=" in name or "\0" in name + value:
            raise InvalidOption("--env", f"'{name}' cannot be the name of a variable, or its value has a NUL")
        found[name] = value
    return [f"{name}={value}" for name, value in found.items()]


def _working_directory(image: RunDefaults, options: RunOptions) -> str:
    if options.workdir is not None and not options.workdir.startswith("/"):
        raise InvalidOption("--workdir", f"'{options.workdir}' is not an absolute path")
    chosen = image.working_dir if options.workdir is None else options.workdir
    _refuse_nul("the working directory", [chosen])
    return posixpath.normpath(posixpath.join("/", chosen)).replace("//", "/")


def _user(image: RunDefaults, options: RunOptions) -> str:
    return image.user if options.user is None else options.user


def _refuse_nul(what: str, texts: Iterable[str]) -> None:
    if any("\0" in text for text in texts):
        raise InvalidManifest(what, "it has a NUL character")


# --- mounts ----------------------------------------------------------------------------------


def _mounts(
    chosen: Sequence[Mount], files: Mapping[str, Path], uid_map: IdMap, gid_map: IdMap
) -> list[dict[str, Any]]:
    """Kernel file systems, generated files, then what the user wants: a target's parent before it."""
    mounts = {mount["destination"]: mount for mount in _kernel_mounts(bool(uid_map), gid_map)}
    for target, source in files.items():
        mounts[target] = _bind(target, str(source), ["rbind", "rprivate", "nosuid", "nodev"])
    for mount in chosen:
        target = posixpath.normpath("/" + mount.target.lstrip("/"))
        if target == "/proc" or target.startswith("/proc/"):
            raise InvalidOption("--volume", f"nothing may be mounted at '{mount.target}', inside of /proc")
        if target in (other.target for other in chosen if other is not mount):
            raise InvalidOption("--volume", f"two mounts have the target '{mount.target}'")
        mounts.pop(target, None)
        mounts[target] = _chosen_mount(mount, target)
    # The sort is stable: what has the same depth keeps its order.
    return sorted(mounts.values(), key=lambda mount: mount["destination"].count("/"))


def _chosen_mount(mount: Mount, target: str) -> dict[str, Any]:
    access = ["ro"] if mount.read_only else ["rw"]
    if mount.source is None:
        return _mount(target, "tmpfs", [*_QUIET, "mode=1777", *access])
    # A device that is given on purpose must work as one; anywhere else devices are not followed.
    is_device = mount.source == "/dev" or mount.source.startswith("/dev/")
    guard = ["nosuid"] if is_device else ["nosuid", "nodev"]
    return _bind(target, mount.source, ["rbind", "rprivate", *guard, *access])


def _kernel_mounts(in_user_namespace: bool, gid_map: IdMap) -> Iterable[dict[str, Any]]:
    yield _mount("/proc", "proc", _QUIET)
    yield _mount("/dev", "tmpfs", ["nosuid", "strictatime", "mode=755", "size=65536k"])
    tty = [f"gid={_TTY_GROUP}"] if not in_user_namespace or _is_mapped(_TTY_GROUP, gid_map) else []
    yield _mount(
        "/dev/pts", "devpts", ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", *tty]
    )
    yield _mount("/dev/shm", "tmpfs", [*_QUIET, "mode=1777", "size=65536k"], "shm")
    yield _mount("/dev/mqueue", "mqueue", _QUIET)
    if in_user_namespace:
        # The kernel gives a new sysfs only to the owner of the network namespace.
        yield _bind("/sys", "/sys", ["rbind", "rprivate", *_QUIET, "ro"])
    else:
        yield _mount("/sys", "sysfs", [*_QUIET, "ro"])
    yield _mount("/sys/fs/cgroup", "cgroup", [*_QUIET, "relatime", "ro"])


def _mount(target: str, kind: str, options: Sequence[str], source: str | None = None) -> dict[str, Any]:
    return {"destination": target, "type": kind, "source": source or kind, "options": list(options)}


def _bind(target: str, source: str, options: Sequence[str]) -> dict[str, Any]:
    return _mount(target, "bind", options, source)


def _mappings(rows: IdMap) -> list[dict[str, int]]:
    return [{"containerID": inside, "hostID": outside, "size": size} for inside, outside, size in rows]


def _is_mapped(number: int, rows: IdMap) -> bool:
    return any(inside <= number < inside + size for inside, _, size in rows)


def _thermal_throttles() -> Iterable[str]:
    # GHSA-6fw5-f8r9-fgfm; one that is not there is passed over.
    for processor in range(os.cpu_count() or 1):
        yield f"/sys/devices/system/cpu/cpu{processor}/thermal_throttle"
