"""`prefetch`: many images as one job, planned and then brought."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated, Any

import typer

from aiodocker_lite.cli import exits
from aiodocker_lite.cli.creds import credentials_for
from aiodocker_lite.cli.emitting import KINDS as EMITTED
from aiodocker_lite.cli.emitting import check_emit, write_emitted
from aiodocker_lite.cli.locks import read_lock, update_lock
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
    check_writable,
    size_of,
    tls_settings,
    unwritable,
)
from aiodocker_lite.cli.progress import planned, watching
from aiodocker_lite.cli.session import run_engine
from aiodocker_lite.cli.tables import table
from aiodocker_lite.cli.tracing import Explain, Trace, tracing
from aiodocker_lite.engine import Engine
from aiodocker_lite.engine.sources import KINDS, Choices, pinned, read_sources
from aiodocker_lite.errors import InvalidOption, printable
from aiodocker_lite.plan import Plan, PlannedImage, Pulls, Report
from aiodocker_lite.platforms import Platform as Platforms
from aiodocker_lite.reference import Reference
from aiodocker_lite.settings import Limits
from aiodocker_lite.sizes import counted, human_size
from aiodocker_lite.wanted import Wanted


def prefetch(
    context: typer.Context,
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME[:TAG|@DIGEST]...]")] = None,
    file: Annotated[
        list[str] | None,
        typer.Option(
            "--file",
            "-f",
            metavar="FILE",
            help="A list of names, a Compose file, Kubernetes manifests, a Dockerfile; a directory of one of "
            "these; - for standard input.",
        ),
    ] = None,
    kind: Annotated[
        str | None, typer.Option(metavar="|".join(KINDS), help="What the files are, if that is not seen.")
    ] = None,
    profile: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="A profile of Compose; '*' is all.")
    ] = None,
    env_file: Annotated[
        list[str] | None, typer.Option(metavar="FILE", help="Variables of Compose, not those of .env.")
    ] = None,
    ignore_buildable: Annotated[
        bool, typer.Option("--ignore-buildable", help="Leave out services of Compose that are built.")
    ] = False,
    build_arg: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="An argument of a Dockerfile.")
    ] = None,
    lock: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Say what has changed since it was written; write it anew."),
    ] = None,
    locked: Annotated[
        str | None, typer.Option(metavar="FILE", help="Bring what the names led to when it was written.")
    ] = None,
    emit: Annotated[
        str | None,
        typer.Option(metavar="|".join(EMITTED), help="Print manifests for nodes; bring nothing here."),
    ] = None,
    mirror: Annotated[
        str | None, typer.Option(metavar="URL", help="Whom containerd-hosts sends nodes to.")
    ] = None,
    output: Annotated[
        str | None, typer.Option("--output", "-o", metavar="PATH", help="Where --emit writes.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the plan; bring nothing, write nothing.")
    ] = False,
    keep_going: Annotated[
        bool, typer.Option("--keep-going/--fail-fast", help="Whether one that fails stops the others.")
    ] = True,
    max_pulls: Annotated[
        int | None, typer.Option(metavar="N", min=0, help="Ask each registry for at most N manifests.")
    ] = None,
    wait_quota: Annotated[
        bool, typer.Option("--wait-quota", help="Wait until a registry that limits pulls permits more.")
    ] = False,
    report: Annotated[
        str | None, typer.Option(metavar="FILE", help="Write there, as JSON, what came of each image.")
    ] = None,
    format: Annotated[
        str | None, typer.Option(metavar="json", help="Print the plan or the report as JSON.")
    ] = None,
    quiet: Quiet = False,
    platform: Platform = None,
    insecure: Insecure = False,
    tls_verify: TlsVerify = "true",
    cert_dir: CertDir = None,
    creds: Creds = None,
    authfile: Authfile = None,
    jobs: Jobs = 6,
    limit: Limit = None,
    max_store: MaxStore = None,
    discard_blobs: DiscardBlobs = False,
    progress: Progress = "auto",
    trace: Trace = None,
    explain: Explain = False,
) -> int:
    """Bring many images into the store as one job.

    Each name is resolved once and each digest fetched once, over all images. One that cannot be had stops
    no other; the exit code is 1 then. The same command continues what was interrupted. Standard output
    has the names of what is here, or with --dry-run the plan; manifests are read for that, too.
    """
    if format not in (None, "json"):
        raise InvalidOption("--format", f"'{format}' is not json")
    if emit is not None:
        check_emit(emit, mirror, output)
    choices = Choices(
        profiles=tuple(profile or ()),
        env_files=tuple(env_file or ()),
        buildable=not ignore_buildable,
        build_args=dict(_argument(text) for text in build_arg or ()),
        platform=None if platform is None else Platforms.parse(platform),
    )
    note = (lambda _: None) if quiet else exits.say
    wanted = [Wanted(Reference.parse(name)) for name in names or ()]
    wanted += read_sources(file or (), kind, choices, note)
    if locked is not None:
        if lock is not None:
            raise InvalidOption(
                "--locked", "it takes a lock as it is, and --lock writes it anew: give one of them"
            )
        wanted = pinned(wanted, read_lock("--locked", Path(locked)), locked)
    if not wanted:
        raise InvalidOption(
            "--file", "there is nothing to prefetch: no names are given, nor are some in a file"
        )
    target = None if report is None else Path(report)
    if target is not None:
        check_writable("--report", target)
    if lock is not None and not dry_run:
        check_writable("--lock", Path(lock))
    options: dict[str, Any] = {
        "platform": platform, "max_pulls": max_pulls, "wait_quota": wait_quota,
    }  # fmt: skip

    async def work(engine: Engine) -> int:
        with watching("quiet" if quiet else progress, doing="Looking at what is wanted") as watch:
            done: Plan | Report
            if dry_run or emit is not None:
                done = await engine.plan(wanted, **options, progress=watch)
            else:
                done = await engine.prefetch(wanted, **options, keep_going=keep_going, progress=watch)
        if target is not None:
            try:
                target.write_text(json.dumps(done.to_json(), indent=1) + "\n")
            except OSError as error:
                raise unwritable("--report", target, error.strerror) from error
        found = done if isinstance(done, Plan) else done.plan
        if lock is not None:
            update_lock(Path(lock), found, writes=not dry_run)
        if emit is None:
            _print(done, as_json=format == "json")
        else:
            write_emitted(found, emit, mirror, output)
            _complain(done)
        return 1 if done.failures else 0

    tls = tls_settings(insecure, tls_verify, cert_dir)
    given = credentials_for(creds, [one.reference for one in wanted])
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
                limits=Limits.parse(limit or ()),
                max_store=size_of("--max-store", max_store),
                discard_blobs=discard_blobs,
            )
    except exits.Interrupted:
        exits.say("interrupted; what was downloaded is kept, and the same command continues there")
        raise


def _argument(text: str) -> tuple[str, str]:
    """NAME=VALUE, or a NAME whose value is in the environment. Raises InvalidOption."""
    name, is_given, value = text.partition("=")
    if not name or not (is_given or name in os.environ):
        raise InvalidOption("--build-arg", f"'{text}' is not NAME=VALUE, nor a variable of the environment")
    return name, value if is_given else os.environ[name]


# --- what came of it -----------------------------------------------------------------------


def _print(done: Plan | Report, *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(done.to_json()))
    elif isinstance(done, Plan):
        typer.echo(", ".join([planned(done.totals()), *map(_pulls, filter(_is_told, done.pulls))]))
        head = ("IMAGE NAME", "PLATFORM", "LAYERS", "SIZE", "TO FETCH", "DIGEST")
        typer.echo(f"\n{table(head, map(_row, done.images))}" if done.images else "", nl=bool(done.images))
    else:
        for image in done.images:
            typer.echo(image.name)
    _complain(done)


def _complain(done: Plan | Report) -> None:
    if done.failures:
        total = len(done.images) + len(done.failures)
        exits.say(f"{len(done.failures)} of {counted(total, 'image')} failed")


def _row(image: PlannedImage) -> tuple[str, ...]:
    missing = "up to date" if image.here else human_size(image.missing, 3)
    name = Reference.parse(image.name).familiar
    layers = str(len({layer.digest for layer in image.layers}))
    return name, printable(image.platform), layers, human_size(image.size, 3), missing, image.digest


def _is_told(pulls: Pulls) -> bool:
    return pulls.left is not None


def _pulls(pulls: Pulls) -> str:
    return printable(f"{counted(pulls.needed, 'pull')} of {pulls.left} left at {pulls.registry}")
