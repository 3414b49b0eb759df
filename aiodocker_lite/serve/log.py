"""The access log, in the common log format, without queries and whatever else may have a secret in it."""

from __future__ import annotations

import time
from collections.abc import Callable

from aiohttp import web

Log = Callable[[str], None]
"""Takes a line, without its end. Raises OSError where it cannot be written."""


def line(request: web.Request, user: str | None, status: int, sent: int) -> str:
    """One request. What a client has chosen is escaped."""
    when = time.strftime("%d/%b/%Y:%H:%M:%S +0000", time.gmtime())
    path = _escaped(request.rel_url.raw_path)
    version = f"HTTP/{request.version.major}.{request.version.minor}"
    asked = f"{_escaped(request.method)} {path} {version}"
    return f'{request.remote or "-"} - {_escaped(user or "-")} [{when}] "{asked}" {status} {sent or "-"}'


def _escaped(text: str) -> str:
    printable = text.encode("unicode_escape").decode("ascii")
    return printable.replace('"', "\\x22").replace(" ", "\\x20")
