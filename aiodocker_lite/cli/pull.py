"""`pull` and `load`: images into the store."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import anyio
import typer

from aiodocker_lite.cli import exits
from aiodocker_lite.cli.creds import credentials_for
from aiodocker_lite.cli.options import (
    Authfile,
    CertDir,
    Creds,
    DiscardBlobs,
    Insecure,
    Jobs,
    Limit,
    MaxStore,
    Platform,
    Progress,
    Quiet,
    TlsVerify,
    size_of,
    tls_settings,
)
from aiodocker_lite.cli.progress import Watch, watching
from aiodocker_lite.cli.session import run_engine
from aiodocker_lite.cli.tracing import Explain, Trace, tracing
from aiodocker_lite.engine import Engine
from aiodocker_lite.errors import EngineError, InvalidOption
from aiodocker_lite.events import Event, ImageReady
from aiodocker_lite.image import Image
from aiodocker_lite.options import PullPolicy, pull_policy
from aiodocker_lite.reference import Reference
from aiodocker_lite.settings import Limits


def pull(
    context: typer.Context,
    names: Annotated[list[str], typer.Argument(metavar="NAME[:TAG|@DIGEST]...")],
    quiet: Quiet = False,
    platform: Platform = None,
    insecure: Insecure = False,
    tls_verify: TlsVerify = "true",
    cert_dir: CertDir = None,
    creds: Creds = None,
    authfile: Authfile = None,
    jobs: Jobs = 6,
    policy: Annotated[
        str, typer.Option(metavar="WHEN", help="always, missing or never, as `run --pull`.")
    ] = "always",
    limit: Limit = None,
    max_store: MaxStore = None,
    discard_blobs: DiscardBlobs = False,
    progress: Progress = "auto",
    trace: Trace = None,
    explain: Explain = False,
) -> int:
    """Bring images from their registries into the store.

    Several names are pulled at the same time, each blob once. What an interrupted pull
    downloaded is kept, and the next pull continues there. Progress goes to standard error; the
    last line on standard output is the full name of the image.
    """
    limits = Limits.parse(limit or ())
    when = pull_policy(policy, "--policy")
    most = size_of("--max-store", max_store)
    references = list(dict.fromkeys(Reference.parse(name) for name in names))
    given = credentials_for(creds, references)
    if not quiet:
        for name in filter(_has_default_tag, dict.fromkeys(names)):
            typer.echo(f"Using default tag{f' for {name}' if len(references) > 1 else ''}: latest")

    async def work(engine: Engine) -> int:
        doing = f"Resolving {references[0].familiar}" if len(references) == 1 else "Resolving"
        with watching("quiet" if quiet else progress, doing=doing) as watch:
            return await _pull_all(engine, references, when, platform, watch, quiet=quiet)

    tls = tls_settings(insecure, tls_verify, cert_dir)
    try:
        with tracing(trace, explained=explain):
            return run_engine(
                context,
                work,
                many_bytes=True,
                **tls,
                creds=given,
                authfile=authfile,
                downloads=jobs,
                limits=limits,
                max_store=most,
                discard_blobs=discard_blobs,
            )
    except exits.Interrupted:
        exits.say("interrupted; what was downloaded is kept, and the same command continues there")
        raise


def _has_default_tag(name: str) -> bool:
    return ":" not in name.rpartition("/")[2] and Reference.parse(name).digest is None


async def _pull_all(
    engine: Engine,
    references: Sequence[Reference],
    when: PullPolicy,
    platform: str | None,
    watch: Watch,
    *,
    quiet: bool,
) -> int:
    failed = 0

    async def one(reference: Reference) -> None:
        nonlocal failed
        fetched = False

        def note(event: Event) -> None:
            nonlocal fetched
            if isinstance(event, ImageReady):
                fetched = event.fetched
            watch(event)

        try:
            if when == "always":
                image = await engine.pull(reference, platform=platform, progress=note, beside=references)
            else:
                image = await engine.find_or_pull(
                    str(reference), pull=when, platform=platform, progress=note, beside=references
                )
        except EngineError as error:
            if len(references) == 1:
                raise
            failed += 1
            watch.failed(reference.familiar, error)
            with watch.aside():
                exits.complain(error)
        else:
            with watch.aside():
                _report(reference, image, fetched=fetched, quiet=quiet)

    async with anyio.create_task_group() as tasks:
        for reference in references:
            tasks.start_soon(one, reference)
    return 1 if failed else 0


def _report(reference: Reference, image: Image, *, fetched: bool, quiet: bool) -> None:
    """Docker's last lines, which scripts read."""
    if not quiet:
        newer = "Downloaded newer image for" if fetched else "Image is up to date for"
        typer.echo(f"Digest: {image.pulled_digest}")
        typer.echo(f"Status: {newer} {reference.familiar}")
    typer.echo(str(reference))


def load(
    context: typer.Context,
    input: Annotated[
        str | None,
        typer.Option("--input", "-i", metavar="FILE", help="Read from this file, not from standard input."),
    ] = None,
    quiet: Quiet = False,
    platform: Platform = None,
    progress: Progress = "auto",
    limit: Limit = None,
    discard_blobs: DiscardBlobs = False,
    no_tags: Annotated[
        bool, typer.Option("--no-tags", help="Give images none of the names that they have in the archive.")
    ] = False,
    trace: Trace = None,
    explain: Explain = False,
) -> int:
    """Bring the images of an archive into the store.

    Reads what `docker save`, `podman save` and `skopeo copy` write: docker and OCI archives,
    plain or compressed (gzip, zstd, xz, bzip2), with one image or several; and OCI layouts that
    are a directory.
    """
    if input is None and sys.stdin.isatty():
        raise InvalidOption("--input", "requested load from stdin, but stdin is a terminal")

    async def work(engine: Engine) -> int:
        kind = "quiet" if quiet else progress
        with watching(kind, doing="Reading the archive", did="loaded") as watch:
            source = Path(input) if input is not None else sys.stdin.buffer
            loaded = await engine.load(source, platform=platform, tags=not no_tags, progress=watch)
            if not loaded:
                exits.say("there is no image in this archive")
            for image in loaded:
                for name in image.names:
                    typer.echo(f"Loaded image: {name.familiar}")
                if not image.names:
                    typer.echo(f"Loaded image ID: {image.id}")
        return 0

    limits = Limits.parse(limit or ())
    with tracing(trace, explained=explain):
        return run_engine(context, work, many_bytes=True, limits=limits, discard_blobs=discard_blobs)
