"""`ps` and `rm`: what was run."""

from __future__ import annotations

from functools import partial
from typing import Annotated

import typer

from aiodocker_lite.cli import exits
from aiodocker_lite.cli.session import run_engine
from aiodocker_lite.cli.tables import age, ago, table
from aiodocker_lite.engine import Engine
from aiodocker_lite.errors import EngineError, printable

_COMMAND_MAX = 20


def ps(
    context: typer.Context,
    all: Annotated[bool, typer.Option("--all", "-a", help="Also those that have ended.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Only print container IDs.")] = False,
    no_trunc: Annotated[bool, typer.Option("--no-trunc", help="Print whole IDs and commands.")] = False,
) -> int:
    """List containers, the newest first."""

    async def work(engine: Engine) -> list[tuple[str, ...]]:
        rows: list[tuple[str, ...]] = []
        for container in reversed(await engine.containers()):
            running = container.running
            if not running and not all:
                continue
            if running:
                state = f"Up {age(container.created)}"
            else:
                state = "Dead" if container.exit_code is None else f"Exited ({container.exit_code})"
            command = printable(" ".join(container.command))
            if len(command) > _COMMAND_MAX and not no_trunc:
                command = f"{command[: _COMMAND_MAX - 1]}…"
            identity = container.id if no_trunc else container.id[:12]
            rows.append(
                (identity, container.image, f'"{command}"', ago(container.created), state, container.name)
            )
        return rows

    rows = run_engine(context, work)
    if quiet:
        for row in rows:
            typer.echo(row[0])
    else:
        typer.echo(table(("CONTAINER ID", "IMAGE", "COMMAND", "CREATED", "STATUS", "NAMES"), rows))
    return 0


def rm(
    context: typer.Context,
    names: Annotated[list[str], typer.Argument(metavar="CONTAINER...", help="Names or container IDs.")],
) -> int:
    """Remove containers that have ended, with everything they wrote."""
    failed = False
    for name in names:
        try:
            run_engine(context, partial(Engine.remove_container, name=name))
        except EngineError as error:
            failed = True
            exits.complain(error)
        else:
            typer.echo(name)
    return 1 if failed else 0
