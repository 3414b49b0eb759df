"""`ps`: what was run; `port`: how it is reached."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from aiodocker_lite.cli.session import run_engine
from aiodocker_lite.cli.tables import age, ago, docker_time, table
from aiodocker_lite.cli.templates import formatted
from aiodocker_lite.engine import Engine
from aiodocker_lite.errors import InvalidOption, NotPublished, printable
from aiodocker_lite.sizes import human_size

if TYPE_CHECKING:
    from aiodocker_lite.engine import Container, State

_COMMAND_MAX = 20
_TITLES = {
    "ID": "CONTAINER ID", "Image": "IMAGE", "Command": "COMMAND", "CreatedAt": "CREATED AT", "RunningFor": "CREATED",
    "Status": "STATUS", "State": "STATE", "Ports": "PORTS", "Names": "NAMES", "Size": "SIZE", "Labels": "LABELS",
    "Mounts": "MOUNTS", "LocalVolumes": "LOCAL VOLUMES", "Networks": "NETWORKS", "Platform": "PLATFORM",
}  # fmt: skip
_COLUMNS = ("ID", "Image", "Command", "RunningFor", "Status", "Ports", "Names")
_FILTERS = ("ancestor", "exited", "id", "label", "name", "status")
_STATUSES = ("created", "dead", "exited", "paused", "removing", "restarting", "running")


def ps(
    context: typer.Context,
    all: Annotated[bool, typer.Option("--all", "-a", help="Also those that do not run.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Only print container IDs.")] = False,
    size: Annotated[bool, typer.Option("--size", "-s", help="Also what they have written.")] = False,
    last: Annotated[
        int | None, typer.Option("--last", "-n", metavar="N", help="The N newest, running or not.")
    ] = None,
    latest: Annotated[bool, typer.Option("--latest", "-l", help="The newest alone, running or not.")] = False,
    no_trunc: Annotated[bool, typer.Option("--no-trunc", help="Print whole IDs and commands.")] = False,
    filter: Annotated[
        list[str] | None,
        typer.Option(
            "--filter",
            "-f",
            metavar="KEY=VALUE",
            help="Only some: by name, id, status, exited, ancestor, label.",
        ),
    ] = None,
    format: Annotated[
        str | None,
        typer.Option(metavar="FORMAT", help="'table', 'json', or a template such as '{{.Names}}'."),
    ] = None,
) -> int:
    """List containers, the newest first."""
    wanted = _parse(filter or ())
    last = 1 if latest else last
    everything = all or last is not None or "status" in wanted or "exited" in wanted

    async def work(engine: Engine) -> list[dict[str, Any]]:
        chosen = []
        for container in reversed(await engine.containers()):
            state = container.state
            if (everything or state.running or state.restarting) and _suits(container, state, wanted):
                chosen.append((container, state))
        rows = []
        for container, state in chosen if last is None or last < 0 else chosen[:last]:
            row = _row(container, state, whole=no_trunc)
            if size or (format is not None and (format == "json" or "Size" in format)):
                own, virtual = await engine.container_sizes(container)
                row["Size"] = f"{human_size(own, 3)} (virtual {human_size(virtual, 3)})"
            rows.append(row)
        return rows

    rows = run_engine(context, work)
    if quiet:
        lines = [row["ID"] for row in rows]
    elif format not in (None, "table"):
        lines = formatted(format, rows, _TITLES)
    else:
        columns = (*_COLUMNS, "Size") if size else _COLUMNS
        head = [_TITLES[column] for column in columns]
        lines = [table(head, ([row[column] for column in columns] for row in rows))]
    for line in lines:
        typer.echo(line)
    return 0


def port(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="CONTAINER", help="A name or a container ID.")],
    private: Annotated[
        str | None, typer.Argument(metavar="[PORT[/PROTOCOL]]", help="Only this one of the container's.")
    ] = None,
) -> int:
    """Show which ports of a container are ports of this machine."""
    container = run_engine(context, lambda engine: engine.container(name))
    ports = container.ports if container.state.running else ()
    found = sorted(ports, key=lambda port: (port.container, port.protocol))
    if private is None:
        for port in found:
            typer.echo(f"{port.inside} -> {port.outside}")
        return 0
    wanted = private if "/" in private else f"{private}/tcp"
    places = [port.outside for port in found if port.inside == wanted]
    if not places:
        raise NotPublished(wanted, name)
    typer.echo("\n".join(places))
    return 0


def _row(container: Container, state: State, *, whole: bool) -> dict[str, Any]:
    """Docker's keys, and its strings for values."""
    command = printable(" ".join(f"'{word}'" if " " in word else word for word in container.command))
    if len(command) > _COMMAND_MAX and not whole:
        command = f"{command[: _COMMAND_MAX - 1]}…"
    labels = container.labels
    return {
        "Command": f'"{command}"',
        "CreatedAt": docker_time(container.created),
        "ID": container.id if whole else container.id[:12],
        "Image": container.image,
        "Labels": ",".join(f"{key}={value}" for key, value in sorted(labels.items())),
        "LocalVolumes": str(sum(each.mount.kind == "volume" for each in container.mounted)),
        "Mounts": ",".join(
            each.mount.source or str(each.source) for each in container.mounted if each.source
        ),
        "Names": container.name,
        "Networks": container.network,
        "Platform": str(container.platform),
        "Ports": ", ".join(map(str, container.ports)) if state.running else "",
        "RunningFor": ago(container.created),
        "Size": "N/A",
        "State": state.status,
        "Status": _status(state),
        "Label": lambda name: labels.get(name, ""),
    }


def _status(state: State) -> str:
    match state.status:
        case "running":
            return f"Up {age(state.started)}"
        case "exited" | "restarting":
            since = f" {ago(state.finished)}" if state.finished else ""
            return f"{state.status.capitalize()} ({state.exit_code}){since}"
        case _:
            return state.status.capitalize()


# --- filters -------------------------------------------------------------------------------


def _parse(filters: Sequence[str]) -> dict[str, list[str]]:
    """Values by key; of one key any, of all keys each. Raises InvalidOption."""
    found: dict[str, list[str]] = {}
    for text in filters:
        key, assigned, value = text.partition("=")
        key = key.strip().lower()
        if not assigned:
            raise InvalidOption("--filter", f"'{text}' is not KEY=VALUE")
        if key not in _FILTERS:
            raise InvalidOption("--filter", f"'{key}' is none of {', '.join(_FILTERS)}")
        if key == "status" and value not in _STATUSES:
            raise InvalidOption("--filter", f"'{value}' is none of {', '.join(_STATUSES)}")
        if key == "exited" and not value.removeprefix("-").isdigit():
            raise InvalidOption("--filter", f"'{value}' is no exit code")
        if key == "name":
            try:
                re.compile(value)
            except re.error as error:
                raise InvalidOption("--filter", f"'{value}' is no pattern: {error}") from error
        found.setdefault(key, []).append(value)
    return found


def _suits(container: Container, state: State, wanted: dict[str, list[str]]) -> bool:
    def one(key: str, value: str) -> bool:
        match key:
            case "name":
                return re.search(value, f"/{container.name}") is not None or bool(
                    re.search(value, container.name)
                )
            case "id":
                return container.id.startswith(value)
            case "status":
                return state.status == value
            case "exited":
                return state.status == "exited" and str(state.exit_code) == value
            case "ancestor":
                names = {container.image, container.image.removesuffix(":latest"), str(container.image_id)}
                digits = value.removeprefix("sha256:")
                return value in names or (len(digits) >= 4 and container.image_id.hex.startswith(digits))
            case _:
                name, assigned, text = value.partition("=")
                return name in container.labels and (not assigned or container.labels[name] == text)

    # All labels must be there, and of anything else one is enough.
    return all(
        (all if key == "label" else any)(one(key, value) for value in values)
        for key, values in wanted.items()
    )
