"""Options that several verbs have."""

from __future__ import annotations

from typing import Annotated

import typer

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
Insecure = Annotated[bool, typer.Option("--insecure", help="Allow plain http and any certificate.")]
Creds = Annotated[
    str | None,
    typer.Option(
        "--creds", metavar="USER[:PASSWORD]", help="User name and password for the registry, kept nowhere."
    ),
]
Authfile = Annotated[
    str | None,
    typer.Option("--authfile", metavar="FILE", help="The file with credentials.  [env: REGISTRY_AUTH_FILE]"),
]
Progress = Annotated[
    str,
    typer.Option(
        "--progress", metavar="KIND", help="auto, tty, plain, json or quiet.  [env: AIODOCKER_LITE_PROGRESS]"
    ),
]
