"""`run`: a command in a new container."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

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
    Limit,
    Platform,
    TlsVerify,
    tls_settings,
)
from aiodocker_lite.cli.progress import watching
from aiodocker_lite.cli.runoptions import Given, cidfile, with_run_options
from aiodocker_lite.cli.session import run_engine
from aiodocker_lite.engine import Engine
from aiodocker_lite.image import Image
from aiodocker_lite.options import Streams, pull_policy
from aiodocker_lite.reference import Reference
from aiodocker_lite.settings import Limits

if TYPE_CHECKING:
    from aiodocker_lite.engine import Container, Running

_DEADLY = (signal.SIGINT, signal.SIGTERM)
_PASSED_ON = (*_DEADLY, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2, signal.SIGALRM)
_TIME_FOR_HANGUP = 3.0
"""Seconds in which a container ends by itself whose terminal is gone."""
_PATIENCE = 3
"""Which SIGINT or SIGTERM kills, as with docker: a command may ignore the others."""


@with_run_options
def run(
    context: typer.Context,
    image: Annotated[str, typer.Argument(metavar="IMAGE", help="A name or an image ID.")],
    command: Annotated[
        list[str] | None,
        typer.Argument(metavar="[COMMAND] [ARG]...", help="In the place of the image's own command."),
    ] = None,
    *,
    given: Given,
    detach: Annotated[
        bool, typer.Option("--detach", "-d", help="Print the container's ID, and let it run by itself.")
    ] = False,
    remove: Annotated[bool, typer.Option("--rm", help="Remove the container when it has ended.")] = False,
    interactive: Annotated[bool, typer.Option("--interactive", "-i", help="Pass standard input on.")] = False,
    terminal: Annotated[
        bool, typer.Option("--tty", "-t", help="Give it a terminal; with -i, this one's keys.")
    ] = False,
    sig_proxy: Annotated[bool, typer.Option("--sig-proxy", help="Pass signals on; always so.")] = True,
    platform: Platform = None,
    pull: Annotated[
        str, typer.Option("--pull", metavar="WHEN", help="Pull the image: always, missing or never.")
    ] = "missing",
    insecure: Insecure = False,
    tls_verify: TlsVerify = "true",
    cert_dir: CertDir = None,
    creds: Creds = None,
    authfile: Authfile = None,
    limit: Limit = None,
    discard_blobs: DiscardBlobs = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Neither notices nor progress, only warnings.")
    ] = False,
) -> int:
    """Run a command in a new container.

    It exits with the command's exit code. The image is pulled where it is not in the store. Signals are passed on to the command; the third
    SIGINT or SIGTERM kills it. Exit codes: 125 if the container could not be started,
    126 if the command cannot be executed, 127 if it was not found, 128+n if signal n ended it, and
    otherwise its own.
    """
    given.check_log(detach=detach)
    stdout, stderr = given.outputs(detach=detach, terminal=terminal)
    options = replace(given.options(remove=remove, terminal=terminal), interactive=interactive)
    size = None
    if terminal and not detach:
        from aiodocker_lite.cli.terminal import attend, check_keys, size_here

        check_keys(interactive=interactive)
        size = size_here()
    # As docker does: the image of this name that is here may be another platform's.
    wanted = platform or os.environ.get("DOCKER_DEFAULT_PLATFORM")
    logins = credentials_for(creds, [Reference.parse(image)]) if creds is not None else {}
    policy = pull_policy(pull, "--pull")
    to_container: Callable[[int], bool] | None = None
    signals: list[int] = []

    def pass_on(number: signal.Signals) -> bool:
        if to_container is None:  # an image is on its way, and is not waited for any longer
            return False
        signals.append(number)
        if number in _DEADLY and sum(map(signals.count, _DEADLY)) == _PATIENCE:
            exits.say(f"got {_PATIENCE} SIGTERM/SIGINTs, killing the container")
            number = signal.SIGKILL
        return to_container(number)

    def is_starting(image: Image) -> None:
        nonlocal to_container
        # The container may have said something before we know that it has started, and have been answered.
        to_container = lambda _: sum(map(signals.count, _DEADLY)) < _PATIENCE  # noqa: E731

    async def work(engine: Engine) -> int:
        nonlocal to_container
        streams = Streams(sys.stdin.fileno() if interactive else subprocess.DEVNULL, stdout, stderr, size)
        with watching("quiet" if quiet else "auto") as watch, cidfile(given.cidfile) as write_id:
            async with engine.start(
                image,
                command or (),
                options,
                streams=streams,
                pull=policy,
                platform=wanted,
                progress=watch,
                on_found=is_starting,
            ) as running:

                def deliver(number: int) -> bool:
                    running.signal(number)
                    return True

                to_container = deliver
                write_id(running.id)
                for number in signals:
                    deliver(number)
                try:
                    if running.terminal and not await attend(running.terminal, interactive=interactive):
                        return await _hang_up(running)
                    return await running.wait()
                finally:
                    to_container = _ignore  # it has ended, and its exit code shall be ours

    async def detached(engine: Engine) -> int:
        created: list[str] = []
        try:
            with watching("quiet" if quiet else "auto") as watch, cidfile(given.cidfile) as write_id:

                def keep(container: Container) -> None:
                    created.append(container.id)
                    write_id(container.id)

                await engine.detach(
                    image,
                    command or (),
                    options,
                    pull=policy,
                    platform=wanted,
                    progress=watch,
                    on_created=keep,
                )
        finally:
            # As docker does: also of one that could not be started.
            for identity in created:
                typer.echo(identity)
        return 0

    return run_engine(
        context,
        detached if detach else work,
        on_signal=pass_on,
        signals=_PASSED_ON,
        **tls_settings(insecure, tls_verify, cert_dir),
        creds=logins,
        authfile=authfile,
        limits=Limits.parse(limit or ()),
        discard_blobs=discard_blobs,
    )


async def _hang_up(running: Running) -> int:
    """Nobody can get back to it: its terminal goes as ours went, and if it goes on without, it is stopped."""
    if running.terminal:
        running.terminal.close()
    with anyio.move_on_after(_TIME_FOR_HANGUP):
        return await running.wait()
    return await running.stop()


def _ignore(number: int) -> bool:
    """Nobody is left to hear a signal."""
    return True
