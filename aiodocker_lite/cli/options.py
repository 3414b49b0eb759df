"""Options that several verbs have."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from aiodocker_lite.errors import InvalidOption
from aiodocker_lite.settings import number_of

Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Only print the result.")]
Platform = Annotated[
    str | None,
    typer.Option(
        metavar="OS/ARCH[/VARIANT]",
        help="Another platform than this machine's.  [env: DOCKER_DEFAULT_PLATFORM]",
    ),
]
Limit = Annotated[
    list[str] | None,
    typer.Option(
        "--limit",
        metavar="NAME=NUMBER",
        help="What a layer may cost: unpacked_bytes, ratio, entries, depth, free_bytes and others.",
    ),
]
Insecure = Annotated[
    bool, typer.Option("--insecure", help="Allow plain http and any certificate: --tls-verify=false.")
]
TlsVerify = Annotated[
    str,
    typer.Option(
        "--tls-verify", metavar="true|false", help="Whether certificates are checked, as in podman."
    ),
]
CertDir = Annotated[
    str | None,
    typer.Option(
        "--cert-dir", metavar="DIR", help="Authorities (*.crt) and client certificates (*.cert, *.key)."
    ),
]
Creds = Annotated[
    str | None,
    typer.Option(
        "--creds",
        metavar="USER[:PASSWORD]|-",
        help="User name and password for the registry, kept nowhere; - reads them from standard input.",
    ),
]
Authfile = Annotated[
    str | None,
    typer.Option("--authfile", metavar="FILE", help="The file with credentials.  [env: REGISTRY_AUTH_FILE]"),
]
Jobs = Annotated[int, typer.Option("--jobs", metavar="N", min=1, help="Blobs to download at once.")]
MaxStore = Annotated[
    str | None,
    typer.Option(
        "--max-store",
        metavar="SIZE",
        help="Let images take so much, such as 80G or 80GB; those used last the longest ago go.",
    ),
]
DiscardBlobs = Annotated[
    bool,
    typer.Option(
        "--discard-blobs", help="Do not keep the blobs of layers: the image can be run, and no more."
    ),
]
Progress = Annotated[
    str,
    typer.Option(
        "--progress", metavar="KIND", help="auto, tty, plain, json or quiet.  [env: AIODOCKER_LITE_PROGRESS]"
    ),
]


def tls_settings(insecure: bool, tls_verify: str, cert_dir: str | None) -> dict[str, Any]:
    """What these options say, for `Settings`. Raises InvalidOption."""
    if tls_verify not in ("true", "false"):
        raise InvalidOption("--tls-verify", f"it is true or false, not '{tls_verify}'")
    return {"insecure": insecure or tls_verify == "false", "cert_dir": Path(cert_dir) if cert_dir else None}


def size_of(option: str, text: str | None) -> int | None:
    """Bytes as an option says them; None where it is not given. Raises InvalidOption."""
    if text is None:
        return None
    if (size := number_of(text)) is None:
        raise InvalidOption(option, f"'{text}' is not a size such as 500M or 10G")
    return size


def check_writable(option: str, file: Path) -> None:
    """Raise InvalidOption for a file that can hardly be written when the command is over."""
    if file.is_dir():
        raise unwritable(option, file, "it is a directory")
    if not file.exists() and not file.parent.is_dir():
        raise unwritable(option, file, "its directory is not there")
    if not os.access(file if file.exists() else file.parent, os.W_OK):
        raise unwritable(option, file, "it is not yours to write")


def unwritable(option: str, file: Path, reason: str | None) -> InvalidOption:
    """The error about a file that an option names."""
    return InvalidOption(option, f"'{file}' cannot be written: {reason}")
