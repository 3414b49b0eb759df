"""Passwords on the command line: asked for, or complained about."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

import typer

from aiodocker_lite.errors import InvalidOption
from aiodocker_lite.reference import Reference

_LINE_MAX = 1 << 16
"""Bytes; a token can be long."""


def credentials_for(creds: str | None, references: Sequence[Reference]) -> dict[str, tuple[str, str]]:
    """User name and password of `--creds`, by registry: they are for one and no other. Raises InvalidOption."""
    if creds is None:
        return {}
    username, colon, password = (_first_line() if creds == "-" else creds).partition(":")
    registries = {reference.registry for reference in references}
    if len(registries) > 1:
        raise InvalidOption(
            "--creds", f"one password for several registries ({', '.join(sorted(registries))})"
        )
    if not username:
        raise InvalidOption("--creds", "it has no user name")
    if creds == "-":
        if not colon:
            raise InvalidOption("--creds", "the first line of standard input is not USER:PASSWORD")
    elif colon:
        typer.echo(
            "WARNING! A password in --creds is insecure: others see it in ps. With --creds USER it is asked for, "
            "with --creds - it is read from standard input.",
            err=True,
        )
    else:
        password = ask_password("--creds", "it needs USER:PASSWORD where standard input is no terminal")
    if not password:
        raise InvalidOption("--creds", "the password is empty")
    return dict.fromkeys(registries, (username, password))


def _first_line() -> str:
    """The first line of standard input, and not a byte of what follows: that is for whoever runs in a container."""
    line = bytearray()
    while len(line) < _LINE_MAX and (byte := os.read(0, 1)) not in (b"", b"\n"):
        line += byte
    return line.decode(errors="replace").removesuffix("\r")


def ask_password(option: str, otherwise: str) -> str:
    """Ask on the terminal, and nobody sees what is typed. Raises InvalidOption where there is none."""
    if not sys.stdin.isatty():
        raise InvalidOption(option, otherwise)
    password: str = typer.prompt("Password", hide_input=True, err=True)
    return password
