"""An engine for one command: settings from options, an event loop, signals."""

from __future__ import annotations

import signal
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import anyio
from anyio.abc import TaskStatus

from aiodocker_lite import syscalls
from aiodocker_lite.cli.exits import Interrupted
from aiodocker_lite.engine import Engine
from aiodocker_lite.errors import one_error
from aiodocker_lite.settings import Settings

if TYPE_CHECKING:
    import typer

T = TypeVar("T")
OnSignal = Callable[[signal.Signals], bool]
"""Takes care of a signal, or returns False: then the command is cancelled."""


def run_engine(
    context: typer.Context,
    work: Callable[[Engine], Awaitable[T]],
    *,
    many_bytes: bool = False,
    on_signal: OnSignal = lambda _: False,
    signals: Sequence[signal.Signals] = (signal.SIGINT, signal.SIGTERM),
    **settings: Any,
) -> T:
    """Run `work` with an open engine; `many_bytes` is worth the import of uvloop.

    These signals cancel it in an orderly way, unless `on_signal` takes care of them; a second one ends us at
    once. Raises what `work` raises, and Interrupted.
    """
    _have_interrupts_end_us()
    if context.obj:
        settings["root"] = Path(context.obj)
    if settings.get("authfile") is not None:
        settings["authfile"] = Path(settings["authfile"])
    options = {}
    if many_bytes:
        syscalls.keep_freed_memory()
        from aiodocker_lite.cli.loop import new_loop

        options["loop_factory"] = new_loop
    heard = [number for number in signals if number != signal.SIGHUP or not _ignores_hangups()]
    call = partial(_with_engine, Settings(**settings), work, on_signal, heard)
    return anyio.run(call, backend_options=options)


async def _with_engine(
    settings: Settings,
    work: Callable[[Engine], Awaitable[T]],
    on_signal: OnSignal,
    heard: Sequence[signal.Signals],
) -> T:
    interrupted: list[signal.Signals] = []

    async def listen(scope: anyio.CancelScope, *, task_status: TaskStatus[None]) -> None:
        try:
            with anyio.open_signal_receiver(*heard) as signals:
                task_status.started()
                async for number in signals:
                    if not on_signal(number):
                        interrupted.append(number)
                        scope.cancel()
                        return
        finally:
            _have_interrupts_end_us()

    with one_error():
        async with anyio.create_task_group() as tasks:
            await tasks.start(listen, tasks.cancel_scope)
            async with Engine(settings, lean=True) as engine:
                result = await work(engine)
            tasks.cancel_scope.cancel()
            return result
    raise Interrupted(interrupted[0])


def _ignores_hangups() -> bool:
    """As nohup(1) wants it."""
    return signal.getsignal(signal.SIGHUP) is signal.SIG_IGN


def _have_interrupts_end_us() -> None:
    """Python's own way is an exception anywhere: in an event loop that ends, it leaves threads that never do."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
