"""What may go wrong with an answer: each fault makes another reply of an honest one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Literal

from aiodocker_lite.testing.messages import JSON, Reply, error

Fault = Callable[[Reply], Reply]


def cut(at: int, ending: Literal["close", "reset", "stall"] = "close") -> Fault:
    """Send so many bytes of the body, then close, reset, or send nothing for ever."""
    return lambda reply: replace(reply, at=at, ending=ending)


def slow(pace: float = 1.0) -> Fault:
    """Send the body byte by byte, with so many seconds before each."""
    return lambda reply: replace(reply, pace=pace)


def huge(size: int) -> Fault:
    """Send so many zeros after the body, without a Content-Length."""
    return lambda reply: replace(reply, length=-1, filler=size)


def damaged(at: int = 0) -> Fault:
    """Another byte at one place of the body; everything that is said about it stays as it was."""

    def fault(reply: Reply) -> Reply:
        body = bytearray(reply.body)
        if body:
            body[at % len(body)] ^= 0xFF
        return replace(reply, body=bytes(body))

    return fault


def cut_unsaid(at: int) -> Fault:
    """End early without a Content-Length, so that nothing looks wrong."""
    return lambda reply: replace(reply, body=reply.body[:at], length=-1)


def status(code: int, **headers: str) -> Fault:
    """Another status, with a body that says so; header names are written with underscores."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda reply: replace(error(code, "FAULT", f"scripted {code}"), headers={**JSON, **named})


def challenged(challenge: str) -> Fault:
    """401 with this as WWW-Authenticate."""
    return status(401, WWW_Authenticate=challenge)


def with_headers(**headers: str) -> Fault:
    """The honest answer with other headers; an empty one is left out."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}

    def fault(reply: Reply) -> Reply:
        merged = {**reply.headers, **named}
        return replace(reply, headers={name: value for name, value in merged.items() if value})

    return fault


def with_length(length: int) -> Fault:
    """Another Content-Length than the body has: a longer one keeps the client waiting; -1 for none."""
    return lambda reply: replace(reply, length=length)


def with_body(body: bytes, media_type: str = "text/html", code: int = 200) -> Fault:
    """Something else altogether, by default a login page's kind."""
    return lambda reply: Reply(code, body, {"Content-Type": media_type})


def answering(reply: Reply) -> Fault:
    """This, whatever the honest answer is."""
    return lambda honest_one: reply


def whole(body: bytes) -> Fault:
    """All of a blob, whatever range was asked for."""
    return lambda reply: Reply(200, body, {"Content-Type": "application/octet-stream"})


def redirected(location: str, code: int = 307) -> Fault:
    """Send the client elsewhere."""
    return lambda reply: Reply(code, b"", {"Location": location})


def honest(reply: Reply) -> Reply:
    """No fault, to let one request through before the next fault."""
    return reply
