"""The options of a container in the words of docker's HostConfig."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from aiodocker_lite.mount import Mount
from aiodocker_lite.options import RunOptions
from aiodocker_lite.ports import Port
from aiodocker_lite.restart import RestartPolicy
from aiodocker_lite.store.container import Container

_SHM = 64 << 20


def host_config(container: Container) -> dict[str, Any]:
    """What the machine gives to a container, with docker's keys; 0 is for what was not said, as in docker."""
    options, policy = container.options, RestartPolicy.parse(container.options.restart)
    return {
        "LogConfig": {"Type": "json-file", "Config": {}},
        "NetworkMode": container.network,
        "PortBindings": {port.inside: bound(options.publish, port) for port in options.publish},
        "PublishAllPorts": options.publish_all,
        "RestartPolicy": {"Name": policy.name, "MaximumRetryCount": policy.most},
        "AutoRemove": container.remove,
        **_mounts(options.mounts),
        **_rights(options),
        **_limits(options),
        "Dns": list(options.dns),
        "DnsOptions": list(options.dns_options),
        "DnsSearch": list(options.dns_search),
        "ExtraHosts": list(options.hosts) or None,
        "Runtime": options.runtime or "native",
        "IpcMode": options.ipc or "private",
        "PidMode": options.pid or "",
        "UTSMode": options.uts or "",
        "ShmSize": _SHM if options.shm_size is None else options.shm_size,
        "Sysctls": dict(options.sysctls),
        **({"Init": True} if options.init else {}),
    }


def bound(ports: Iterable[Port], wanted: Port) -> list[dict[str, str]]:
    """Where on the host a port of the container is."""
    return [
        {"HostIp": port.address, "HostPort": str(port.host or "")}
        for port in ports
        if port.inside == wanted.inside
    ]


def _mounts(mounts: Iterable[Mount]) -> dict[str, Any]:
    """In docker, `-v` is among the binds, and what `--mount` says is among the mounts."""
    binds, more, memory = [], [], {}
    for mount in mounts:
        if mount.kind == "tmpfs":
            memory[mount.target] = ",".join(mount.options)
        elif mount.source and (mount.create or mount.kind == "volume"):
            binds.append(f"{mount.source}:{mount.target}{':ro' if mount.read_only else ''}")
        elif mount.source:
            more.append(
                {
                    "Type": "bind",
                    "Source": mount.source,
                    "Target": mount.target,
                    **({"ReadOnly": True} if mount.read_only else {}),
                }
            )
    return {"Binds": binds or None, "Mounts": more, "Tmpfs": memory or None}


def _rights(options: RunOptions) -> dict[str, Any]:
    return {
        "CapAdd": _capabilities(options.cap_add),
        "CapDrop": _capabilities(options.cap_drop),
        "GroupAdd": list(options.groups) or None,
        "Privileged": options.privileged,
        "ReadonlyRootfs": options.read_only,
        "SecurityOpt": list(options.security) or None,
        "Devices": [_device(text) for text in options.devices],
    }


def _capabilities(names: Iterable[str]) -> list[str] | None:
    full = [name.upper() for name in names]
    return [name if name == "ALL" or name.startswith("CAP_") else f"CAP_{name}" for name in full] or None


def _device(text: str) -> dict[str, str]:
    host, *rest = text.split(":")
    inside = next((part for part in rest if part.startswith("/")), host)
    access = next((part for part in rest if not part.startswith("/")), "rwm")
    return {"PathOnHost": host, "PathInContainer": inside, "CgroupPermissions": access}


def _limits(options: RunOptions) -> dict[str, Any]:
    memory = options.memory or 0
    return {
        "Memory": memory,
        "MemorySwap": options.memory_swap or 2 * memory,
        "MemoryReservation": options.memory_reservation or 0,
        "NanoCpus": round((options.cpus or 0) * 1e9),
        "CpuShares": options.cpu_shares or 0,
        "CpuPeriod": options.cpu_period or 0,
        "CpuQuota": options.cpu_quota or 0,
        "CpusetCpus": options.cpuset_cpus or "",
        "CpusetMems": options.cpuset_mems or "",
        "PidsLimit": options.pids_limit,
        "OomScoreAdj": options.oom_score_adj or 0,
        "Ulimits": [_ulimit(text) for text in options.ulimits],
    }


def _ulimit(text: str) -> dict[str, Any]:
    name, _, values = text.partition("=")
    soft, _, hard = values.partition(":")
    return {"Name": name, "Hard": _number(hard or soft), "Soft": _number(soft)}


def _number(text: str) -> int:
    return -1 if text == "unlimited" else int(text)
