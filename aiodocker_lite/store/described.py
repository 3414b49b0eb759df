"""A container in the words of `docker inspect`, as far as scripts read them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from aiodocker_lite.store.container import Container, Mounted
from aiodocker_lite.store.hostconfig import bound, host_config
from aiodocker_lite.store.logs import log_path
from aiodocker_lite.store.state import State

_NEVER = "0001-01-01T00:00:00Z"  # Go's moment that is none


def describe(container: Container) -> dict[str, Any]:
    """What docker shows of a container, with docker's keys."""
    path, options, state = container.path, container.options, container.state
    return {
        "Id": container.id,
        "Created": _moment(container.created),
        "Path": container.command[0] if container.command else "",
        "Args": list(container.command[1:]),
        "State": _state(state),
        "Image": str(container.image_id),
        "ResolvConfPath": str(path / "resolv.conf"),
        "HostnamePath": str(path / "hostname"),
        "HostsPath": str(path / "hosts"),
        "LogPath": str(log_path(path)) if log_path(path).exists() else "",
        "Name": f"/{container.name}",
        "RestartCount": state.restarts,
        "Driver": "overlay2" if (path / "upper").exists() else "vfs",
        "Platform": container.platform.os,
        "ExecIDs": None,
        "HostConfig": host_config(container),
        "Mounts": [_mounted(each) for each in container.mounted],
        "Config": _config(container),
        "NetworkSettings": _network(container),
        "Options": options.to_json(),
    }


def _state(state: State) -> dict[str, Any]:
    return {
        "Status": state.status,
        "Running": state.running or state.restarting,
        "Paused": False,
        "Restarting": state.restarting,
        "OOMKilled": state.oom_killed,
        "Dead": state.status == "dead",
        "Pid": state.pid,
        "ExitCode": state.exit_code or 0,
        "Error": state.error,
        "StartedAt": _moment(state.started),
        "FinishedAt": _moment(state.finished),
    }


def _network(container: Container) -> dict[str, Any]:
    """How it is connected: while it runs, and not any more after that."""
    runs = container.state.running
    ports: dict[str, Any] = dict.fromkeys(container.defaults.exposed_ports)
    for port in container.ports if runs else ():
        ports[port.inside] = bound(container.ports, port)
    address = {
        "Gateway": "",
        "IPAddress": container.connection.get("address", "") if runs else "",
        "MacAddress": "",
    }
    return {"Ports": ports if runs else {}, **address, "Networks": {container.network: address}}


def _config(container: Container) -> dict[str, Any]:
    """Docker's Config is the image's, with the options in it."""
    options, defaults = container.options, container.defaults
    environment = dict(entry.partition("=")[::2] for entry in defaults.env) | dict(options.env)
    own = options.entrypoint is not None
    entrypoint = options.entrypoint if options.entrypoint is not None else defaults.entrypoint
    command = container.arguments or (() if own else defaults.command)
    return {
        "Hostname": options.hostname or container.hostname,
        "Domainname": options.domainname or "",
        "User": defaults.user if options.user is None else options.user,
        "AttachStdin": False,
        "OpenStdin": options.interactive,
        "Tty": options.terminal,
        "Env": [f"{name}={value}" for name, value in environment.items()],
        "Cmd": _or_none(command),
        "Image": container.image,
        "Volumes": {volume: {} for volume in defaults.volumes} or None,
        "WorkingDir": defaults.working_dir if options.workdir is None else options.workdir,
        "Entrypoint": _or_none(entrypoint),
        "ExposedPorts": {port: {} for port in defaults.exposed_ports},
        "Labels": container.labels,
        "StopSignal": options.stop_signal or defaults.stop_signal or "SIGTERM",
        "StopTimeout": options.stop_timeout,
    }


def _mounted(each: Mounted) -> dict[str, Any]:
    mount, source = each.mount, each.source
    named = {"Name": mount.source, "Driver": "local"} if mount.kind == "volume" else {}
    return {
        "Type": mount.kind,
        **named,
        "Source": "" if source is None else str(source),
        "Destination": each.target,
        "Mode": "ro" if mount.read_only else "",
        "RW": not mount.read_only,
        "Propagation": "rprivate" if mount.kind == "bind" else "",
    }


def _or_none(words: Sequence[str]) -> list[str] | None:
    return list(words) or None


def _moment(text: str) -> str:
    """RFC 3339 in UTC, as docker has it."""
    if not text:
        return _NEVER
    return datetime.fromisoformat(text).astimezone(UTC).isoformat().replace("+00:00", "Z")
