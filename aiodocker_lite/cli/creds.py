"""Passwords on the command line: asked for, or complained about."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import typer

from aiodocker_lite.errors import InvalidOption
from aiodocker_lite.reference import Reference


def credentials_for(creds: str | None, references: Sequence[Reference]) -> dict[str, tuple[str, str]]:
    """User name and password of `--creds`, by registry: they are for one and no other. Raises InvalidOption."""
    if creds is None:
        return {}
    username, colon, password = creds.partition(":")
    registries = {reference.registry for reference in references}
    if len(registries) > 1:
        raise InvalidOption(
            "--creds", f"one password for several registries ({', '.join(sorted(registries))})"
        )
    if not username:
        raise InvalidOption("--creds", "it has no user name")
    if colon:
        typer.echo("WARNING! A password in --creds is insecure. With --creds USER it is asked for.", err=True)
    else:
        password = ask_password("--creds", "it needs USER:PASSWORD where standard input is no terminal")
    if not password:
        raise InvalidOption("--creds", "the password is empty")
    return dict.fromkeys(registries, (username, password))


def ask_password(option: str, otherwise: str) -> str:
    """Ask on the terminal, and nobody sees what is typed. Raises InvalidOption where there is none."""
    if not sys.stdin.isatty():
        raise InvalidOption(option, otherwise)
    password: str = typer.prompt("Password", hide_input=True, err=True)
    return password
