"""`login`, `logout` and `serve`: registries, other people's and our own."""

from __future__ import annotations

import re
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Annotated

import anyio
import typer

from aiodocker_lite.cli.creds import ask_password
from aiodocker_lite.cli.exits import Interrupted
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
    bind: Annotated[
        str, typer.Option(metavar="ADDRESS:PORT", help="Where to listen; port 0 is any that is free.")
    ] = "127.0.0.1:5000",
    tls_cert: Annotated[Path | None, typer.Option(metavar="FILE", help="A certificate, PEM.")] = None,
    tls_key: Annotated[Path | None, typer.Option(metavar="FILE", help="Its key, PEM.")] = None,
    token_file: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Bearer tokens, one a line; each is also any user's password."),
    ] = None,
    password_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="USER:PASSWORD, one a line.")
    ] = None,
    insecure: Annotated[
        bool, typer.Option("--insecure", help="Serve other machines without TLS or without a secret.")
    ] = False,
    max_connections: Annotated[int, typer.Option(metavar="N", min=1, help="Of all clients.")] = 1024,
    max_per_client: Annotated[int, typer.Option(metavar="N", min=1, help="Of one address.")] = 256,
    idle_timeout: Annotated[
        float, typer.Option(metavar="SECONDS", min=0.1, help="Close connections on which nothing moves.")
    ] = 60.0,
    drain_timeout: Annotated[
        float, typer.Option(metavar="SECONDS", min=0, help="Let answers finish after SIGTERM.")
    ] = 30.0,
    access_log: Annotated[
        str | None, typer.Option(metavar="FILE", help="A line for each request; - is standard output.")
    ] = None,
) -> int:
    """Be a read-only registry with the store's images.

    Prints the address when it accepts connections, and ends with an interrupt; SIGTERM lets answers
    finish first. Docker, podman, containerd, skopeo and this program can pull from it, also what this
    machine is still pulling. /metrics has numbers for Prometheus. Exits with 125 if the address is not
    free, or if other machines would reach it without TLS and a secret.
    """
    host, port = _address(bind)
    draining = anyio.Event()

    def on_signal(number: signal.Signals) -> bool:
        if number != signal.SIGTERM or draining.is_set():
            return False
        draining.set()
        return True

    async def work(engine: Engine) -> int:
        with _log(access_log) as write:
            async with engine.serve(
                host,
                port,
                tls_cert=tls_cert,
                tls_key=tls_key,
                token_file=token_file,
                password_file=password_file,
                insecure=insecure,
                connections=max_connections,
                per_client=max_per_client,
                idle=idle_timeout,
                access_log=write,
                drain=drain_timeout,
            ) as (address, bound):
                scheme = "http" if tls_cert is None else "https"
                shown = f"[{address}]" if ":" in address else address
                typer.echo(f"Serving {engine.settings.root} on {scheme}://{shown}:{bound}")
                sys.stdout.flush()
                await draining.wait()
        raise Interrupted(signal.SIGTERM)

    return run_engine(context, work, many_bytes=True, on_signal=on_signal)


def _address(bind: str) -> tuple[str, int]:
    host, colon, port = bind.rpartition(":")
    if not (colon and port.isascii() and port.isdigit() and int(port[:6]) <= 65535):
        raise InvalidOption("--bind", f"'{bind}' is not ADDRESS:PORT, such as 127.0.0.1:5000")
    return host.removeprefix("[").removesuffix("]"), int(port)


@contextmanager
def _log(target: str | None) -> Iterator[Callable[[str], None] | None]:
    """Writes lines at once. Raises InvalidOption."""
    if target is None:
        yield None
        return
    if target == "-":
        yield partial(print, flush=True)
        return
    try:
        file = Path(target).open("a", encoding="utf-8")  # noqa: SIM115 (what the block raises is not its error)
    except OSError as error:
        raise InvalidOption("--access-log", f"{target}: {error.strerror}") from error
    with file:
        yield partial(print, file=file, flush=True)
