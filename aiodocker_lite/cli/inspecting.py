"""`inspect`: everything about containers and images."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from aiodocker_lite.cli import exits
from aiodocker_lite.cli.session import run_engine
from aiodocker_lite.cli.templates import formatted
from aiodocker_lite.engine import Engine
from aiodocker_lite.errors import EngineError, InvalidOption, NoSuchContainer, NoSuchImage, NoSuchObject


def inspect(
    context: typer.Context,
    names: Annotated[list[str], typer.Argument(metavar="NAME...", help="Of containers or images, or IDs.")],
    format: Annotated[
        str | None,
        typer.Option("--format", "-f", metavar="FORMAT", help="A template such as '{{.Id}}', or 'json'."),
    ] = None,
    type: Annotated[
        str | None, typer.Option(metavar="TYPE", help="Only a 'container', or only an 'image', of this name.")
    ] = None,
) -> int:
    """Print all about containers and images, as a JSON array.

    Of a container and an image of one name, it is the container. Exits with 1 if any of them is not in the
    store; the others are printed.
    """
    if type not in (None, "container", "image"):
        raise InvalidOption("--type", f"'{type}' is neither 'container' nor 'image'")
    missing: list[EngineError] = []

    async def work(engine: Engine) -> list[dict[str, Any]]:
        found = []
        for name in names:
            try:
                found.append(await _find(engine, name, type))
            except (NoSuchContainer, NoSuchImage, NoSuchObject) as error:
                missing.append(error)
        return found

    found = run_engine(context, work)
    if format in (None, "json"):
        typer.echo(json.dumps(found, indent=4 if format is None else None, ensure_ascii=False))
    else:
        for line in formatted(format or "", found, {}):
            typer.echo(line)
    for error in missing:
        exits.complain(error)
    return 1 if missing else 0


async def _find(engine: Engine, name: str, kind: str | None) -> dict[str, Any]:
    if kind != "image":
        try:
            return await engine.describe_container(name)
        except NoSuchContainer:
            if kind == "container":
                raise
    try:
        return (await engine.image(name)).describe()
    except NoSuchImage:
        if kind == "image":
            raise
        raise NoSuchObject(name) from None
