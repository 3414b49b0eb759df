"""`volume`: what outlives containers."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from aiodocker_lite.cli import exits
from aiodocker_lite.cli.session import run_engine
from aiodocker_lite.cli.tables import table
from aiodocker_lite.engine import Engine
from aiodocker_lite.errors import EngineError, InvalidOption, NoSuchVolume, VolumeInUse

if TYPE_CHECKING:
    from aiodocker_lite.store.volumes import Volume


def volume(
    context: typer.Context,
    action: Annotated[str, typer.Argument(metavar="ls|create|inspect|rm|prune")],
    names: Annotated[list[str] | None, typer.Argument(metavar="[VOLUME...]")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="ls: only print names.")] = False,
    label: Annotated[
        list[str] | None, typer.Option("--label", metavar="NAME[=VALUE]", help="create: a label.")
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", "-f", help="rm: what is not there is removed. prune: do not ask.")
    ] = False,
) -> int:
    """List, make and remove volumes.

    `run -v NAME:PATH` makes the ones that are missing. `prune` removes all that no container has.
    """
    given = names or []
    match action:
        case "ls" | "list" if not given:
            return _list(context, quiet=quiet)
        case "create" if len(given) <= 1:
            name = given[0] if given else secrets.token_hex(32)
            labels = {text.partition("=")[0]: text.partition("=")[2] for text in label or ()}
            return _do(context, lambda engine: engine.store.create().volumes.make(name, labels).name)
        case "inspect" if given:
            return _inspect(context, given)
        case "rm" | "remove" if given:
            return max(_remove(context, name, force=force) for name in given)
        case "prune" if not given:
            return _prune(context, force=force)
        case "ls" | "list" | "create" | "inspect" | "rm" | "remove" | "prune":
            some = {"create": "at most one name", "inspect": "names", "rm": "names", "remove": "names"}
            wanted = some.get(action, "no name")
            raise InvalidOption("VOLUME", f"'volume {action}' takes {wanted}")
        case _:
            raise InvalidOption("volume", f"'{action}' is none of ls, create, inspect, rm and prune")


def _do(context: typer.Context, deed: Callable[[Engine], str]) -> int:
    async def work(engine: Engine) -> str:
        return deed(engine)

    typer.echo(run_engine(context, work))
    return 0


def _list(context: typer.Context, *, quiet: bool) -> int:
    async def work(engine: Engine) -> list[str]:
        return [volume.name for volume in engine.store.volumes.all()]

    found = run_engine(context, work)
    if not quiet:
        typer.echo(table(("DRIVER", "VOLUME NAME"), [("local", name) for name in found]))
    elif found:
        typer.echo("\n".join(found))
    return 0


def _inspect(context: typer.Context, names: list[str]) -> int:
    missing: list[NoSuchVolume] = []

    async def work(engine: Engine) -> list[dict[str, Any]]:
        found = []
        for name in names:
            try:
                found.append(_described(engine.store.volumes.find(name)))
            except NoSuchVolume as error:
                missing.append(error)
        return found

    typer.echo(json.dumps(run_engine(context, work), indent=4))
    for error in missing:
        exits.complain(error)
    return 1 if missing else 0


def _described(volume: Volume) -> dict[str, Any]:
    """With docker's keys."""
    return {
        "CreatedAt": volume.created,
        "Driver": "local",
        "Labels": dict(volume.labels) or None,
        "Mountpoint": str(volume.path),
        "Name": volume.name,
        "Options": None,
        "Scope": "local",
    }


def _remove(context: typer.Context, name: str, *, force: bool) -> int:
    async def work(engine: Engine) -> None:
        if not force or any(volume.name == name for volume in engine.store.volumes.all()):
            engine.store.volumes.remove(name)

    try:
        run_engine(context, work)
    except EngineError as error:
        exits.complain(error)
        return 1
    typer.echo(name)
    return 0


def _prune(context: typer.Context, *, force: bool) -> int:
    if not force:
        typer.echo("WARNING! This will remove all volumes not used by at least one container.", err=True)
        if not typer.confirm("Are you sure you want to continue?", err=True):
            return 1

    async def work(engine: Engine) -> list[str]:
        removed = []
        for volume in engine.store.volumes.all():
            try:
                engine.store.volumes.remove(volume.name)
            except VolumeInUse:
                continue
            removed.append(volume.name)
        return removed

    if removed := run_engine(context, work):
        typer.echo("\n".join(("Deleted Volumes:", *removed)))
    return 0
