"""`exec`: one more command in a container that runs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Annotated

import typer

from aiodocker_lite.cli import exits
from aiodocker_lite.cli.runoptions import environment
from aiodocker_lite.cli.session import run_engine
from aiodocker_lite.engine import Engine
from aiodocker_lite.errors import InvalidUser
from aiodocker_lite.options import ExecOptions, Streams


def exec(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="CONTAINER", help="A name or a container ID.")],
    command: Annotated[list[str], typer.Argument(metavar="COMMAND [ARG]...", help="What to execute.")],
    detach: Annotated[bool, typer.Option("--detach", "-d", help="Let it run by itself.")] = False,
    env: Annotated[
        list[str] | None,
        typer.Option("--env", "-e", metavar="NAME[=VALUE]", help="A variable; without VALUE, as here."),
    ] = None,
    env_file: Annotated[
        list[str] | None, typer.Option("--env-file", metavar="FILE", help="Variables, one a line.")
    ] = None,
    interactive: Annotated[bool, typer.Option("--interactive", "-i", help="Pass standard input on.")] = False,
    privileged: Annotated[
        bool, typer.Option("--privileged", help="With all capabilities, and without a filter.")
    ] = False,
    terminal: Annotated[
        bool, typer.Option("--tty", "-t", help="Give it a terminal; with -i, this one's keys.")
    ] = False,
    user: Annotated[
        str | None, typer.Option("--user", "-u", metavar="USER[:GROUP]", help="By name or number.")
    ] = None,
    workdir: Annotated[
        str | None, typer.Option("--workdir", "-w", metavar="DIR", help="The directory to begin in.")
    ] = None,
) -> int:
    """Run one more command in a container.

    It ends with the container, and with this one. Exit codes: 126 if it cannot be executed or has no such user, 127 if it
    was not found, 128+n if signal n ended it, and otherwise its own.
    """
    options = ExecOptions(
        env=environment(env_file, env),
        user=user or None,
        workdir=workdir or None,
        terminal=terminal,
        privileged=privileged,
    )
    has_keys = interactive and not detach
    size = None
    if terminal:
        from aiodocker_lite.cli.terminal import attend, check_keys, size_here

        check_keys(interactive=has_keys)
        size = size_here()
    has_begun: Callable[[], None] = _nobody_waits

    async def work(engine: Engine) -> int:
        stdin = sys.stdin.fileno() if has_keys else subprocess.DEVNULL
        output = subprocess.DEVNULL if detach else None
        streams = Streams(stdin, output, output, size)
        async with engine.exec(name, command, options, streams=streams) as process:
            has_begun()
            if process.terminal and not await attend(process.terminal, interactive=has_keys):
                return 128 + signal.SIGHUP
            return await process.wait()

    if detach:
        has_begun = _left_behind()
    try:
        return run_engine(context, work)
    except InvalidUser as error:
        exits.complain(error)
        return 126  # docker's runtime says so by then, and no longer its daemon


def _nobody_waits() -> None:
    """What is in front has begun when one sees it."""


def _left_behind() -> Callable[[], None]:
    """Return in a process of its own; the one that was called ends with 0 when it is told to, or as this one ends.

    No thread has been started by now, so what is forked is whole.
    """
    told, tells = os.pipe()
    child = os.fork()
    if child:
        os.close(tells)
        if os.read(told, 1):
            os._exit(0)
        os._exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    os.close(told)
    os.setsid()
    signal.signal(signal.SIGHUP, signal.SIG_IGN)

    def tell() -> None:
        null = os.open(os.devnull, os.O_RDWR)
        for fd in (0, 1, 2):
            os.dup2(null, fd)
        os.close(null)
        with suppress(BrokenPipeError):
            os.write(tells, b"0")
        os.close(tells)

    return tell
