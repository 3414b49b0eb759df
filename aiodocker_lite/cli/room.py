"""`prune` and `df`: room on the disk."""

from __future__ import annotations

import json
import re
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from aiodocker_lite.cli import exits
from aiodocker_lite.cli.options import size_of
from aiodocker_lite.cli.session import run_engine
from aiodocker_lite.cli.tables import table
from aiodocker_lite.engine import Engine
from aiodocker_lite.errors import InvalidOption
from aiodocker_lite.sizes import human_size

if TYPE_CHECKING:
    from aiodocker_lite.engine import Pruned, Room

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def prune(
    context: typer.Context,
    all: Annotated[
        bool, typer.Option("--all", "-a", help="All images that no container uses, not only nameless ones.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", "-f", help="Do not ask.")] = False,
    partial_older_than: Annotated[
        str,
        typer.Option(
            metavar="TIME", help="Partial downloads not continued for this time, such as 12h or 7d."
        ),
    ] = "24h",
    partial_max: Annotated[
        str | None,
        typer.Option(metavar="SIZE", help="Of the others keep so much, such as 10G; the oldest go."),
    ] = None,
    only: Annotated[
        str | None, typer.Option(metavar="KIND", help="Only 'containers', or only 'images'.")
    ] = None,
) -> int:
    """Remove what nobody uses.

    Ended containers, images that no container uses, and partial downloads; whole layers of a pull that
    did not end after the same time, and with --all at once. What somebody uses or is bringing at this
    moment stays. The last line says how much room that gave.
    """
    seconds, most = _seconds(partial_older_than), size_of("--partial-max", partial_max)
    match only:
        case None | "containers" | "images" as kind:
            pass
        case _:
            raise InvalidOption("--only", f"'{only}' is neither 'containers' nor 'images'")
    if not force and not _agrees(kind, all=all, older=partial_older_than):
        typer.echo("prune was cancelled", err=True)
        return 1

    async def work(engine: Engine) -> Pruned:
        return await engine.prune(all_images=all, partial_older_than=seconds, partial_max=most, only=kind)

    pruned = run_engine(context, work)
    _section("Deleted Containers:", list(pruned.containers))
    images = [
        *(f"untagged: {reference.familiar}" for reference in pruned.untagged),
        *(f"deleted: {digest}" for digest in pruned.deleted),
    ]
    _section("Deleted Images:", images)
    _section("Deleted Partial Downloads:", list(map(str, pruned.partial)))
    if pruned.network_error:
        exits.say(f"what a container has left of its network stays: {pruned.network_error}")
    for name in pruned.unreadable:
        exits.say(
            f"image {name} is damaged, and what it needs is not known, so nothing of images was deleted; "
            "pull it again, or remove it"
        )
    typer.echo(f"Total reclaimed space: {human_size(pruned.reclaimed)}")
    return 0


def _agrees(only: str | None, *, all: bool, older: str) -> bool:
    images = "images without at least one container associated to them" if all else "dangling images"
    parts = {
        "containers": "all stopped containers",
        "images": f"all {images}",
        "partial": f"partial downloads that were not continued for {older}",
    }
    listed = f" {parts[only]}." if only else ":\n  - " + "\n  - ".join(parts.values()) + "\n"
    return is_sure(f"This will remove{listed}")


def is_sure(warning: str) -> bool:
    """Ask whoever is there, in docker's words."""
    typer.echo(f"WARNING! {warning}\nAre you sure you want to continue? [y/N] ", nl=False)
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _section(title: str, lines: list[str]) -> None:
    if lines:
        typer.echo("\n".join((title, *lines, "")))


def _seconds(text: str) -> float:
    match = re.fullmatch(r"([0-9]{1,9})([smhd])", text)
    if match is None:
        raise InvalidOption("--partial-older-than", f"'{text}' is not a time such as 90s, 30m, 12h or 7d")
    return int(match[1]) * _SECONDS[match[2]]


def df(
    context: typer.Context,
    format: Annotated[
        str | None, typer.Option(metavar="KIND", help="'table', or 'json' for an object a line.")
    ] = None,
) -> int:
    """Show what takes how much room, and what could go.

    Reclaimable is what `prune --all` would free: what no container uses, and nobody is bringing.
    """
    if format not in (None, "table", "json"):
        raise InvalidOption("--format", f"'{format}' is neither 'table' nor 'json'")
    rooms = run_engine(context, Engine.usage)
    if format == "json":
        for room in rooms:
            typer.echo(json.dumps(_as_json(room)))
    else:
        head = ("TYPE", "TOTAL", "ACTIVE", "SIZE", "RECLAIMABLE")
        typer.echo(table(head, (tuple(_columns(room)) for room in rooms)))
    return 0


def _columns(room: Room) -> list[str]:
    share = f" ({100 * room.reclaimable // room.size}%)" if room.size else ""
    sizes = human_size(room.size), f"{human_size(room.reclaimable)}{share}"
    return [room.kind, str(room.total), str(room.active), *sizes]


def _as_json(room: Room) -> dict[str, str | int]:
    """Docker's keys and string values, and our own."""
    kind, total, active, size, reclaimable = _columns(room)
    return {
        "Type": kind,
        "TotalCount": total,
        "Active": active,
        "Size": size,
        "Reclaimable": reclaimable,
        "SizeBytes": room.size,
        "ReclaimableBytes": room.reclaimable,
    }
