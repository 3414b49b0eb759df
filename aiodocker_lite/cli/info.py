"""`info` and `doctor`: what this machine gives to containers, and what it does not."""

from __future__ import annotations

import sys
from functools import partial
from typing import Annotated, Any

import typer

from aiodocker_lite import __version__
from aiodocker_lite.cli.session import run_engine
from aiodocker_lite.cli.templates import formatted
from aiodocker_lite.engine import Engine
from aiodocker_lite.platforms import Platform

_TITLES = {
    "ServerVersion": "Version", "DockerRootDir": "Store", "BackingFilesystem": "Backing Filesystem",
    "Driver": "Storage Driver", "Isolation": "Isolation", "InContainer": "In a container",
    "CgroupVersion": "Cgroup Version", "CgroupControllers": "Cgroup Controllers", "CgroupAccess": "Cgroup Access",
    "Seccomp": "Seccomp", "Runtimes": "Runtimes", "DefaultRuntime": "Default Runtime", "Networks": "Networks",
    "SubordinateUIDs": "Subordinate UIDs", "SubordinateGIDs": "Subordinate GIDs",
    "KernelVersion": "Kernel Version", "Architecture": "Architecture",
}  # fmt: skip


def info(
    context: typer.Context,
    format: Annotated[
        str | None,
        typer.Option(
            "--format", "-f", metavar="FORMAT", help="'json', or a template such as '{{.DefaultRuntime}}'."
        ),
    ] = None,
) -> int:
    """Show what containers have on this machine."""
    found = run_engine(context, partial(Engine.info, version=__version__))
    if format is not None:
        for line in formatted(format, [found], _TITLES):
            typer.echo(line)
        return 0
    for name, title in _TITLES.items():
        typer.echo(f"{title}: {_shown(found[name])}")
    for warning in found["Warnings"]:
        typer.echo(warning, err=True)
    return 0


def _shown(value: Any) -> str:
    match value:
        case bool():
            return str(value).lower()
        case dict():
            return " ".join(f"{name} ({one['version']})" for name, one in value.items())
        case list():
            return " ".join(value)
        case _:
            return str(value)


def version(
    format: Annotated[
        str | None,
        typer.Option(
            "--format", "-f", metavar="FORMAT", help="'json', or a template such as '{{.Client.Version}}'."
        ),
    ] = None,
) -> int:
    """Show the version."""
    here = Platform.here()
    client = {
        "Version": __version__,
        "PythonVersion": sys.version.split()[0],
        "Os": here.os,
        "Arch": here.architecture,
    }
    if format is not None:
        for line in formatted(format, [{"Client": client}], {}):
            typer.echo(line)
        return 0
    typer.echo(
        f"Client:\n Version:           {client['Version']}\n Python version:    {client['PythonVersion']}\n"
        f" OS/Arch:           {client['Os']}/{client['Arch']}"
    )
    return 0


def doctor(context: typer.Context) -> int:
    """Say what this machine lacks, and what mends it.

    Exits with 0 if nothing is missing, else with 1.
    """
    findings = run_engine(context, Engine.doctor)
    for finding in findings:
        typer.echo(f"missing: {finding.what}\n  affects: {finding.effect}\n  mend:    {finding.mend}")
    if not findings:
        typer.echo("Nothing is missing.")
    return 1 if findings else 0
