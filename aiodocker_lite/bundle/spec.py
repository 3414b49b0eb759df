"""The runtime spec of one container.

Nothing that an image says reaches the outside of its root by way of this: labels do not become
annotations (X21), the environment is built here and nowhere else (X19).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from aiodocker_lite.bundle.devices import Device, access_rules, all_devices, devices_of
from aiodocker_lite.bundle.limits import resources_of, rlimits_of, sysctls_of
from aiodocker_lite.bundle.mounts import MASKED, READ_ONLY, IdMap, mappings, mounts_of, thermal_throttles
from aiodocker_lite.bundle.process import (
    chosen_domain,
    chosen_hostname,
    merge_command,
    merge_environment,
    user_of,
    working_directory,
)
from aiodocker_lite.bundle.rights import chosen_capabilities, hides_system_paths, security_of
from aiodocker_lite.errors import InvalidOption
from aiodocker_lite.manifest import ImageConfig
from aiodocker_lite.options import INIT, STOP_SIGNAL, RunOptions, known_signal

_OOM_SCORES = range(-1000, 1001)


def build_spec(
    config: ImageConfig,
    command: Sequence[str],
    options: RunOptions,
    *,
    rootfs: Path,
    hostname: str,
    files: Mapping[str, Path] | None = None,
    volumes: Mapping[str, Path] | None = None,
    name: str = "",
    terminal: bool = False,
    network: Sequence[Mapping[str, str]] = (),
    uid_map: IdMap = (),
    gid_map: IdMap = (),
) -> dict[str, Any]:
    """The runtime spec of one container.

    `hostname` is used where the options name none; `files` are bound over the image's, such as
    ``/etc/hosts``; `volumes` are the directories of volumes by their targets; `name` is what its
    control groups are called; `network` has namespaces other than the container's usual. With maps there is a user namespace. `process.user` holds the user as
    text under ``username``, and root's numbers until somebody has looked into the image's passwd.
    Raises InvalidOption, NoCommand, InvalidManifest.
    """
    annotations = {
        STOP_SIGNAL: options.stop_signal or known_signal(config.defaults.stop_signal),
        INIT: options.init and "1",
    }
    chosen = chosen_capabilities(options, in_user_namespace=bool(uid_map))
    devices = _devices(options, in_user_namespace=bool(uid_map))
    spec: dict[str, Any] = {
        "ociVersion": "1.0.2",
        "root": {"path": str(rootfs), "readonly": options.read_only},
        "process": _process(config, command, options, chosen, hostname, terminal),
        "mounts": mounts_of(
            options,
            files or {},
            volumes or {},
            devices if uid_map else (),
            uid_map,
            gid_map,
            has_network=bool(network),
        ),
        "linux": _linux(options, name, chosen, devices, network, uid_map, gid_map),
        "annotations": {key: value for key, value in annotations.items() if value},
    }
    if options.uts != "host":
        spec["hostname"] = chosen_hostname(options, hostname)
        if domain := chosen_domain(options):
            spec["domainname"] = domain
    if not spec["annotations"]:
        del spec["annotations"]
    return spec


def _process(
    config: ImageConfig,
    command: Sequence[str],
    options: RunOptions,
    chosen: Iterable[str],
    hostname: str,
    terminal: bool,
) -> dict[str, Any]:
    capabilities = list(chosen)
    process = {
        "terminal": terminal,
        "user": {"uid": 0, "gid": 0, "username": user_of(config.defaults, options)},
        "args": merge_command(config.defaults, command, options),
        "env": merge_environment(
            config.defaults, options, hostname=chosen_hostname(options, hostname), terminal=terminal
        ),
        "cwd": working_directory(config.defaults, options),
        "capabilities": {
            "bounding": capabilities,
            "effective": capabilities,
            "permitted": capabilities,
            "inheritable": [],
            "ambient": [],
        },
        "noNewPrivileges": security_of(options, capabilities)[0],
    }
    if rlimits := rlimits_of(options):
        process["rlimits"] = rlimits
    if options.oom_score_adj is not None:
        if options.oom_score_adj not in _OOM_SCORES:
            raise InvalidOption("--oom-score-adj", "it can be from -1000 to 1000")
        process["oomScoreAdj"] = options.oom_score_adj
    return process


def _devices(options: RunOptions, *, in_user_namespace: bool) -> list[Device]:
    devices = [*(all_devices() if options.privileged else ()), *devices_of(options.devices)]
    for device in devices:
        if in_user_namespace and device.access != "rwm":
            reason = f"only root can forbid a part of it, as '{device.access}' would for {device.source}"
            raise InvalidOption("--device", reason)
    return list({device.node["path"]: device for device in devices}.values())


def _linux(
    options: RunOptions,
    name: str,
    chosen: Iterable[str],
    devices: list[Device],
    network: Sequence[Mapping[str, str]],
    uid_map: IdMap,
    gid_map: IdMap,
) -> dict[str, Any]:
    hides = hides_system_paths(options)
    rules = [{"allow": True, "access": "rwm"}] if options.privileged else access_rules(devices)
    linux: dict[str, Any] = {
        "namespaces": _namespaces(options),
        "maskedPaths": [*MASKED, *thermal_throttles()] if hides else [],
        "readonlyPaths": list(READ_ONLY) if hides else [],
        "resources": {**resources_of(options), "devices": rules},
    }
    if uid_map:
        linux["namespaces"].insert(0, {"type": "user"})
    others = {space["type"]: dict(space) for space in (*linux["namespaces"], *network)}
    linux["namespaces"] = list(others.values())
    if uid_map:
        linux["uidMappings"] = mappings(uid_map)
        linux["gidMappings"] = mappings(gid_map)
    if devices and not uid_map:
        linux["devices"] = [device.node for device in devices]
    if sysctls := sysctls_of(options, has_network="network" in others):
        linux["sysctl"] = sysctls
    if seccomp := security_of(options, chosen)[1]:
        linux["seccomp"] = seccomp
    if name:
        linux["cgroupsPath"] = f"/{name}"
    return linux


def _namespaces(options: RunOptions) -> list[dict[str, str]]:
    kinds = ["mount", "pid", "uts", "ipc", "cgroup"]
    if options.pid not in (None, "", "private"):
        reason = "its processes are always its own, so that none of them can outlive it"
        raise InvalidOption("--pid", f"a container cannot have '{options.pid}': {reason}")
    for option, kind, given in (("--uts", "uts", options.uts), ("--ipc", "ipc", options.ipc)):
        if given == "host":
            kinds.remove(kind)
        elif given not in (None, "", "private") and (kind, given) != ("ipc", "shareable"):
            raise InvalidOption(option, f"'{given}' is neither host nor private")
    if options.uts == "host" and (options.hostname or options.domainname):
        raise InvalidOption("--uts", "with the host's name, no other can be given")
    return [{"type": kind} for kind in kinds]
