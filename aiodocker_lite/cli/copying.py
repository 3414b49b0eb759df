"""`cp`: files between this machine and a container."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from aiodocker_lite.cli import exits
from aiodocker_lite.cli.session import run_engine
from aiodocker_lite.engine import Engine
from aiodocker_lite.errors import InvalidOption

_SAID_MAX = 5


def cp(
    context: typer.Context,
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="CONTAINER:PATH, PATH, or '-' for a tar.")],
    target: Annotated[str, typer.Argument(metavar="TARGET", help="The other one.")],
    archive: Annotated[bool, typer.Option("--archive", "-a", help="Keep users and groups.")] = False,
    follow: Annotated[
        bool, typer.Option("--follow-link", "-L", help="Copy what a link leads to, and not the link.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Nothing is printed anyway.")] = False,
) -> int:
    """Copy files from a container, or into one, running or not.

    A directory that ends in '/.' is its content. With '-', a tar is read from standard input, or written
    to standard output.
    """
    name, path = _split(source)
    other, place = _split(target)
    if bool(name) == bool(other):
        what = "between containers" if name else "without a container"
        raise InvalidOption("SOURCE", f"nothing can be copied {what}: one of both is CONTAINER:PATH")

    async def work(engine: Engine) -> None:
        if name:
            to = sys.stdout.buffer if place == "-" else place
            changed = await engine.copy_from(name, path, to, follow=follow, archive=archive)
            more = len(changed) - _SAID_MAX
            for sentence in changed[:_SAID_MAX]:
                exits.say(f"Warning: {sentence}")
            if more > 0:
                exits.say(f"Warning: and {more} more")
        else:
            what = sys.stdin.buffer if path == "-" else path
            await engine.copy_into(other, place, what, follow=follow, archive=archive)

    run_engine(context, work)
    return 0


def _split(text: str) -> tuple[str, str]:
    """The container, empty for this machine, and the path; as with docker, ``./a:b`` is a path."""
    name, colon, path = text.partition(":")
    if not colon or text.startswith((".", "/", "-")):
        return "", text
    if not name or not path:
        raise InvalidOption("SOURCE", f"'{text}' is not CONTAINER:PATH")
    return name, path
