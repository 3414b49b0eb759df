"""What may go wrong with an answer: each fault makes another reply of an honest one."""

from __future__ import annotations

import gzip
import re
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Literal

from aiodocker_lite.testing.messages import JSON, Ending, Reply, error

Fault = Callable[[Reply], Reply]
_EXTENT = re.compile(r"bytes (\d+)-(\d+)/(\d+)")


def honest(reply: Reply) -> Reply:
    """No fault, to let one request through before the next fault."""
    return reply


def together(*faults: Fault) -> Fault:
    """All of these, one after the other."""

    def fault(reply: Reply) -> Reply:
        for each in faults:
            reply = each(reply)
        return reply

    return fault


# --- connections ---------------------------------------------------------------------------


def cut(at: int, ending: Ending = "close") -> Fault:
    """Send so many bytes of the body, then close, reset, or send nothing for ever ("stall")."""
    return lambda reply: replace(reply, at=at, ending=ending)


def cut_unsaid(at: int) -> Fault:
    """End early without a Content-Length, so that nothing looks wrong."""
    return lambda reply: replace(reply, body=reply.body[:at], length="chunked")


def unanswered(ending: Ending = "close") -> Fault:
    """Send nothing at all, not even a status, and close, reset, or stay silent ("stall")."""
    return cut(-1, ending)


def late(seconds: float) -> Fault:
    """Begin to answer after so many seconds."""
    return lambda reply: replace(reply, delay=seconds)


def slow(pace: float = 1.0) -> Fault:
    """Send the body byte by byte, with so many seconds before each."""
    return lambda reply: replace(reply, pace=pace)


# --- answers of another kind ---------------------------------------------------------------


def status(code: int, **headers: str) -> Fault:
    """Another status, with a body that says so; header names are written with underscores."""
    return lambda reply: replace(
        error(code, "FAULT", f"scripted {code}"), headers={**JSON, **_named(headers)}
    )


def challenged(challenge: str) -> Fault:
    """401 with this as WWW-Authenticate."""
    return status(401, WWW_Authenticate=challenge)


def redirected(location: str, code: int = 307) -> Fault:
    """Send the client elsewhere."""
    return lambda reply: Reply(code, b"", {"Location": location})


def with_body(body: bytes, media_type: str = "text/html", code: int = 200) -> Fault:
    """Something else altogether, by default a login page's kind."""
    return lambda reply: Reply(code, body, {"Content-Type": media_type})


def answering(reply: Reply) -> Fault:
    """This, whatever the honest answer is."""
    return lambda honest_one: reply


# --- headers -------------------------------------------------------------------------------


def with_headers(**headers: str) -> Fault:
    """The honest answer with other headers, as in `Docker_Content_Digest="sha256:..."`; an empty one is left out."""

    def fault(reply: Reply) -> Reply:
        merged = {**reply.headers, **_named(headers)}
        return replace(reply, headers={name: value for name, value in merged.items() if value})

    return fault


def with_more(**headers: str) -> Fault:
    """The honest answer with these headers besides, also where it has them already."""
    return lambda reply: replace(reply, more=(*reply.more, *_named(headers).items()))


def with_length(length: int | Literal["chunked", "close"]) -> Fault:
    """Another Content-Length, which the body is cut to; or none: then chunks or the connection tell the end."""
    most = length if isinstance(length, int) else None
    return lambda reply: replace(reply, length=length, body=reply.body[:most])


def misranged(start: int = 0, end: int = 0, total: int = 0) -> Fault:
    """A Content-Range whose numbers are so far from the truth; an answer without one stays as it is."""

    def fault(reply: Reply) -> Reply:
        found = _EXTENT.fullmatch(reply.headers.get("Content-Range", ""))
        if found is None:
            return reply
        said = [int(text) + off for text, off in zip(found.groups(), (start, end, total), strict=True)]
        return with_headers(Content_Range="bytes {}-{}/{}".format(*said))(reply)

    return fault


# --- bodies --------------------------------------------------------------------------------


def damaged(at: int = 0) -> Fault:
    """Another byte at one place of the body; everything that is said about it stays as it was."""

    def fault(reply: Reply) -> Reply:
        body = bytearray(reply.body)
        if body:
            body[at % len(body)] ^= 0xFF
        return replace(reply, body=bytes(body))

    return fault


def resized(by: int) -> Fault:
    """So many zeros more, or bytes fewer, with a Content-Length that is right."""
    return lambda reply: replace(reply, body=reply.body[: len(reply.body) + min(by, 0)] + bytes(max(by, 0)))


def huge(size: int = sys.maxsize) -> Fault:
    """So many zeros after the body, by default without end, and no Content-Length."""
    return lambda reply: replace(reply, length="chunked", filler=size)


def encoded(at: int | None = None) -> Fault:
    """Compressed with gzip on the way, which Content-Encoding says; of that only so many bytes."""

    def fault(reply: Reply) -> Reply:
        body = gzip.compress(reply.body, mtime=0)[:at]
        return with_headers(Content_Encoding="gzip")(replace(reply, body=body))

    return fault


def unranged(reply: Reply) -> Reply:
    """All of a blob, whatever range was asked for."""
    if reply.whole is None:
        return reply
    return Reply(200, reply.whole, {"Content-Type": "application/octet-stream"}, whole=reply.whole)


def _named(headers: dict[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in headers.items()}
