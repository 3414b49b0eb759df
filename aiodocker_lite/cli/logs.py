"""`logs`, and `start --attach`: what detached containers write."""

from __future__ import annotations

import math
import re
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import anyio
import typer

from aiodocker_lite.cli.session import run_engine
from aiodocker_lite.engine import Engine
from aiodocker_lite.errors import ContainerNotRunning, InvalidOption

if TYPE_CHECKING:
    from aiodocker_lite.engine import LogLines

_SPAN = re.compile(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+(?:\.\d+)?)s)?")

_LOGGED = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?Z")


def logs(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="CONTAINER", help="A name or a container ID.")],
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on with what it writes, until it ends.")
    ] = False,
    tail: Annotated[str, typer.Option("--tail", "-n", metavar="N", help="Only the last N lines.")] = "all",
    timestamps: Annotated[
        bool, typer.Option("--timestamps", "-t", help="When each was written, before it.")
    ] = False,
    since: Annotated[
        str, typer.Option(metavar="TIME", help="Only what is newer: a time, seconds since 1970, or 10m, 2h.")
    ] = "",
    until: Annotated[str, typer.Option(metavar="TIME", help="Only what is older.")] = "",
) -> int:
    """Print what a detached container has written.

    Each of its streams goes to the one of the same name.
    """
    # As docker does: what is no number means all.
    count = int(tail) if tail.isascii() and tail.isdigit() else None
    first, last = _moment("--since", since), _moment("--until", until)

    def show(lines: LogLines) -> None:
        _show(lines, timestamps=timestamps)

    async def work(engine: Engine) -> None:
        await engine.logs(name, show, follow=follow, tail=count, since=first, until=last)

    run_engine(context, work)
    return 0


def start_attached(context: typer.Context, names: Sequence[str]) -> int:
    """Start one container, print what it writes, and return its exit code; signals are passed on."""
    if len(names) != 1:
        raise InvalidOption("--attach", "only one container can be attached to")
    (name,) = names
    tells, told = anyio.create_memory_object_stream[str](math.inf)

    def pass_on(number: signal.Signals) -> bool:
        tells.send_nowait(str(int(number)))
        return True

    async def work(engine: Engine) -> int:
        container = await engine.container(name)
        begin = _as_logged(time.time())
        await engine.start_container(container.id)

        async def deliver() -> None:
            async for number in told:
                with suppress(ContainerNotRunning):  # then it is about to end
                    await engine.kill_container(container.id, number)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(deliver)
            await engine.logs(container.id, _show, follow=True, since=begin)
            tasks.cancel_scope.cancel()
        return await engine.wait_container(container.id)

    with tells, told:
        return run_engine(context, work, on_signal=pass_on)


def _show(found: LogLines, *, timestamps: bool = False) -> None:
    stream = sys.stderr if found.stream == "stderr" else sys.stdout
    before = f"{found.time} ".encode() if timestamps else b""
    stream.buffer.write(b"".join([before + line for line in found.lines] if before else found.lines))
    stream.buffer.flush()


def _moment(option: str, text: str) -> str:
    """A time as log lines have it. Raises InvalidOption."""
    if not text:
        return ""
    if exact := _LOGGED.fullmatch(text):
        return f"{exact[1]}.{exact[2] or '':0<9}Z"
    span = _SPAN.fullmatch(text)
    if span is not None:
        hours, minutes, seconds = (float(part or 0) for part in span.groups())
        then = time.time() - hours * 3600 - minutes * 60 - seconds
    else:
        try:
            then = float(text)
        except ValueError:
            then = _calendar(option, text)
    try:
        return _as_logged(then)
    except (ValueError, OverflowError, OSError) as error:
        raise InvalidOption(option, f"'{text}' is out of range") from error


def _as_logged(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC).strftime('%Y-%m-%dT%H:%M:%S.%f')}000Z"


def _calendar(option: str, text: str) -> float:
    try:
        return datetime.fromisoformat(text).timestamp()  # without a zone it is the local one, as with docker
    except ValueError as error:
        raise InvalidOption(
            option, f"'{text}' is no time, such as 2026-01-31T12:00:00Z, 1767182400 or 10m"
        ) from error
