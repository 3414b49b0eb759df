"""`stats` and `top`: what containers use, and what runs in them."""

from __future__ import annotations

import pwd
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import anyio
import typer

from aiodocker_lite.cli.session import run_engine
from aiodocker_lite.cli.tables import table
from aiodocker_lite.cli.templates import formatted
from aiodocker_lite.engine import Engine
from aiodocker_lite.errors import ContainerNotRunning, NoSuchContainer
from aiodocker_lite.sizes import binary_size, human_size

if TYPE_CHECKING:
    from aiodocker_lite.engine import Container, Process, Usage

_TITLES = {
    "ID": "CONTAINER ID", "Name": "NAME", "CPUPerc": "CPU %", "MemUsage": "MEM USAGE / LIMIT", "MemPerc": "MEM %",
    "NetIO": "NET I/O", "BlockIO": "BLOCK I/O", "PIDs": "PIDS", "Container": "CONTAINER",
}  # fmt: skip
_COLUMNS = ("ID", "Name", "CPUPerc", "MemUsage", "MemPerc", "NetIO", "BlockIO", "PIDs")
_PERIOD = 1.0
"""Seconds over which the use of processors is measured."""
_NOTHING = "--"
_CLEAR = "\033[2J\033[H"


def stats(
    context: typer.Context,
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[CONTAINER...]", help="Else all that run.")
    ] = None,
    all: Annotated[bool, typer.Option("--all", "-a", help="Also those that do not run.")] = False,
    no_stream: Annotated[bool, typer.Option("--no-stream", help="Only once, after a second.")] = False,
    no_trunc: Annotated[bool, typer.Option("--no-trunc", help="Print whole IDs.")] = False,
    format: Annotated[
        str | None,
        typer.Option(metavar="FORMAT", help="'table', 'json', or a template such as '{{.CPUPerc}}'."),
    ] = None,
) -> int:
    """Show what containers use, every second.

    CPU and memory by control groups where a container has limits of them, else by its processes.
    """

    async def work(engine: Engine) -> None:
        for name in names or ():
            await engine.container(name)
        after = await _measure(engine, names, all=all)
        while True:
            before = {container.id: measured for container, measured in after if measured}
            await anyio.sleep(_PERIOD)
            after = await _measure(engine, names, all=all)
            rows = [
                _row(container, before.get(container.id), measured, whole=no_trunc)
                for container, measured in after
            ]
            _show(rows, format, clear=not no_stream and sys.stdout.isatty())
            if no_stream:
                return

    run_engine(context, work)
    return 0


async def _measure(
    engine: Engine, names: Sequence[str] | None, *, all: bool
) -> list[tuple[Container, tuple[float, Usage] | None]]:
    """The containers that are wanted, and when they used what; nothing for one that does not run."""
    found: list[tuple[Container, tuple[float, Usage] | None]] = []
    chosen = list(reversed(await engine.containers()))
    if names:
        chosen = [each for name in names for each in chosen if name == each.name or each.id.startswith(name)]
    for container in chosen:
        try:
            found.append((container, (time.monotonic(), await engine.container_usage(container.id))))
        except ContainerNotRunning:
            if names or all:
                found.append((container, None))
        except NoSuchContainer:  # it was removed meanwhile
            continue
    return found


def _row(
    container: Container,
    before: tuple[float, Usage] | None,
    after: tuple[float, Usage] | None,
    *,
    whole: bool,
) -> dict[str, Any]:
    """Docker's keys, and its strings for values."""
    identity = container.id if whole else container.id[:12]
    row = dict.fromkeys(_TITLES, _NOTHING) | {
        "ID": identity,
        "Container": identity,
        "Name": container.name,
    }
    if after is None:
        return row
    then, usage = after
    cpu = 0.0
    if before is not None and then > before[0]:
        cpu = max(0.0, usage.cpu - before[1].cpu) / (then - before[0])
    return row | {
        "CPUPerc": f"{100 * cpu:.2f}%",
        "MemUsage": f"{binary_size(usage.memory)} / {binary_size(usage.memory_limit)}",
        "MemPerc": f"{100 * usage.memory / max(1, usage.memory_limit):.2f}%",
        "NetIO": f"{human_size(usage.received, 3)} / {human_size(usage.sent, 3)}",
        "BlockIO": f"{human_size(usage.read, 3)} / {human_size(usage.written, 3)}",
        "PIDs": str(usage.pids),
    }


def _show(rows: Sequence[dict[str, Any]], format: str | None, *, clear: bool) -> None:
    if format in (None, "table"):
        lines = [
            table(
                [_TITLES[column] for column in _COLUMNS],
                ([row[column] for column in _COLUMNS] for row in rows),
            )
        ]
    else:
        lines = formatted(format or "", rows, _TITLES)
    typer.echo(_CLEAR if clear else "", nl=False)
    for line in lines:
        typer.echo(line)
    sys.stdout.flush()


def top(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="CONTAINER", help="A name or a container ID.")],
) -> int:
    """Show a container's processes, as this machine sees them."""
    found = run_engine(context, lambda engine: engine.container_processes(name))
    head = ("UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD")
    rows = [head, *(_columns(process) for process in found)]
    # Docker's columns are at least 20 wide.
    widths = [max(20, 3 + max(len(row[column]) for row in rows)) for column in range(len(head) - 1)]
    for *cells, command in rows:
        typer.echo("".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)) + command)
    return 0


def _columns(process: Process) -> tuple[str, ...]:
    """As `ps -ef` of procps has them."""
    age = max(1.0, time.time() - process.started)
    began = time.localtime(process.started)
    hours, rest = divmod(int(process.cpu), 3600)
    return (
        _user(process.uid),
        str(process.pid),
        str(process.parent),
        str(min(99, int(100 * process.cpu / age))),
        time.strftime("%H:%M" if age < 86400 else "%b%d", began),
        process.terminal,
        f"{hours:02}:{rest // 60:02}:{rest % 60:02}",
        process.command,
    )


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
