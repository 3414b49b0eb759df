"""An image to a running process: a container's directory, a root file system, a spec, a launch."""

from __future__ import annotations

import math
import os
import signal
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
from anyio import to_thread
from anyio.abc import ByteReceiveStream, ByteSendStream

from aiodocker_lite import events
from aiodocker_lite.bundle import build_spec, chosen_hostname, merge_command
from aiodocker_lite.connect import plan_network, sweep_networks
from aiodocker_lite.errors import IsolationUnavailable, NetworkFailed, NoSuchImage, StoreError
from aiodocker_lite.events import Progress
from aiodocker_lite.exec import Bundle, execute, set_size, write_bundle
from aiodocker_lite.image import Image
from aiodocker_lite.layer.privileges import Owners
from aiodocker_lite.manifest import ImageConfig
from aiodocker_lite.options import ExecOptions, RunOptions, Streams
from aiodocker_lite.rootfs import prepare_root
from aiodocker_lite.runtime.cgroups import PREFIX, sweep_all, was_out_of_memory
from aiodocker_lite.runtime.ladder import Ladder, probe
from aiodocker_lite.runtime.launch import Target, launch
from aiodocker_lite.runtime.pids import start_ticks
from aiodocker_lite.runtime.process import ContainerProcess
from aiodocker_lite.store import Store
from aiodocker_lite.store.container import Container
from aiodocker_lite.users import resolve_user
from aiodocker_lite.volumes import provide_volumes

if TYPE_CHECKING:
    from aiodocker_lite.runtime.oci import Backend
    from aiodocker_lite.runtime.terminal import Terminal

_DRAIN = 5.0
"""Seconds in which output must end after the process has; without a pid namespace others may hold it."""


@dataclass(frozen=True, slots=True)
class Running:
    """A container whose process runs."""

    container: Container
    process: ContainerProcess
    bundle: Bundle
    """How it was started."""

    @property
    def id(self) -> str:
        """64 hexadecimal digits."""
        return self.container.id

    @property
    def stdin(self) -> ByteSendStream | None:
        """What the process reads, if a pipe or a terminal was asked for."""
        return self.process.stdin

    @property
    def stdout(self) -> ByteReceiveStream | None:
        """What the process writes, if a pipe or a terminal was asked for."""
        return self.process.stdout

    @property
    def stderr(self) -> ByteReceiveStream | None:
        """What the process complains about, if a pipe was asked for."""
        return self.process.stderr

    @property
    def terminal(self) -> Terminal | None:
        """Both of them, where the options want a terminal."""
        return self.process.terminal

    async def wait(self) -> int:
        """Wait for its end; returns the exit code, 128 + n for signal n."""
        return await self.process.wait()

    def signal(self, number: int) -> None:
        """Send a signal to the container's first process."""
        self.process.signal(number)

    def kill(self) -> None:
        """Kill it, with all processes in it."""
        self.process.signal(signal.SIGKILL)

    @asynccontextmanager
    async def exec(
        self,
        command: Sequence[str],
        options: ExecOptions | None = None,
        *,
        streams: Streams | None = None,
    ) -> AsyncIterator[ContainerProcess]:
        """Start one more process in it, and have that killed when the block is left. Raises RunError."""
        target = Target(self.process.pid, self.process.pidfd, self.bundle.rung, self.bundle.rootfs)
        async with execute(self.bundle.spec, target, command, options, streams) as process:
            yield process

    async def stop(self, *, grace: float = 10.0) -> int:
        """End it: SIGTERM, `grace` seconds, SIGKILL. Returns the exit code."""
        return await self.process.stop(grace=grace)


@asynccontextmanager
async def start(
    image: Image,
    command: tuple[str, ...],
    options: RunOptions,
    streams: Streams,
    store: Store,
    ladder: Ladder,
    owners: Owners,
    progress: Progress,
) -> AsyncIterator[Running]:
    """Start a container of an image that is here, unpacked for these owners; leaving the block ends it.

    Raises UsageError, RunError, StoreError.
    """
    container, lock = await create(image, command, options, store, owners)
    async with (
        store.containers.alive(container, lock),
        resume(container, streams, store, ladder, owners, progress) as running,
    ):
        yield running


async def create(
    image: Image, command: tuple[str, ...], options: RunOptions, store: Store, owners: Owners
) -> tuple[Container, int]:
    """A new container, and its lock, of an image that is here, unpacked for these owners.

    Raises UsageError, RunError, StoreError.
    """
    merged = tuple(merge_command(image.config.defaults, command, options))
    async with store.counting_on_content():
        if not store.has_unpacked(image.config.diff_ids, str(owners)):
            raise NoSuchImage(image.name)  # it was removed since it was found
        return await store.containers.create(image, merged, command, options)


@asynccontextmanager
async def resume(
    container: Container,
    streams: Streams,
    store: Store,
    ladder: Ladder,
    owners: Owners,
    progress: Progress,
) -> AsyncIterator[Running]:
    """Start the process of a container whose lock the caller holds; leaving the block ends it.

    Raises UsageError, RunError, StoreError.
    """
    layers, plan = await prepare_root(container, store, ladder, owners)
    options = container.options
    volumes: dict[str, Path] = {}
    if ladder.is_isolated:
        volumes = await provide_volumes(container, layers, store, owners)
    hostname = chosen_hostname(options, container.hostname)
    wiring = plan_network(container, hostname, store, ladder)
    spec = build_spec(
        ImageConfig(b"", container.image_id, container.platform, container.layers, container.defaults),
        container.arguments,
        options,
        rootfs=plan.root,
        hostname=hostname,
        files=wiring.files(),
        volumes=volumes,
        name=f"{PREFIX}{container.id}",
        uid_map=ladder.uid_map,
        gid_map=ladder.gid_map,
        terminal=options.terminal,
        network=wiring.namespaces,
    )
    set_size(spec["process"], streams)
    backend = await find_backend(options.runtime)
    try:
        await sweep_networks(store)
    except (
        NetworkFailed,
        StoreError,
    ) as error:  # not the fault of this container, and tried again by the next
        progress(events.Notice(f"Warning: what a container has left of its network stays: {error}"))
    async with (
        AsyncExitStack() as network,
        launch(
            spec,
            plan,
            ladder.rung,
            resolve_user=partial(resolve_user, more=options.groups),
            grace=_grace(options.stop_timeout),
            stdin=streams.stdin,
            stdout=streams.stdout,
            stderr=streams.stderr,
            connect=partial(wiring.connect, network),
            backend=backend,
        ) as process,
    ):
        bundle = Bundle(ladder.rung, plan.root, spec)
        with _kept(container, "runs", progress):
            write_bundle(container, bundle)
            began, ours = start_ticks(process.pid), start_ticks(os.getpid())
            store.containers.write_running(container, process.pid, began, ours)
        yield Running(container, process, bundle)
        oom_killed = was_out_of_memory(spec)  # while its group is there
    if process.returncode is not None:
        # Whoever waits for the exit code gets it, whether it can be kept or not.
        with _kept(container, "ended", progress):
            store.containers.write_exit(container, process.returncode, oom_killed=oom_killed)


@contextmanager
def _kept(container: Container, what: str, progress: Progress) -> Iterator[None]:
    try:
        yield
    except StoreError as error:
        if not container.remove:
            text = f"Warning: how container {container.name} {what} cannot be kept: {error}"
            progress(events.Notice(text))


def _grace(timeout: int | None) -> float:
    if timeout is None:
        return 10.0
    return math.inf if timeout < 0 else float(timeout)


async def find_backend(name: str | None) -> Backend | None:
    """The runtime of this name; None is our own. Raises InvalidOption, RuntimeUnavailable."""
    if name in (None, "native"):
        return None
    from aiodocker_lite.runtime import oci

    return await to_thread.run_sync(oci.find_backend, name)


def find_ladder(store: Store, options: RunOptions, progress: Progress) -> Ladder:
    """Find out how much isolation this machine permits, and say so. Raises IsolationUnavailable."""
    # Not among the containers, where whatever is none is swept away by the next run.
    ladder = probe(store.paths.ingests)
    sweep_all()
    progress(events.Notice(ladder.environment_line))
    if options.require_isolation and not ladder.is_isolated:
        raise IsolationUnavailable("namespaces", ladder.cause)
    for warning in ladder.warnings:
        progress(events.Notice(warning))
    return ladder


async def communicate(running: Running, data: bytes | None) -> tuple[int, bytes, bytes]:
    """Feed a container that has pipes, and read it to its end: exit code, output, complaints."""
    stdout, stderr = bytearray(), bytearray()

    async def read(stream: ByteReceiveStream | None, into: bytearray) -> None:
        if stream is not None:
            async for chunk in stream:
                into += chunk

    async def feed(stream: ByteSendStream) -> None:
        with suppress(anyio.BrokenResourceError):  # it may not want to read all of it
            await stream.send(data or b"")
        await stream.aclose()

    deeds = [partial(read, running.stdout, stdout), partial(read, running.stderr, stderr)]
    if running.stdin is not None:
        deeds.append(partial(feed, running.stdin))
    code = await attended(running, *deeds)
    return code, bytes(stdout), bytes(stderr)


async def attended(running: Running, *deeds: Callable[[], Coroutine[None, None, None]]) -> int:
    """Wait for its end, and a moment longer for what has to do with its streams; returns the exit code."""
    async with anyio.create_task_group() as tasks:
        for deed in deeds:
            tasks.start_soon(deed)
        code = await running.wait()
        tasks.cancel_scope.deadline = anyio.current_time() + _DRAIN
    return code
