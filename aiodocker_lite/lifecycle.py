"""What is done to containers of other processes: told, waited for, started anew, read, removed.

Nobody is asked to do it: a container is its files, its process and the lock of who runs it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from signal import SIGCONT, SIGKILL

import anyio
import anyio.lowlevel
from anyio import to_thread

from aiodocker_lite.connect import sweep_networks
from aiodocker_lite.errors import ContainerNotRunning, ContainerRunning, NoLog, NoSuchContainer
from aiodocker_lite.options import known_signal, signal_number
from aiodocker_lite.runtime.pids import hears, opened, send
from aiodocker_lite.runtime.process import KILLED
from aiodocker_lite.runtime.usage import Process, Usage, measure, processes
from aiodocker_lite.store import Store
from aiodocker_lite.store.container import Container
from aiodocker_lite.store.locks import wait_until_free
from aiodocker_lite.store.logs import LogLines, LogReader, log_path
from aiodocker_lite.store.state import State, Status
from aiodocker_lite.store.usage import tree_size
from aiodocker_lite.store.watch import watching

_GRACE = 10
_TIME_TO_NOTICE = 1.0
_TIME_TO_END = 10.0
"""Seconds; a monitor may have a large container to remove, which is what `--rm` wants."""


async def wait(container: Container) -> int:
    """Wait for a container's end, of one that has ended not at all; returns its exit code."""
    said = await wait_until_free(container.alive)
    if said.strip().isdigit():
        return int(said)
    state = container.state
    unknown = 0 if state.status == "created" else KILLED
    return unknown if state.exit_code is None else state.exit_code


async def kill(container: Container, signal: str) -> None:
    """Send a signal to a container's first process; one that ends it ends its restarts.

    Raises ContainerNotRunning, InvalidOption.
    """
    number = signal_number(signal, "--signal")
    state = await _past(container, "created")
    if number in (SIGKILL, _stop_signal(container)):
        container.let_end()
        if state.restarting:
            state = await _past(container, "restarting")
            if not state.running:
                return
    with opened(state.pid, state.start_ticks) as pidfd:
        if pidfd is None or not container.running:
            raise ContainerNotRunning(container.id)
        send(pidfd, number)


async def stop(container: Container, *, signal: str | None = None, grace: int | None = None) -> int:
    """End a container: ask it with a signal, wait for so many seconds, kill it. Returns its exit code.

    Both default to what options and image say, then to SIGTERM and 10. Negative seconds are for ever; a
    process that has no handler for the signal is not waited for. Of one that has ended, nothing is done.
    Raises InvalidOption.
    """
    number = signal_number(signal) if signal else _stop_signal(container)
    if grace is None:
        chosen = container.options.stop_timeout
        grace = _GRACE if chosen is None else chosen
    await _past(container, "created")
    container.let_end()
    state = await _past(container, "restarting")
    with opened(state.pid, state.start_ticks) as pidfd:
        if pidfd is not None and container.running:
            if grace != 0 and hears(state.pid, number):
                send(pidfd, number)
                with anyio.move_on_after(grace if grace > 0 else float("inf")):
                    return await _told_of_end(container, state, pidfd)
            send(pidfd, SIGKILL)
            return await _told_of_end(container, state, pidfd)
        return await wait(container)


async def _told_of_end(container: Container, state: State, pidfd: int) -> int:
    """Wait for its end, and see to it that who watches over it notices; returns its exit code."""
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_waken_engine, state, pidfd)
        code = await wait(container)
        tasks.cancel_scope.cancel()
    return code


async def _waken_engine(state: State, pidfd: int) -> None:
    """Once a container's process has ended, its engine is to say so: one that is stopped goes on.

    A monitor that does not is killed; other processes than monitors may do more than this.
    """
    from aiodocker_lite.monitor import MONITOR

    await anyio.wait_readable(pidfd)
    await anyio.sleep(_TIME_TO_NOTICE)
    with opened(state.engine, state.engine_ticks) as engine, suppress(FileNotFoundError):
        if engine is not None:
            send(engine, SIGCONT)
            await anyio.sleep(_TIME_TO_END)
            if Path(f"/proc/{state.engine}/comm").read_text() == f"{MONITOR}\n":
                send(engine, SIGKILL)


async def remove(container: Container, store: Store, *, force: bool) -> None:
    """Remove a container, with `force` also one that runs.

    What killed ones have left of their networks goes too. Raises ContainerRunning, NoSuchContainer, NetworkFailed.
    """
    await _remove(container, store, force=force)
    await sweep_networks(store)


async def _remove(container: Container, store: Store, *, force: bool) -> None:
    while True:
        if force and container.running:
            await stop(container, grace=0)
        try:
            await to_thread.run_sync(store.containers.remove, container)
        except ContainerRunning:
            if not force:
                raise
        except NoSuchContainer:
            if not force:  # with --rm, its end was enough
                raise
            return
        else:
            return


async def start(container: Container, store: Store) -> bool:
    """Start a container that has ended, detached; False for one that runs. Raises RunError, StoreError."""
    from aiodocker_lite.monitor import detach

    lock = store.containers.revive(container)
    if lock is None:
        return False
    try:
        store.containers.write_starting(container)
        await detach(container, lock)
    finally:
        os.close(lock)
    return True


async def logs(
    container: Container,
    on_lines: Callable[[LogLines], None],
    *,
    follow: bool = False,
    tail: int | None = None,
    since: str = "",
    until: str = "",
) -> None:
    """Tell what a container wrote, and with `follow` what it writes until it ends or is removed.

    `since` and `until` are moments as log lines have them. Raises NoLog, StoreUnreadable.
    """
    if not log_path(container.path).exists():
        if container.state.status == "created":  # it has not begun, and what it wrote is nothing
            return
        raise NoLog(container.name)

    async def tell() -> None:
        while (found := reader.read()) is not None:
            for lines in found:
                if lines.time >= since and not (until and lines.time > until):
                    on_lines(lines)
            await anyio.lowlevel.checkpoint()

    with LogReader(container.path) as reader:
        if tail is not None:
            reader.skip_to_last(tail)
        await tell()
        if not follow or not container.running:
            await tell()
            return
        with watching(container.path) as changed:
            async with anyio.create_task_group() as tasks:

                async def end() -> None:
                    await wait(container)
                    tasks.cancel_scope.cancel()

                tasks.start_soon(end)
                while True:
                    await tell()
                    await changed()
        await tell()


def usage(container: Container) -> Usage:
    """What a container uses. Raises ContainerNotRunning."""
    with _running(container) as pid:
        return measure(pid)


def top(container: Container) -> list[Process]:
    """The processes of a container. Raises ContainerNotRunning."""
    with _running(container) as pid:
        return processes(pid)


@contextmanager
def _running(container: Container) -> Iterator[int]:
    state = container.state
    with opened(state.pid, state.start_ticks) as pidfd:
        if pidfd is None or not container.running:
            raise ContainerNotRunning(container.id)
        yield state.pid


def sizes(container: Container, store: Store) -> tuple[int, int]:
    """Bytes that a container has written, and these with its image's. Raises StoreUnreadable."""
    upper = container.path / "upper"
    records = map(store.layers.find, container.layers)
    below = sum(record.size for record in records if record is not None)
    if upper.exists():
        own = tree_size(upper, apparent=True)
        return own, own + below
    whole = tree_size(container.path / "rootfs", apparent=True)  # a tree of its own has all of it
    return max(0, whole - below), whole


def _stop_signal(container: Container) -> int:
    chosen = container.options.stop_signal or known_signal(container.defaults.stop_signal)
    return signal_number(chosen or "TERM")


async def _past(container: Container, status: Status) -> State:
    """The state of a container, once it has another than this one, or has ended."""
    state = container.state
    if state.status != status or not container.running:
        return state
    with watching(container.path) as changed:
        async with anyio.create_task_group() as tasks:

            async def end() -> None:
                await wait(container)
                tasks.cancel_scope.cancel()

            tasks.start_soon(end)
            while container.state.status == status:
                await changed()
            tasks.cancel_scope.cancel()
    return container.state
