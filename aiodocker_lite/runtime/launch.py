"""Start a container: a Python of its own, the spec, and a short conversation until it executes."""

from __future__ import annotations

import json
import marshal
import os
import signal
import socket
import struct
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Protocol

import anyio
from anyio import to_thread
from anyio.abc import Process

from aiodocker_lite import subids
from aiodocker_lite.errors import InvalidOption, SetupFailed, from_message
from aiodocker_lite.options import INIT, STOP_SIGNAL, signal_number
from aiodocker_lite.runtime import cgroups
from aiodocker_lite.runtime.interpreter import guarded_interpreter
from aiodocker_lite.runtime.ladder import Rung
from aiodocker_lite.runtime.process import ContainerProcess
from aiodocker_lite.runtime.seccomp import filter_of
from aiodocker_lite.runtime.terminal import Terminal

if TYPE_CHECKING:
    from aiodocker_lite.runtime.oci import Backend

_INIT = "from aiodocker_lite.runtime.init import main; main(*map(int, sys.argv[1:]))"
_FRAME_MAX = 2 << 20
_PATIENCE = 2.0
"""Seconds in which a process that has failed must be gone."""
_FILES = ("/etc/hosts", "/etc/hostname", "/etc/resolv.conf")
_KERNELS = ("/proc", "/sys", "/sys/fs/cgroup", "/dev", "/dev/pts", "/dev/shm", "/dev/mqueue")
_CREDENTIALS = struct.Struct("iII")
_DESCRIPTOR = struct.Struct("i")
_ANCILLARY = socket.CMSG_SPACE(_CREDENTIALS.size) + socket.CMSG_SPACE(_DESCRIPTOR.size)

Stdio = int | IO[Any] | None
"""A descriptor, a file, PIPE, DEVNULL, or None for the engine's own."""


class Rootfs(Protocol):
    """What is needed of a plan of a root file system."""

    @property
    def root(self) -> Path: ...
    @property
    def lowers(self) -> tuple[Path, ...]: ...
    @property
    def upper(self) -> Path | None: ...
    @property
    def work(self) -> Path | None: ...
    @property
    def userxattr(self) -> bool: ...
    @property
    def model(self) -> Path | None: ...


class Identity(Protocol):
    """What is needed of a user."""

    @property
    def uid(self) -> int: ...
    @property
    def gid(self) -> int: ...
    @property
    def groups(self) -> tuple[int, ...]: ...
    @property
    def home(self) -> str: ...


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
        **_filtered(spec),
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
    job = _job(spec, rootfs, rung)
    if backend:
        job["runtime"] = _runtime(spec, rootfs, rung, backend)
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
        talk = _Conversation(ours)
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


def _job(spec: dict[str, Any], rootfs: Rootfs, rung: Rung) -> dict[str, Any]:
    if rung in (Rung.CHROOT, Rung.NONE):
        assert rootfs.upper is None
        _refuse_mounts(spec, rung)
        _refuse_what_needs_namespaces(spec, rung)
    if rung is Rung.CHROOT:
        # With this one, root leaves a chroot by making another.
        spec = _without_capability(spec, "CAP_SYS_CHROOT")
    return {
        **_filtered(spec),
        "init": INIT in spec.get("annotations", {}),
        "rung": str(rung),
        "parent": os.getpid(),
        "rootfs": {
            "root": str(rootfs.root),
            "lowers": [str(lower) for lower in rootfs.lowers],
            "upper": None if rootfs.upper is None else str(rootfs.upper),
            "work": None if rootfs.work is None else str(rootfs.work),
            "userxattr": rootfs.userxattr,
            "model": str(rootfs.model or (rootfs.lowers[-1] if rootfs.lowers else rootfs.root)),
        },
    }


def _filtered(spec: dict[str, Any]) -> dict[str, Any]:
    """The spec, and its filter as the kernel wants it."""
    seccomp = spec["linux"].get("seccomp")
    return {
        "spec": {**spec, "linux": {**spec["linux"], "seccomp": None}},
        "seccomp": filter_of(seccomp) if seccomp else b"",
    }


def _stop_signal(spec: dict[str, Any]) -> int:
    return signal_number(spec.get("annotations", {}).get(STOP_SIGNAL, "SIGTERM"))


def _runtime(spec: dict[str, Any], rootfs: Rootfs, rung: Rung, backend: Backend) -> dict[str, Any]:
    """How the other runtime is called. Raises InvalidOption."""
    if rung in (Rung.CHROOT, Rung.NONE):
        raise InvalidOption("--runtime", f"{backend.kind} cannot be had with the isolation '{rung}'")
    backend.refuse(spec)
    place = str(rootfs.root.parent / "runtime")
    return {"program": backend.program, "options": list(backend.options), "place": place}


def _refuse_mounts(spec: dict[str, Any], rung: Rung) -> None:
    for mount in spec["mounts"]:
        target = mount["destination"]
        if target not in (_FILES if mount["type"] == "bind" else _KERNELS):
            raise InvalidOption("--volume", f"{target} cannot be mounted, with the isolation '{rung}'")


def _refuse_what_needs_namespaces(spec: dict[str, Any], rung: Rung) -> None:
    linux = spec["linux"]
    for option, is_wanted in (
        ("--read-only", spec["root"]["readonly"]),
        ("--device", "devices" in linux),
        ("--sysctl", "sysctl" in linux),
    ):
        if is_wanted:
            raise InvalidOption(option, f"it cannot be had with the isolation '{rung}'")


def _without_capability(spec: dict[str, Any], name: str) -> dict[str, Any]:
    sets = {kind: [c for c in names if c != name] for kind, names in spec["process"]["capabilities"].items()}
    return {**spec, "process": {**spec["process"], "capabilities": sets}}


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


# --- talking ---------------------------------------------------------------------------------


class _Conversation:
    """Frames from and to the child; the kernel tells who sent them."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._buffer = b""
        self.sender = 0
        """The process that the last bytes came from, by its number on this side."""
        self.descriptors: list[int] = []
        """What was sent along with frames, in this order."""
        sock.setblocking(False)
        # Before anything is sent, or the first bytes come without a sender.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)

    async def receive(self) -> bytes | None:
        """The next frame, or None when nobody is left to send one."""
        header = await self._read(4)
        if header is None:
            return None
        length = int.from_bytes(header, "big")
        return await self._read(length) if length <= _FRAME_MAX else None

    async def send(self, answer: Any) -> None:
        content = marshal.dumps(answer)
        frame = len(content).to_bytes(4, "big") + content
        with suppress(BrokenPipeError):  # then there is nothing to be received either
            while frame:
                await anyio.wait_writable(self._sock)
                frame = frame[self._sock.send(frame) :]

    async def _read(self, count: int) -> bytes | None:
        while len(self._buffer) < count:
            await anyio.wait_readable(self._sock)
            try:
                more, ancillary, _, _ = self._sock.recvmsg(1 << 16, _ANCILLARY)
            except ConnectionResetError:
                more, ancillary = b"", []
            if not more:
                return None
            self._buffer += more
            for level, kind, data in ancillary:
                if (level, kind) == (socket.SOL_SOCKET, socket.SCM_CREDENTIALS):
                    self.sender = _CREDENTIALS.unpack(data)[0]
                elif (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                    self.descriptors.append(_DESCRIPTOR.unpack(data)[0])
        content, self._buffer = self._buffer[:count], self._buffer[count:]
        return content


async def _begin(
    talk: _Conversation,
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
                    await _write_id_maps(process.pid, spec)
                    await talk.send(None)
                case "connect":
                    await connect(process.pid)
                    await talk.send(None)
                case "find-user":
                    passwd, group = await talk.receive() or b"", await talk.receive() or b""
                    user = resolve_user(message["user"], passwd, group)
                    _need_ids(user, spec)
                    if "cwd" not in message:
                        # It waits for the answer, so the number is still its own.
                        with suppress(ProcessLookupError):  # or it was killed, and the conversation ends
                            pidfd = os.pidfd_open(talk.sender)
                            container = ContainerProcess(
                                process, talk.sender, pidfd, terminal, stop_signal=_stop_signal(spec)
                            )
                    await talk.send(_answer(user, spec, message.get("cwd")))
                case "terminal":
                    terminal = Terminal(talk.descriptors.pop(0))
                case "first-process":
                    pidfd = talk.descriptors.pop(0)
                    container = ContainerProcess(
                        process, _number_of(pidfd), pidfd, terminal, stop_signal=_stop_signal(spec)
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

    gids = _rows(spec, "gidMappings")
    # In a map of one, groups stay as they are.
    groups = [] if subids.count_of(gids) == 1 else found["groups"]
    config = document(spec, {**found, "groups": groups}, cwd, in_user_namespace=bool(gids))
    return {**found, "config": config}


def _number_of(pidfd: int) -> int:
    """The number of a process by what names it; -1 for one that has ended (proc(5), fdinfo)."""
    lines = Path(f"/proc/self/fdinfo/{pidfd}").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pid:"))


# --- user namespaces -------------------------------------------------------------------------


async def _write_id_maps(pid: int, spec: dict[str, Any]) -> None:
    """Say which ids of this side the namespace of a process has. Raises SetupFailed."""
    process = Path(f"/proc/{pid}")
    uids, gids = _rows(spec, "uidMappings"), _rows(spec, "gidMappings")
    try:
        if subids.count_of(gids) == 1:
            # Without privileges, the kernel wants to be sure that no group is left.
            (process / "setgroups").write_text("deny")
        elif os.geteuid() != 0:
            await to_thread.run_sync(subids.write_maps, pid, (uids, gids))
            return
        for name, rows in (("gid_map", gids), ("uid_map", uids)):
            text = "".join(f"{inside} {outside} {count}\n" for inside, outside, count in rows)
            (process / name).write_text(text)
    except OSError as error:
        raise SetupFailed("writing the id maps", error.strerror or str(error)) from error


def _rows(spec: dict[str, Any], kind: str) -> subids.IdMap:
    return tuple((row["containerID"], row["hostID"], row["size"]) for row in spec["linux"].get(kind, ()))


def _need_ids(user: Identity, spec: dict[str, Any]) -> None:
    """Refuse a user whose ids the namespace does not have, with the way to have them (X10)."""
    uids, gids = _rows(spec, "uidMappings"), _rows(spec, "gidMappings")
    # In a map of one, groups stay as they are.
    groups = user.groups if subids.count_of(gids) > 1 else ()
    if not uids or (_has(uids, user.uid) and all(_has(gids, group) for group in (user.gid, *groups))):
        return
    if subids.count_of(uids) == subids.count_of(gids) == 1:
        reason = "there are no subordinate ids here, so only user and group 0 can be used"
    else:
        reason = "there are not as many subordinate ids here"
    hint = " (see /etc/subuid and /etc/subgid, and Debian's package uidmap)"
    raise SetupFailed(f"becoming user {user.uid}:{user.gid}", reason + hint)


def _has(rows: subids.IdMap, number: int) -> bool:
    return any(inside <= number < inside + count for inside, _, count in rows)
