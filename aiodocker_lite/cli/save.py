"""`save`: images out of the store."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any, cast

import typer

from aiodocker_lite.cli.session import run_engine


def save(
    context: typer.Context,
    names: Annotated[list[str], typer.Argument(metavar="IMAGE...")],
    output: Annotated[
        str | None,
        typer.Option("--output", "-o", metavar="FILE", help="Write to this file, not to standard output."),
    ] = None,
    format: Annotated[
        str, typer.Option(metavar="KIND", help="docker, docker-archive or oci-archive.")
    ] = "docker",
) -> int:
    """Write images to an archive.

    A name without a tag means all its tags. By default the archive is what docker writes since
    version 25: an OCI image layout with docker's manifest.json, every blob as it was pulled.
    docker-archive is the form before that, with uncompressed layers, and oci-archive the layout alone.
    """
    target = Path(output) if output is not None else sys.stdout.buffer
    run_engine(context, lambda engine: engine.save(names, target, format=cast("Any", format)))
    return 0
