"""What is asked and what is answered, as values."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import parse_qsl

JSON = {"Content-Type": "application/json"}
Ending = Literal["close", "reset", "stall"]
_RANGE = re.compile(r"bytes=(\d+)-(\d*)")


@dataclass(frozen=True)
class Reply:
    """What is about to be sent; a fault makes another of it."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    more: tuple[tuple[str, str], ...] = ()
    """Headers besides these, which may have the same names."""
    length: int | Literal["chunked", "close"] | None = None
    """Content-Length, where it is not that of the body; or what tells the end of the body instead."""
    at: int | None = None
    """Bytes of the body that are sent; then `ending` comes. -1: nothing at all is answered."""
    ending: Ending = "close"
    delay: float = 0
    """Seconds before the answer begins."""
    pace: float = 0
    """Seconds before each byte of the body."""
    filler: int = 0
    """How many zeros follow the body."""
    whole: bytes | None = None
    """All of the blob of which this is a part."""


@dataclass(frozen=True)
class Seen:
    """A request as it arrived."""

    method: str
    path: str
    target: str
    """Path and query to the letter."""
    query: Mapping[str, str]
    headers: Mapping[str, str]
    peer: object
    """The other end of the connection; equal for requests on the same one."""
    body: bytes = b""

    @property
    def everything(self) -> str:
        """All that whoever got it can know: address, every header, body."""
        headers = "".join(f"{name}: {value}\n" for name, value in self.headers.items())
        return f"{self.method} {self.target}\n{headers}\n{self.body.decode(errors='replace')}"

    @property
    def form(self) -> dict[str, str]:
        """The fields of a body that is a form."""
        return dict(parse_qsl(self.body.decode(), keep_blank_values=True))

    @property
    def secret(self) -> str | None:
        return self.headers.get("Authorization")


@dataclass
class Exchange:
    """A request, and what became of it."""

    seen: Seen
    reply: Reply
    sent: int = 0
    """Bytes of the body until now."""


def ranged(body: bytes, seen: Seen) -> Reply:
    """What an honest server sends of a body for a request with or without a range."""
    match = _RANGE.fullmatch(seen.headers.get("Range", ""))
    if match is None:
        return Reply(200, body, {"Content-Type": "application/octet-stream"}, whole=body)
    start = int(match[1])
    if start >= len(body):
        return Reply(416, b"", {"Content-Range": f"bytes */{len(body)}"}, whole=body)
    end = min(int(match[2]) + 1, len(body)) if match[2] else len(body)
    extent = f"bytes {start}-{end - 1}/{len(body)}"
    headers = {"Content-Type": "application/octet-stream", "Content-Range": extent}
    return Reply(206, body[start:end], headers, whole=body)


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def error(status: int, code: str, message: str) -> Reply:
    """An error as the specification writes it."""
    return Reply(status, json.dumps({"errors": [{"code": code, "message": message}]}).encode(), JSON)
