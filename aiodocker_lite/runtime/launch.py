"""Start a container: a Python of its own, the spec, and a short conversation until it executes."""

from __future__ import annotations

import json
import marshal
import os
import signal
import socket
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import anyio
from anyio.abc import Process

from aiodocker_lite import subids
from aiodocker_lite.errors import SetupFailed, from_message
from aiodocker_lite.runtime import cgroups
from aiodocker_lite.runtime.conversation import Conversation
from aiodocker_lite.runtime.idmaps import Identity, need_ids, rows_of, write_id_maps
from aiodocker_lite.runtime.interpreter import guarded_interpreter
from aiodocker_lite.runtime.job import Rootfs, filtered, job_of, runtime_of, stop_signal_of
from aiodocker_lite.runtime.ladder import Rung
from aiodocker_lite.runtime.process import ContainerProcess

if TYPE_CHECKING:
    from aiodocker_lite.runtime.oci import Backend
    from aiodocker_lite.runtime.terminal import Terminal

_INIT = "from aiodocker_lite.runtime.init import main; main(*map(int, sys.argv[1:]))"
_PATIENCE = 2.0
"""Seconds in which a process that has failed must be gone."""

Stdio = int | IO[Any] | None
"""A descriptor, a file, PIPE, DEVNULL, or None for the engine's own."""


ResolveUser = Callable[[str, bytes, bytes], Identity]
Connect = Callable[[int], Awaitable[None]]


async def _leave_alone(pid: int) -> None:
    """A network namespace stays without a network."""


@dataclass(frozen=True, slots=True)
class Target:
    """A container that runs, for who joins it."""

    pid: int
    pidfd: int
    """Of its first process; it stays the caller's."""
    rung: Rung
    rootfs: Path
    """Where its root file system is, for a rung without a root of its own."""


@asynccontextmanager
async def join(
    spec: dict[str, Any],
    target: Target,
    *,
    resolve_user: ResolveUser,
    stdin: Stdio = subprocess.DEVNULL,
    stdout: Stdio = None,
    stderr: Stdio = None,
) -> AsyncIterator[ContainerProcess]:
    """Start one more process in a container; the block begins once it executes, and ends it.

    Of the spec, what is said of a process counts. Raises what `launch` raises.
    """
    job = {
        **filtered(spec),
        "init": False,
        "cgroups": [],
        "rung": str(target.rung),
        "parent": os.getpid(),
        "target": {"pid": target.pid, "pidfd": target.pidfd},
        "rootfs": {"root": str(target.rootfs)},
    }
    streams = {"stdin": stdin, "stdout": stdout, "stderr": stderr}
    async with _running(job, spec, resolve_user, _leave_alone, streams, grace=0) as process:
        yield process


@asynccontextmanager
async def launch(
    spec: dict[str, Any],
    rootfs: Rootfs,
    rung: Rung,
    *,
    resolve_user: ResolveUser,
    stdin: Stdio = subprocess.DEVNULL,
    stdout: Stdio = None,
    stderr: Stdio = None,
    connect: Connect = _leave_alone,
    grace: float = 10.0,
    backend: Backend | None = None,
) -> AsyncIterator[ContainerProcess]:
    """Start the process of a runtime spec on this rung of the ladder; the block begins once it executes.

    `resolve_user` is asked with the text of ``process.user.username`` and the image's passwd and
    group. `connect` is called with the number of a process in a network namespace that was made for the
    spec, before anything executes. A spec that wants a terminal gets one in the place of all three streams.
    With a `backend`, that other runtime makes the container.
    When the block is left and the process has not ended: its stop signal, `grace` seconds,
    SIGKILL. Nothing outlives the engine, even if that is killed.
    Raises LimitsUnavailable, SetupFailed, CommandNotFound, CommandNotExecutable, InvalidOption, and what
    `resolve_user` raises.
    """
    job = job_of(spec, rootfs, rung)
    if backend:
        job["runtime"] = runtime_of(spec, rootfs, rung, backend)
    streams = {"stdin": stdin, "stdout": stdout, "stderr": stderr}
    with cgroups.limited(spec) as job["cgroups"]:
        async with _running(job, spec, resolve_user, connect, streams, grace=grace) as process:
            yield process


@asynccontextmanager
async def _running(
    job: dict[str, Any],
    spec: dict[str, Any],
    resolve_user: ResolveUser,
    connect: Connect,
    streams: dict[str, Stdio],
    *,
    grace: float,
) -> AsyncIterator[ContainerProcess]:
    if spec["process"]["terminal"]:
        streams = dict.fromkeys(streams, subprocess.DEVNULL)
    ours, theirs = socket.socketpair()
    with ours:
        talk = Conversation(ours)
        with theirs:
            process = await _spawn(job, theirs, **streams)
        async with _killed_on_error(process, ours, _PATIENCE if "target" in job else 0):
            container = await _begin(talk, process, spec, resolve_user, connect)
    try:
        yield container
    finally:
        with anyio.CancelScope(shield=True):
            await container.stop(grace=grace)
            await process.aclose()
        container.close()


# --- starting --------------------------------------------------------------------------------


async def _spawn(
    job: dict[str, Any], theirs: socket.socket, *, stdin: Stdio, stdout: Stdio, stderr: Stdio
) -> Process:
    job_fd = os.memfd_create("job")
    try:
        with os.fdopen(os.dup(job_fd), "wb") as file:
            marshal.dump(job, file)
        os.lseek(job_fd, 0, os.SEEK_SET)
        with guarded_interpreter() as python:
            fds = [theirs.fileno(), job_fd, *([python.fd] if python.fd >= 0 else [])]
            if "target" in job:
                fds.append(job["target"]["pidfd"])
            numbers = (str(number) for number in (theirs.fileno(), job_fd, python.fd))
            return await anyio.open_process(
                python.command(_INIT, *numbers),
                stdin=stdin,
                stdout=stdout,
                stderr=stderr,
                cwd="/",
                env=python.environment,
                start_new_session=True,
                pass_fds=fds,
            )
    finally:
        os.close(job_fd)


@asynccontextmanager
async def _killed_on_error(process: Process, ours: socket.socket, patience: float) -> AsyncIterator[None]:
    """Kill what did not become a container; whatever it forked dies with it.

    With `patience`, it may end by itself, now that nobody talks to it: what has joined a container is
    buried by its own parent, while in there it may be that nobody does it.
    """
    # Not `process.kill()`: it would take the exit status of one that is dead already, and leave
    # the event loop, which is to wait for it, with a warning.
    pidfd = _pidfd_of(process)
    try:
        yield
    except BaseException:
        with anyio.CancelScope(shield=True):
            ours.close()
            with anyio.move_on_after(patience):
                await process.wait()
            if pidfd is not None:
                with suppress(ProcessLookupError):
                    signal.pidfd_send_signal(pidfd, signal.SIGKILL)
            await process.aclose()
        raise
    finally:
        if pidfd is not None:
            os.close(pidfd)


def _pidfd_of(process: Process) -> int | None:
    try:
        return os.pidfd_open(process.pid)
    except ProcessLookupError:  # gone already
        return None


async def _begin(
    talk: Conversation,
    process: Process,
    spec: dict[str, Any],
    resolve_user: ResolveUser,
    connect: Connect,
) -> ContainerProcess:
    """Answer the child until it executes the command. Raises what the child could not do."""
    container: ContainerProcess | None = None
    terminal: Terminal | None = None
    executing = False
    try:
        while (frame := await talk.receive()) is not None:
            message = json.loads(frame)
            match message.get("say"):
                case "write-id-maps":
                    await write_id_maps(process.pid, spec)
                    await talk.send(None)
                case "connect":
                    await connect(process.pid)
                    await talk.send(None)
                case "find-user":
                    passwd, group = await talk.receive() or b"", await talk.receive() or b""
                    user = resolve_user(message["user"], passwd, group)
                    need_ids(user, spec)
                    if "cwd" not in message:
                        # It waits for the answer, so the number is still its own.
                        with suppress(ProcessLookupError):  # or it was killed, and the conversation ends
                            pidfd = os.pidfd_open(talk.sender)
                            container = ContainerProcess(
                                process, talk.sender, pidfd, terminal, stop_signal=stop_signal_of(spec)
                            )
                    await talk.send(_answer(user, spec, message.get("cwd")))
                case "terminal":
                    from aiodocker_lite.runtime.terminal import Terminal

                    terminal = Terminal(talk.descriptors.pop(0))
                case "first-process":
                    pidfd = talk.descriptors.pop(0)
                    container = ContainerProcess(
                        process, _number_of(pidfd), pidfd, terminal, stop_signal=stop_signal_of(spec)
                    )
                case "executing":
                    executing = True
                case _:
                    raise from_message(message)
        if container is None or not executing:
            status = await process.wait()
            raise SetupFailed("preparing it", f"the process that does so ended early, with status {status}")
    except BaseException:
        if container is not None:
            container.close()
        elif terminal is not None:
            terminal.close()
        for fd in talk.descriptors:
            os.close(fd)
        raise
    return container


def _answer(user: Identity, spec: dict[str, Any], cwd: str | None) -> dict[str, Any]:
    """Who the user is; and for another runtime, which wants to begin in `cwd`, its spec."""
    found = {"uid": user.uid, "gid": user.gid, "groups": list(user.groups), "home": user.home}
    if cwd is None:
        return found
    from aiodocker_lite.runtime.oci import document

    gids = rows_of(spec, "gidMappings")
    # In a map of one, groups stay as they are.
    groups = [] if subids.count_of(gids) == 1 else found["groups"]
    config = document(spec, {**found, "groups": groups}, cwd, in_user_namespace=bool(gids))
    return {**found, "config": config}


def _number_of(pidfd: int) -> int:
    """The number of a process by what names it; -1 for one that has ended (proc(5), fdinfo)."""
    lines = Path(f"/proc/self/fdinfo/{pidfd}").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pid:"))
