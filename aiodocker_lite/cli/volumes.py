"""`volume`: what outlives containers."""

from __future__ import annotations

import json
import secrets
from typing import TYPE_CHECKING, Annotated, Any

import typer

from aiodocker_lite.cli import exits
from aiodocker_lite.cli.filters import Filters, Wanted, has_label, pattern, read_filters, suits, truth
from aiodocker_lite.cli.room import is_sure
from aiodocker_lite.cli.runoptions import label_of
from aiodocker_lite.cli.session import run_engine
from aiodocker_lite.cli.tables import table
from aiodocker_lite.cli.templates import formatted
from aiodocker_lite.engine import Engine
from aiodocker_lite.errors import EngineError, InvalidOption, NoSuchVolume, VolumeInUse

if TYPE_CHECKING:
    from aiodocker_lite.store.volumes import Volume

_UNNAMED = "com.docker.volume.anonymous"
"""Docker's label of a volume that it had to find a name for."""
_TITLES = {
    "Driver": "DRIVER", "Name": "VOLUME NAME", "Scope": "SCOPE", "Mountpoint": "MOUNTPOINT", "Labels": "LABELS",
    "Links": "LINKS", "Size": "SIZE", "Availability": "AVAILABILITY", "Group": "GROUP", "Status": "STATUS",
}  # fmt: skip


def ls(
    context: typer.Context,
    filter: Filters = None,
    format: Annotated[
        str | None,
        typer.Option(metavar="FORMAT", help="'table', 'json', or a template such as '{{.Name}}'."),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Only print names.")] = False,
) -> int:
    """List volumes.

    Filters: name, dangling, label, driver.
    """
    wanted = read_filters(filter, ("name", "dangling", "label", "driver"))

    async def work(engine: Engine) -> list[Volume]:
        return [volume for volume in engine.store.volumes.all() if _is_wanted(engine, volume, wanted)]

    found = run_engine(context, work)
    if format not in (None, "table"):
        lines = formatted(format or "", map(_row, found), _TITLES)
    elif quiet:
        lines = [volume.name for volume in found]
    else:
        lines = [table(("DRIVER", "VOLUME NAME"), [("local", volume.name) for volume in found])]
    for line in lines:
        typer.echo(line)
    return 0


def create(
    context: typer.Context,
    name: Annotated[
        str | None, typer.Argument(metavar="[VOLUME]", help="Its name; else one is made.")
    ] = None,
    driver: Annotated[
        str, typer.Option("--driver", "-d", metavar="NAME", help="Only 'local' is here.")
    ] = "local",
    label: Annotated[
        list[str] | None, typer.Option("--label", metavar="NAME[=VALUE]", help="A label of the volume.")
    ] = None,
) -> int:
    """Make a volume.

    `run -v NAME:PATH` makes the ones that are missing, too.
    """
    if driver != "local":
        raise InvalidOption("--driver", f"there is only 'local', and not '{driver}'")
    labels = dict(label_of("--label", text) for text in label or ())
    if not name:
        name, labels = secrets.token_hex(32), {**labels, _UNNAMED: ""}

    async def work(engine: Engine) -> str:
        return engine.store.create().volumes.make(name, labels).name

    typer.echo(run_engine(context, work))
    return 0


def inspect(
    context: typer.Context,
    names: Annotated[list[str], typer.Argument(metavar="VOLUME...")],
    format: Annotated[
        str | None,
        typer.Option(
            "--format", "-f", metavar="FORMAT", help="A template such as '{{.Mountpoint}}', or 'json'."
        ),
    ] = None,
) -> int:
    """Print everything about volumes, as a JSON array.

    Exits with 1 if any of them is not there; the others are printed.
    """
    missing: list[NoSuchVolume] = []

    async def work(engine: Engine) -> list[dict[str, Any]]:
        found = []
        for name in names:
            try:
                found.append(_described(engine.store.volumes.find(name)))
            except NoSuchVolume as error:
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


def rm(
    context: typer.Context,
    names: Annotated[list[str], typer.Argument(metavar="VOLUME...")],
    force: Annotated[
        bool, typer.Option("--force", "-f", help="What is not there is as good as removed.")
    ] = False,
) -> int:
    """Remove volumes that no container has.

    Exits with 1 if any of them could not be removed; the others are.
    """
    return max([_remove(context, name, force=force) for name in names])


def prune(
    context: typer.Context,
    all: Annotated[bool, typer.Option("--all", "-a", help="Also those that were given a name.")] = False,
    filter: Annotated[
        list[str] | None,
        typer.Option("--filter", metavar="KEY=VALUE", help="Only some: label=NAME, label!=NAME[=VALUE]."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", "-f", help="Do not ask.")] = False,
) -> int:
    """Remove volumes without a name that no container has."""
    wanted = read_filters(filter, ("label", "label!"))
    kind = "all" if all else "anonymous local"
    if not force and not is_sure(f"This will remove {kind} volumes not used by at least one container."):
        return 1

    async def work(engine: Engine) -> list[str]:
        removed = []
        for volume in engine.store.volumes.all():
            if (all or _UNNAMED in volume.labels) and _is_wanted(engine, volume, wanted):
                try:
                    engine.store.volumes.remove(volume.name)
                except VolumeInUse:
                    continue
                removed.append(volume.name)
        return removed

    if removed := run_engine(context, work):
        typer.echo("\n".join(("Deleted Volumes:", *removed)))
    return 0


def _is_wanted(engine: Engine, volume: Volume, wanted: Wanted) -> bool:
    def one(key: str, value: str) -> bool:
        match key:
            case "name":
                return pattern(value).search(volume.name) is not None
            case "dangling":
                return truth(value) is not bool(engine.store.volumes.users(volume))
            case "driver":
                return value == "local"
            case "label!":
                return not has_label(volume.labels, value)
            case _:
                return has_label(volume.labels, value)

    return suits(wanted, one)


def _row(volume: Volume) -> dict[str, Any]:
    """Docker's keys, and its strings for values."""
    return {
        "Availability": "N/A",
        "Driver": "local",
        "Group": "N/A",
        "Labels": ",".join(f"{key}={value}" for key, value in sorted(volume.labels.items())),
        "Links": "N/A",
        "Mountpoint": str(volume.path),
        "Name": volume.name,
        "Scope": "local",
        "Size": "N/A",
        "Status": "N/A",
        "Label": lambda name: volume.labels.get(name, ""),
    }


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
