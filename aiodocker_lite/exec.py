"""One more process in a container that runs."""

from __future__ import annotations

import posixpath
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from aiodocker_lite.errors import InvalidOption, NoCommand
from aiodocker_lite.options import ExecOptions, Streams, words
from aiodocker_lite.runtime.launch import Target, join
from aiodocker_lite.runtime.process import ContainerProcess
from aiodocker_lite.users import resolve_user


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
    if options.terminal and streams.size:
        more["consoleSize"] = {"height": streams.size[0], "width": streams.size[1]}
    async with join(
        {**spec, "process": more},
        target,
        resolve_user=resolve_user,
        stdin=streams.stdin,
        stdout=streams.stdout,
        stderr=streams.stderr,
    ) as process:
        yield process


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
    if options.user is not None:
        process["user"] = {"uid": 0, "gid": 0, "username": options.user}
    return process
