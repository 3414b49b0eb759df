"""`prefetch --emit`: a plan as manifests for those that fetch images themselves."""

from __future__ import annotations

from pathlib import Path

import typer

from aiodocker_lite import emit
from aiodocker_lite.cli.options import unwritable
from aiodocker_lite.errors import InvalidOption
from aiodocker_lite.plan import Plan
from aiodocker_lite.reference import Reference

KINDS = ("daemonset", "kruise", "containerd-hosts")


def check_emit(kind: str, mirror: str | None, output: str | None) -> None:
    """Raise InvalidOption where something is missing, or too much."""
    if kind not in KINDS:
        raise InvalidOption("--emit", f"'{kind}' is none of {', '.join(KINDS)}")
    if kind == "containerd-hosts" and (mirror is None or output is None):
        reason = (
            "containerd-hosts needs --mirror, the address that nodes shall ask, and --output, a directory"
        )
        raise InvalidOption("--emit", reason)
    if kind != "containerd-hosts" and mirror is not None:
        raise InvalidOption("--mirror", "only --emit containerd-hosts has a mirror")


def write_emitted(plan: Plan, kind: str, mirror: str | None, output: str | None) -> None:
    """Print what is asked for, or write it to a file or below a directory. Raises InvalidOption."""
    if kind == "containerd-hosts":
        registries = {Reference.parse(image.name).registry for image in plan.images}
        for name, text in emit.containerd_hosts(registries, mirror or "").items():
            _write(Path(output or "") / name, text)
        return
    writer = emit.daemonset if kind == "daemonset" else emit.kruise
    text = writer([(Reference.parse(image.name), image.digest, None) for image in plan.images])
    if output is None or output == "-":
        typer.echo(text, nl=False)
    else:
        _write(Path(output), text)


def _write(file: Path, text: str) -> None:
    try:
        if not file.parent.is_dir():
            file.parent.mkdir(parents=True)
        file.write_text(text)
    except OSError as error:
        raise unwritable("--output", file, error.strerror) from error
