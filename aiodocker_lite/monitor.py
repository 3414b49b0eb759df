"""The process that a detached container belongs to: one for each, small, and nobody's child.

It holds the container's `alive` lock, which it was handed by whoever started it, runs the container as a
foreground `run` would, and keeps its output and its state. When it dies, the container does.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import anyio

from aiodocker_lite.errors import EngineError, SetupFailed, from_message, to_message

if TYPE_CHECKING:
    from anyio.abc import ByteReceiveStream, TaskStatus

    from aiodocker_lite.restart import RestartPolicy
    from aiodocker_lite.run import Running
    from aiodocker_lite.store import Store
    from aiodocker_lite.store.container import Container
    from aiodocker_lite.store.logs import LogWriter, StreamName

    Tell = Callable[[EngineError | None], None]

MONITOR = "adl-monitor"
"""What it is called in lists of processes."""
_PACKAGE_PARENT = str(Path(__file__).parents[1])
# The fork comes first, while there is little to copy.
_START = (
    "import os, sys\nif os.fork(): os._exit(0)\n"
    "sys.path.insert(0, sys.argv.pop(1)); from aiodocker_lite.monitor import main; main(*sys.argv[1:])"
)
_KEPT_VARIABLES = ("PATH", "HOME", "LD_LIBRARY_PATH", "XDG_RUNTIME_DIR", "TMPDIR")
"""What the environment of a starter has besides may be secret, and a monitor lives long."""


async def detach(container: Container, lock: int) -> None:
    """Have a process of its own run this container; returns when its command is executed.

    The lock goes over to that process. Raises RunError, StoreError.
    """
    told, tells = os.pipe()
    try:
        # Not a pipe: nobody ends because we have.
        with os.fdopen(os.memfd_create("stderr"), "rb") as said:
            try:
                await _spawn(container, lock, tells, said.fileno())
            finally:
                os.close(tells)
            answer = await _read(told)
            said.seek(0)
            lines = [] if answer else said.read().decode(errors="replace").split("\n")
    finally:
        os.close(told)
    if not answer:
        last = next(filter(None, map(str.strip, reversed(lines))), "it was killed, or had no words left")
        raise SetupFailed("starting its monitor", f"that ended early: {last}")
    if (message := json.loads(answer)) is not None:
        raise from_message(message)


async def _spawn(container: Container, lock: int, tells: int, stderr: int) -> None:
    arguments = (_PACKAGE_PARENT, str(container.path.parents[1]), container.id, str(lock), str(tells))
    command = [os.path.abspath(sys.executable), "-I", "-c", _START, *arguments]  # noqa: PTH100 - not its target
    environment = {name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ}
    null = subprocess.DEVNULL
    async with await anyio.open_process(
        command,
        stdin=null,
        stdout=null,
        stderr=stderr,
        cwd="/",
        env=environment,
        start_new_session=True,
        pass_fds=(lock, tells),
    ) as process:
        await process.wait()


async def _read(fd: int) -> bytes:
    os.set_blocking(fd, False)
    content = b""
    while True:
        await anyio.wait_readable(fd)
        more = os.read(fd, 1 << 16)
        if not more:
            return content
        content += more


# --- on the other side ---------------------------------------------------------------------


def main(root: str, identity: str, lock: str, tells: str) -> NoReturn:
    """Run a container of the store at `root` to its end; the starter hears when it has begun, or why not."""
    Path("/proc/self/comm").write_text(MONITOR)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    os.set_inheritable(int(lock), False)
    os.set_inheritable(int(tells), False)
    anyio.run(_monitor, Path(root), identity, int(lock), partial(_tell, int(tells)))
    os._exit(0)  # or the interpreter tidies up, and somebody waits for that


def _tell(fd: int, error: EngineError | None) -> None:
    content = json.dumps(None if error is None else to_message(error)).encode()
    with suppress(BrokenPipeError):  # the starter was killed, and that is all the same to us
        os.write(fd, content)
    os.close(fd)
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 2)  # nobody reads it from now on
    os.close(null)


async def _monitor(root: Path, identity: str, lock: int, tell: Tell) -> None:
    from aiodocker_lite.store import Store

    store = Store(root)
    container = store.containers.find(identity)
    failed: EngineError | None = None
    has_begun = False

    def begin() -> None:
        nonlocal has_begun
        if has_begun:  # and is now started again
            return
        has_begun = True
        os.dup(lock)  # free once this process has ended: who waits for that finds nothing of it
        tell(None)

    async with store.containers.alive(container, lock):
        try:
            await _run(container, store, begin)
        except Exception as error:
            if has_begun:
                raise
            failed = error if isinstance(error, EngineError) else SetupFailed("its monitor", repr(error))
            with suppress(EngineError):  # what is told now says more
                store.containers.write_failure(container, str(failed), failed.exit_code)
    # If it shall be removed, it is by now.
    if failed is not None:
        tell(failed)


async def _run(container: Container, store: Store, begin: Callable[[], None]) -> None:
    from aiodocker_lite import events
    from aiodocker_lite.options import Streams
    from aiodocker_lite.owners import find_owners
    from aiodocker_lite.restart import RestartPolicy
    from aiodocker_lite.run import find_ladder, resume
    from aiodocker_lite.store.logs import LogWriter

    owners = await find_owners(store)
    ladder = find_ladder(store, container.options, events.ignore)
    streams = Streams.captured(has_input=container.options.interactive)

    async def once() -> None:
        with LogWriter(container.path) as log:
            async with (
                resume(container, streams, store, ladder, owners, events.ignore) as running,
                anyio.create_task_group() as listening,
            ):
                await listening.start(_stop_if_asked, running)
                begin()
                await _keep_output(running, log)
                listening.cancel_scope.cancel()
        if log.refusal and not container.remove:
            store.containers.write_loss(container, f"some output could not be kept: {log.refusal}")

    policy = RestartPolicy.parse(container.options.restart)
    if policy.is_none:
        await once()
    else:
        await _again_and_again(container, store, policy, once)


async def _again_and_again(
    container: Container, store: Store, policy: RestartPolicy, once: Callable[[], Awaitable[None]]
) -> None:
    """Run it, and again as its policy says, until somebody asks it to end."""
    from aiodocker_lite.restart import next_pause
    from aiodocker_lite.runtime.process import KILLED
    from aiodocker_lite.store.watch import watching

    container.let_restart()
    pause = 0.0
    while True:
        began = anyio.current_time()
        try:
            await once()
        except EngineError as error:
            if not container.state.restarting:
                raise
            store.containers.write_given_up(container, str(error))
            return
        state = container.state
        if not container.shall_restart() or not policy.wants(
            KILLED if state.exit_code is None else state.exit_code, state.restarts
        ):
            return
        pause = next_pause(pause, anyio.current_time() - began)
        # First: who asks it to end knows by that whether it has to wait for one more beginning.
        store.containers.write_restarting(container)
        with watching(container.path) as changed, anyio.move_on_after(pause):
            while container.shall_restart():
                await changed()
        if not container.shall_restart():
            store.containers.write_given_up(container)
            return


async def _stop_if_asked(running: Running, *, task_status: TaskStatus[None]) -> None:
    """Who ends the monitor, at the shutdown of a machine for example, means the container."""
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        task_status.started()
        async for _ in signals:
            running.container.let_end()
            await running.stop()


async def _keep_output(running: Running, log: LogWriter) -> None:
    from aiodocker_lite.run import attended

    async def keep(name: StreamName, stream: ByteReceiveStream | None) -> None:
        if stream is None:  # a terminal is one for both
            return
        try:
            async for chunk in stream:
                log.write(name, chunk)
        finally:
            log.finish(name)

    await attended(running, partial(keep, "stdout", running.stdout), partial(keep, "stderr", running.stderr))
