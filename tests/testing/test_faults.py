"""Every fault as it is on the wire, seen by a client of nobody's."""

from __future__ import annotations

import gzip
from collections.abc import AsyncIterator

import anyio
import pytest

from aiodocker_lite.testing import (
    FakeRegistry,
    Fault,
    challenged,
    cut,
    cut_unsaid,
    damaged,
    encoded,
    honest,
    huge,
    image,
    late,
    layer,
    misranged,
    redirected,
    resized,
    slow,
    status,
    together,
    unanswered,
    unranged,
    with_body,
    with_headers,
    with_length,
    with_more,
)
from aiodocker_lite.testing.images import noise

LAYER = layer({"f": noise(2000)}, "plain")
RAW = LAYER.raw
PATH = f"/v2/app/blobs/{LAYER.digest}"


@pytest.fixture
async def registry() -> AsyncIterator[FakeRegistry]:
    async with FakeRegistry() as registry:
        registry.add("app", "latest", image(LAYER))
        yield registry


async def ask(registry: FakeRegistry, *headers: str, path: str = PATH, method: str = "GET") -> bytes:
    """All that comes for one request, as it comes."""
    async with await anyio.connect_tcp("127.0.0.1", registry.port) as stream:
        lines = (f"{method} {path} HTTP/1.1", "Host: x", "Connection: close", *headers, "", "")
        await stream.send("\r\n".join(lines).encode())
        return b"".join([piece async for piece in stream])


def split(answer: bytes) -> tuple[int, list[str], bytes]:
    """Status, header lines in lower case, body."""
    head, _, body = answer.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    return int(first.split()[1]), [line.lower() for line in lines], body


def unchunked(body: bytes) -> bytes:
    content = b""
    while body:
        size, _, body = body.partition(b"\r\n")
        content, body = content + body[: int(size, 16)], body[int(size, 16) + 2 :]
    return content


BODIES: dict[str, tuple[Fault, int, str, bytes]] = {
    "honest": (honest, 200, f"content-length: {len(RAW)}", RAW),
    "cut": (cut(700), 200, f"content-length: {len(RAW)}", RAW[:700]),
    "nothing of the body": (cut(0), 200, f"content-length: {len(RAW)}", b""),
    "damaged": (damaged(3), 200, f"content-length: {len(RAW)}", RAW[:3] + bytes([RAW[3] ^ 255]) + RAW[4:]),
    "longer": (resized(2), 200, f"content-length: {len(RAW) + 2}", RAW + b"\0\0"),
    "shorter": (resized(-2), 200, f"content-length: {len(RAW) - 2}", RAW[:-2]),
    "too short for its length": (with_length(99999), 200, "content-length: 99999", RAW),
    "too long for its length": (with_length(99), 200, "content-length: 99", RAW[:99]),
    "until the end of the connection": (with_length("close"), 200, "connection: close", RAW),
    "cut where only the end tells": (
        together(with_length("close"), cut(9)),
        200,
        "connection: close",
        RAW[:9],
    ),
    "a page": (with_body(b"<html>"), 200, "content-type: text/html", b"<html>"),
    "compressed": (encoded(), 200, "content-encoding: gzip", gzip.compress(RAW, mtime=0)),
    "half compressed": (encoded(40), 200, "content-encoding: gzip", gzip.compress(RAW, mtime=0)[:40]),
    "a redirect": (redirected("http://127.0.0.1:1/x"), 307, "location: http://127.0.0.1:1/x", b""),
    "another type": (with_headers(Content_Type="image/png"), 200, "content-type: image/png", RAW),
    "another digest": (
        with_headers(Docker_Content_Digest="sha256:0"),
        200,
        "docker-content-digest: sha256:0",
        RAW,
    ),
    "two lengths": (with_more(Content_Length="7"), 200, "content-length: 7", RAW),
    "a pace": (slow(0.0), 200, f"content-length: {len(RAW)}", RAW),
}


@pytest.mark.parametrize(("fault", "code", "line", "body"), BODIES.values(), ids=BODIES)
async def test_a_fault_is_on_the_wire(
    registry: FakeRegistry, fault: Fault, code: int, line: str, body: bytes
) -> None:
    """One request meets it; the next one meets an honest registry; and what was sent is counted."""
    registry.script("GET", "/blobs/", fault)
    found, lines, content = split(await ask(registry))
    assert (found, content) == (code, body)
    assert line in lines
    assert registry.sent(PATH) == registry.exchanges[0].sent == len(body)
    assert split(await ask(registry))[2] == RAW


async def test_two_lengths_are_two_headers(registry: FakeRegistry) -> None:
    """And no more than one of them is right."""
    registry.script("GET", "/blobs/", with_more(Content_Length="7"))
    _, lines, _ = split(await ask(registry))
    assert [line for line in lines if "length" in line] == [
        f"content-length: {len(RAW)}",
        "content-length: 7",
    ]


@pytest.mark.parametrize(
    ("fault", "content"),
    [(with_length("chunked"), RAW), (cut_unsaid(5), RAW[:5]), (huge(100_000), RAW + bytes(100_000))],
)
async def test_chunks_have_no_length(registry: FakeRegistry, fault: Fault, content: bytes) -> None:
    """They end well, though something may be missing, or too much."""
    registry.script("GET", "/blobs/", fault)
    _, lines, body = split(await ask(registry))
    assert not any("content-length" in line for line in lines)
    assert unchunked(body) == content


@pytest.mark.parametrize(
    ("fault", "said", "body"),
    [
        (honest, "bytes 10-19/{}", RAW[10:20]),
        (misranged(start=-10), "bytes 0-19/{}", RAW[10:20]),
        (misranged(end=5), "bytes 10-24/{}", RAW[10:20]),
        (together(misranged(start=1), misranged(end=1)), "bytes 11-20/{}", RAW[10:20]),
        (together(resized(-4), misranged(end=-4)), "bytes 10-15/{}", RAW[10:16]),
    ],
)
async def test_a_range_may_be_said_wrong(
    registry: FakeRegistry, fault: Fault, said: str, body: bytes
) -> None:
    """The bytes are the right ones, or fewer."""
    registry.script("GET", "/blobs/", fault)
    code, lines, content = split(await ask(registry, "Range: bytes=10-19"))
    assert (code, content) == (206, body)
    assert f"content-range: {said.format(len(RAW))}" in lines


async def test_a_range_may_be_ignored_and_a_total_wrong(registry: FakeRegistry) -> None:
    registry.script("GET", "/blobs/", unranged, misranged(total=1))
    code, _, content = split(await ask(registry, "Range: bytes=10-19"))
    assert (code, content) == (200, RAW)
    _, lines, _ = split(await ask(registry, "Range: bytes=10-19"))
    assert f"content-range: bytes 10-19/{len(RAW) + 1}" in lines
    registry.script("GET", "/blobs/", misranged(total=1), unranged)
    assert split(await ask(registry))[2] == RAW
    assert split(await ask(registry, path="/v2/none"))[0] == 404


@pytest.mark.parametrize(
    ("fault", "line"),
    [
        (status(429, Retry_After="7", RateLimit_Limit="100;w=21600"), "ratelimit-limit: 100;w=21600"),
        (status(503, Retry_After="Wed, 21 Oct 2015 07:28:00 GMT"), "retry-after: wed, 21 oct 2015 07:28:00 gmt"),
        (challenged("Negotiate"), "www-authenticate: negotiate"),
        (together(challenged('Basic realm="a"'), with_more(WWW_Authenticate="Bearer")), "www-authenticate: bearer"),
    ],
)  # fmt: skip
async def test_a_refusal_has_the_headers_it_was_given(
    registry: FakeRegistry, fault: Fault, line: str
) -> None:
    registry.script("GET", "/blobs/", fault)
    code, lines, _ = split(await ask(registry))
    assert code in (401, 429, 503)
    assert line in lines


@pytest.mark.parametrize("at", [-1, 0, 100])
async def test_a_connection_is_reset(registry: FakeRegistry, at: int) -> None:
    """With an RST, and not with an end."""
    registry.script("GET", "/blobs/", cut(at, "reset"))
    with pytest.raises(anyio.BrokenResourceError):
        await ask(registry)


async def test_a_connection_that_is_closed_unanswered(registry: FakeRegistry) -> None:
    registry.script("GET", "/blobs/", unanswered())
    assert await ask(registry) == b""


@pytest.mark.parametrize(
    ("fault", "sent"),
    [(unanswered("stall"), {0}), (cut(100, "stall"), {100}), (late(60), {0}), (slow(0.08), {0, 1})],
)
async def test_what_takes_for_ever_ends_with_its_client(
    registry: FakeRegistry, fault: Fault, sent: set[int]
) -> None:
    """And holds up no server that wants to end."""
    registry.script("GET", "/blobs/", fault)
    with anyio.move_on_after(0.1) as scope:
        await ask(registry)
    assert scope.cancelled_caught
    await registry.wait_until_closed()
    assert registry.sent(PATH) in sent


async def test_a_body_without_end(registry: FakeRegistry) -> None:
    """It goes on until the client has had enough."""
    registry.script("GET", "/blobs/", huge())
    async with await anyio.connect_tcp("127.0.0.1", registry.port) as stream:
        await stream.send(f"GET {PATH} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        received = 0
        while received < 10_000_000:
            received += len(await stream.receive())
    await registry.wait_until_closed()
