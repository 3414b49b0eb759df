"""`login`, `logout` and `serve`: registries, other people's and our own."""

from __future__ import annotations

import re
import sys
from typing import Annotated

import anyio
import typer

from aiodocker_lite.cli.creds import ask_password
from aiodocker_lite.cli.options import Authfile, CertDir, Insecure, TlsVerify, tls_settings
from aiodocker_lite.cli.session import run_engine
from aiodocker_lite.engine import Engine
from aiodocker_lite.errors import InvalidOption
from aiodocker_lite.reference import DOCKER_HUB

Server = Annotated[
    str, typer.Argument(metavar="[SERVER]", help="The registry, such as localhost:5000; without, Docker Hub.")
]


def login(
    context: typer.Context,
    server: Server = DOCKER_HUB,
    username: Annotated[
        str | None, typer.Option("--username", "-u", metavar="NAME", help="The user name.")
    ] = None,
    password: Annotated[
        str | None,
        typer.Option(
            "--password", "-p", metavar="TEXT", help="The password, for everybody on this machine to see."
        ),
    ] = None,
    password_stdin: Annotated[
        bool, typer.Option("--password-stdin", help="Read the password from standard input.")
    ] = False,
    authfile: Authfile = None,
    insecure: Insecure = False,
    tls_verify: TlsVerify = "true",
    cert_dir: CertDir = None,
) -> int:
    """Log in to a registry.

    The registry is asked whether it accepts the user name and the password, and then they are
    kept where docker keeps them: in config.json in DOCKER_CONFIG or ~/.docker, or with the
    credential helper that is named there.
    """
    registry = _host(server)
    if password is not None and password_stdin:
        raise InvalidOption("--password-stdin", "it cannot be used together with --password")
    if password_stdin and not username:
        raise InvalidOption("--password-stdin", "it needs --username")
    if password is not None:
        typer.echo("WARNING! Using --password via the CLI is insecure. Use --password-stdin.", err=True)
    elif password_stdin:
        password = sys.stdin.read().rstrip("\r\n")
    else:
        if not username and sys.stdin.isatty():
            username = typer.prompt("Username", err=True)
        password = ask_password("--password-stdin", "it is needed where standard input is no terminal")
    user, secret = username, password
    if not user:
        raise InvalidOption("--username", "a user name is needed")
    if not secret and password_stdin:
        raise InvalidOption("--password-stdin", "there is no password on standard input")
    if not secret:
        raise InvalidOption("--password", "the password is empty")
    run_engine(
        context,
        lambda engine: engine.login(registry, user, secret),
        **tls_settings(insecure, tls_verify, cert_dir),
        authfile=authfile,
    )
    typer.echo("Login Succeeded")
    return 0


def logout(
    context: typer.Context,
    server: Server = DOCKER_HUB,
    authfile: Authfile = None,
) -> int:
    """Log out from a registry: forget what `login` kept for it."""
    registry = _host(server)
    if run_engine(context, lambda engine: engine.logout(registry), authfile=authfile):
        typer.echo(f"Removing login credentials for {registry}")
    else:
        typer.echo(f"Not logged in to {registry}")
    return 0


def _host(server: str) -> str:
    """What people paste may be an address; credentials are kept for its host and port."""
    host = re.sub("^https?://", "", server).partition("/")[0]
    if not host:
        raise InvalidOption("SERVER", f"'{server}' has no host name")
    return host


def serve(
    context: typer.Context,
    host: Annotated[str, typer.Option(metavar="ADDRESS", help="A loopback address.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(metavar="N", min=0, max=65535, help="0 for any free port.")] = 5000,
) -> int:
    """Be a read-only registry with the store's images.

    Prints the address when it accepts connections, and ends with an interrupt. Docker, podman,
    skopeo and this program can pull from it. Exits with 125 if the address is not free.
    """

    async def work(engine: Engine) -> int:
        async with engine.serve(host, port) as (address, bound):
            typer.echo(f"Serving {engine.settings.root} on http://{address}:{bound}")
            sys.stdout.flush()
            await anyio.sleep_forever()
        return 0

    return run_engine(context, work, many_bytes=True)
