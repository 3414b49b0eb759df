"""What is done to containers by name: `start`, `stop`, `restart`, `kill`, `wait`, `rm`, `rename`, `attach`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Annotated

import anyio
import typer

from aiodocker_lite.cli import exits
from aiodocker_lite.cli.session import run_engine
from aiodocker_lite.engine import Engine
from aiodocker_lite.errors import EngineError, NoSuchContainer

_AT_ONCE = 50
"""As many as docker."""

Names = Annotated[list[str], typer.Argument(metavar="CONTAINER...", help="Names or container IDs.")]
Signal = Annotated[
    str | None,
    typer.Option(
        "--signal", "-s", metavar="SIGNAL", help="By name or number; else as options and image say."
    ),
]
Grace = Annotated[
    int | None,
    typer.Option(
        "--timeout",
        "--time",
        "-t",
        metavar="SECONDS",
        help="How long to wait before it is killed; -1: for ever.",
    ),
]


def start(
    context: typer.Context,
    names: Names,
    attach: Annotated[
        bool, typer.Option("--attach", "-a", help="Print its output, and exit with its exit code.")
    ] = False,
) -> int:
    """Start containers that have ended.

    They are detached, and find what they have written. Exits with 1 if any of them could not be started.
    """
    if not attach:
        return _each(context, names, _start)
    from aiodocker_lite.cli.logs import start_attached

    return start_attached(context, names)


async def _start(engine: Engine, name: str) -> str:
    await engine.start_container(name)
    return name


def stop(context: typer.Context, names: Names, grace: Grace = None, signal: Signal = None) -> int:
    """Ask containers to end, and kill what does not.

    It has 10 seconds. Exits with 1 if any of them is not there.
    """

    async def work(engine: Engine, name: str) -> str:
        await engine.stop_container(name, signal=signal, grace=grace)
        return name

    return _each(context, names, work, at_once=True)


def restart(context: typer.Context, names: Names, grace: Grace = None, signal: Signal = None) -> int:
    """Stop containers and start them again.

    Exits with 1 if any of them could not be started.
    """

    async def work(engine: Engine, name: str) -> str:
        await engine.stop_container(name, signal=signal, grace=grace)
        return await _start(engine, name)

    return _each(context, names, work)


def kill(
    context: typer.Context,
    names: Names,
    signal: Annotated[
        str, typer.Option("--signal", "-s", metavar="SIGNAL", help="Another one, by name or number.")
    ] = "KILL",
) -> int:
    """Send SIGKILL to the first processes of containers.

    Exits with 1 if any of them does not run.
    """

    async def work(engine: Engine, name: str) -> str:
        await engine.kill_container(name, signal or "KILL")  # nothing is as good as no option
        return name

    return _each(context, names, work, at_once=True)


def wait(context: typer.Context, names: Names) -> int:
    """Wait for containers to end, and print their exit codes."""

    async def work(engine: Engine, name: str) -> str:
        return str(await engine.wait_container(name))

    return _each(context, names, work)


def rm(
    context: typer.Context,
    names: Names,
    force: Annotated[bool, typer.Option("--force", "-f", help="Kill what runs.")] = False,
    volumes: Annotated[bool, typer.Option("--volumes", "-v", help="Also volumes that have no name.")] = False,
) -> int:
    """Remove containers, with everything they wrote.

    Exits with 1 if any of them could not be removed.
    """

    async def work(engine: Engine, name: str) -> str:
        await engine.remove_container(name, force=force)
        return name

    # As docker does: what is not there is told, and is gone.
    return _each(context, names, work, at_once=True, forgiven=(NoSuchContainer,) if force else ())


def rename(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="CONTAINER", help="A name or a container ID.")],
    new: Annotated[str, typer.Argument(metavar="NEW_NAME")],
) -> int:
    """Give a container another name."""
    run_engine(context, lambda engine: engine.rename_container(name, new))
    return 0


def attach(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="CONTAINER", help="A name or a container ID.")],
) -> int:
    """Not possible here: see `logs --follow`."""
    exits.say(f"attach is not supported: 'logs -f {name}' shows what it writes, and 'kill' sends signals")
    return 125


def _each(
    context: typer.Context,
    names: Sequence[str],
    work: Callable[[Engine, str], Awaitable[str]],
    *,
    at_once: bool = False,
    forgiven: tuple[type[EngineError], ...] = (),
) -> int:
    """Do it to each, and print in their order what that gives; what fails does not stop the others."""
    limiter = anyio.CapacityLimiter(_AT_ONCE if at_once else 1)

    async def all_of_them(engine: Engine) -> bool:
        answers: list[str | EngineError | None] = [None] * len(names)
        shown = 0

        async def one(position: int) -> None:
            nonlocal shown
            async with limiter:
                try:
                    answers[position] = await work(engine, names[position])
                except EngineError as error:
                    answers[position] = error
            while shown < len(names) and (answer := answers[shown]) is not None:
                exits.complain(answer) if isinstance(answer, EngineError) else typer.echo(answer)
                shown += 1

        async with anyio.create_task_group() as tasks:
            for position in range(len(names)):
                tasks.start_soon(one, position)
        return any(isinstance(answer, EngineError) and not isinstance(answer, forgiven) for answer in answers)

    return 1 if run_engine(context, all_of_them) else 0
