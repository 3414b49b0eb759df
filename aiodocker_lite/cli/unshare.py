"""`unshare`: be who the files of containers belong to."""

from __future__ import annotations

import os
from typing import Annotated, NoReturn

import typer

from aiodocker_lite import subids, syscalls
from aiodocker_lite.errors import CommandNotExecutable, CommandNotFound, IsolationUnavailable


def unshare(
    command: Annotated[
        list[str] | None, typer.Argument(metavar="[COMMAND] [ARG]...", help="Default: your shell.")
    ] = None,
) -> NoReturn:
    """Run a command as root of your subordinate ids.

    Files of images and containers may belong to them, and only so can you read, change or remove
    these without this program. Without such ids the command runs as it is.
    """
    words = command or [os.environ.get("SHELL", "/bin/sh")]
    maps = subids.granted()
    try:
        if maps is not None:
            subids.enter(maps)
    except OSError as error:
        raise IsolationUnavailable("user namespaces", error.strerror or str(error)) from error
    syscalls.reset_signals()  # Python ignores some
    try:
        os.execvp(words[0], words)
    except FileNotFoundError as error:
        raise CommandNotFound(words[0], "executable file not found in $PATH") from error
    except OSError as error:
        raise CommandNotExecutable(words[0], (error.strerror or str(error)).lower()) from error
