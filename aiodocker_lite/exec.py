"""One more process in a container that runs, of this process or of another one."""

from __future__ import annotations

import json
import posixpath
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiodocker_lite.bundle.rights import ALL_CAPABILITIES
from aiodocker_lite.errors import ContainerNotRunning, InvalidOption, NoCommand, StoreCorrupt
from aiodocker_lite.options import ExecOptions, Streams, words
from aiodocker_lite.runtime.ladder import Rung
from aiodocker_lite.runtime.launch import Target, join
from aiodocker_lite.runtime.pids import opened
from aiodocker_lite.runtime.process import ContainerProcess
from aiodocker_lite.store.container import Container
from aiodocker_lite.store.durable import store_errors
from aiodocker_lite.users import resolve_user

_BUNDLE = "bundle.json"


@dataclass(frozen=True, slots=True)
class Bundle:
    """How a container was started: with this isolation, where its root is, and by what spec."""

    rung: Rung
    rootfs: Path
    spec: dict[str, Any]


def write_bundle(container: Container, bundle: Bundle) -> None:
    """Keep it for other processes. Raises DiskFull, StoreUnwritable."""
    found = {"rung": str(bundle.rung), "rootfs": str(bundle.rootfs), "spec": bundle.spec}
    with store_errors(container.path):
        (container.path / _BUNDLE).write_text(json.dumps(found))


def _read_bundle(container: Container) -> Bundle:
    path = container.path / _BUNDLE
    try:
        found = json.loads(path.read_bytes())
        return Bundle(Rung(found["rung"]), Path(found["rootfs"]), found["spec"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StoreCorrupt(str(path), str(error)) from error


@asynccontextmanager
async def execute_in(
    container: Container, command: Sequence[str], options: ExecOptions | None, streams: Streams | None
) -> AsyncIterator[ContainerProcess]:
    """Start a command in a container of whatever process; leaving the block kills it.

    Raises ContainerNotRunning, StoreCorrupt, and what `execute` raises.
    """
    state = container.state
    with opened(state.pid, state.start_ticks) as pidfd:
        if pidfd is None or not container.running:
            raise ContainerNotRunning(container.id)
        bundle = _read_bundle(container)
        target = Target(state.pid, pidfd, bundle.rung, bundle.rootfs)
        async with execute(bundle.spec, target, command, options, streams) as process:
            yield process


@asynccontextmanager
async def execute(
    spec: dict[str, Any],
    target: Target,
    command: Sequence[str],
    options: ExecOptions | None,
    streams: Streams | None,
) -> AsyncIterator[ContainerProcess]:
    """Start a command in a container of this spec; leaving the block kills it.

    Raises InvalidOption, NoCommand, SetupFailed, CommandNotFound, CommandNotExecutable.
    """
    options, streams = options or ExecOptions(), streams or Streams()
    more = process_of(spec, words("command", command), options)
    set_size(more, streams)
    wanted = {**spec, "process": more}
    if options.privileged:
        wanted["linux"] = {**spec["linux"], "seccomp": None}
    async with join(
        wanted,
        target,
        resolve_user=resolve_user,
        stdin=streams.stdin,
        stdout=streams.stdout,
        stderr=streams.stderr,
    ) as process:
        yield process


def set_size(process: dict[str, Any], streams: Streams) -> None:
    """Say in a process of a spec how large its terminal is, if it has one and that is known."""
    if process["terminal"] and streams.size:
        lines, columns = streams.size
        process["consoleSize"] = {"height": lines, "width": columns}


def process_of(spec: dict[str, Any], command: Sequence[str], options: ExecOptions) -> dict[str, Any]:
    """What the spec says of one more process: what it says of the first, unless the options say otherwise."""
    if not command or not command[0]:
        raise NoCommand
    first = spec["process"]
    environment = dict(entry.split("=", 1) for entry in first["env"])
    environment.pop("TERM", None)
    if options.terminal:
        environment["TERM"] = "xterm"
    environment |= options.env
    if any("\0" in text for text in (*command, *environment, *environment.values())):
        raise InvalidOption("command", "it or its environment has a NUL character")
    process = {name: value for name, value in first.items() if name != "consoleSize"}
    process |= {
        "terminal": options.terminal,
        "args": list(command),
        "env": [f"{name}={value}" for name, value in environment.items()],
    }
    if options.workdir is not None:
        if not options.workdir.startswith("/"):
            raise InvalidOption("--workdir", f"'{options.workdir}' is not an absolute path")
        process["cwd"] = posixpath.normpath(options.workdir)
    if options.privileged:
        sets = {key: list(ALL_CAPABILITIES) for key in ("bounding", "effective", "permitted")}
        process |= {"capabilities": {**first["capabilities"], **sets}, "noNewPrivileges": False}
    if options.user is not None:
        process["user"] = {"uid": 0, "gid": 0, "username": options.user}
    return process
