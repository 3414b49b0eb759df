"""Parts of blobs: honest registries, odd ones, and hostile ones."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable
from typing import Literal

import pytest

from aiodocker_lite.errors import (
    BlobNotFound,
    RateLimited,
    RegistryError,
    RegistryMisbehaved,
    RegistryUnavailable,
    SizeMismatch,
)
from aiodocker_lite.testing.faults import (
    Fault,
    answering,
    cut,
    cut_unsaid,
    honest,
    misranged,
    redirected,
    status,
    unanswered,
    unranged,
    with_body,
    with_headers,
)
from aiodocker_lite.testing.images import Image, noise
from aiodocker_lite.testing.messages import Reply
from aiodocker_lite.testing.registry import FakeRegistry
from tests.fakes.clients import NewClient

OFFSET = 1000


async def read(client: NewClient, fake: FakeRegistry, app: Image, offset: int = OFFSET) -> bytes:
    got = []
    async with client(idle_timeout=1.0).open_blob(
        fake.reference("app"), app.layers[0].descriptor, offset
    ) as chunks:
        async for chunk in chunks:
            got.append(chunk)  # noqa: PERF401 (what arrived before an error would be lost)
    return b"".join(got)


async def test_a_blob_is_read_to_the_byte(fake: FakeRegistry, app: Image, client: NewClient) -> None:
    """Raw, as it is stored: nothing is decompressed on the way."""
    assert await read(client, fake, app, 0) == app.layers[0].raw
    assert fake.requests[0].headers["Accept-Encoding"] == "identity"
    assert "Range" not in fake.requests[0].headers


async def test_a_blob_is_continued_from_an_offset(fake: FakeRegistry, app: Image, client: NewClient) -> None:
    """Only the missing bytes are asked for."""
    assert await read(client, fake, app) == app.layers[0].raw[OFFSET:]
    assert fake.requests[0].headers["Range"] == "bytes=1000-"


@pytest.mark.parametrize("offset", [0, 1, OFFSET, 299_999])
@pytest.mark.parametrize("kind", ["ignored", "refused"])
async def test_a_registry_without_ranges_is_read_from_the_start(
    fake: FakeRegistry, app: Image, client: NewClient, kind: str, offset: int
) -> None:
    """R16, R17: 200 for a range, or 416; what we have is thrown away as it comes."""
    raw = app.layers[0].raw
    fake.script("GET", "/blobs/", *([status(416)] if kind == "refused" and offset else []), unranged)
    assert await read(client, fake, app, offset) == raw[offset:]


@pytest.mark.parametrize("total", ["*", None])
async def test_a_shorter_range_than_asked_is_taken(
    fake: FakeRegistry, app: Image, client: NewClient, total: str | None
) -> None:
    """RFC 9110 permits it; the rest is asked for again."""
    raw = app.layers[0].raw
    extent = f"bytes {OFFSET}-{OFFSET + 9}/{total or len(raw)}"
    shorter = Reply(206, raw[OFFSET : OFFSET + 10], {"Content-Range": extent})
    fake.script("GET", "/blobs/", answering(shorter))
    assert await read(client, fake, app) == raw[OFFSET : OFFSET + 10]


@pytest.mark.parametrize(
    ("fault", "kind", "reason", "retryable"),
    [
        (with_headers(Content_Range="bytes 999-300154/300155"), RegistryUnavailable, "bytes 999-", True),
        (with_headers(Content_Range="bytes 1000-1999/2000"), RegistryUnavailable, "/2000", True),
        (with_headers(Content_Range="bytes 1000-99999999/*"), RegistryUnavailable, "99999999", True),
        (with_headers(Content_Range=""), RegistryUnavailable, "where bytes 1000", True),
        (with_headers(Content_Range="", Content_Type="multipart/byteranges"), RegistryUnavailable, "multipart", True),
        (cut(500), RegistryUnavailable, "cut", True),
        (cut(500, "reset"), RegistryUnavailable, "cut", True),
        (cut(0, "reset"), RegistryUnavailable, "cut", True),
        (cut(500, "stall"), RegistryUnavailable, "stopped answering", True),
        (cut_unsaid(500), RegistryUnavailable, "bytes early", True),
        (status(429, Retry_After="5"), RateLimited, "scripted 429", True),
        (status(503), RegistryUnavailable, "503", True),
        (status(404), BlobNotFound, "not complete in its registry", False),
        (status(418), RegistryMisbehaved, "418", False),
        (with_body(b"<html>login</html>"), RegistryMisbehaved, "'text/html'", False),
        (with_body(b"{}", "application/json"), SizeMismatch, "expected", False),
        (with_body(b"x" * 400_000, "application/octet-stream"), SizeMismatch, "400000", False),
    ],
)  # fmt: skip
async def test_a_fault_is_named(
    fake: FakeRegistry,
    app: Image,
    client: NewClient,
    fault: Fault,
    kind: type[Exception],
    reason: str,
    retryable: bool,
) -> None:
    """R15 to R20: one sentence each, and whether another try may help."""
    fake.script("GET", "/blobs/", fault)
    with pytest.raises(kind, match=reason) as caught:
        await read(client, fake, app)
    assert isinstance(caught.value, RegistryError | SizeMismatch)
    assert caught.value.retryable is retryable


async def test_more_than_was_promised_is_passed_on_to_be_refused(
    fake: FakeRegistry, app: Image, client: NewClient
) -> None:
    """R14: without a Content-Length only the receiver can see it, and does."""
    raw = app.layers[0].raw
    fake.script("GET", "/blobs/", answering(Reply(200, raw + b"more", length="chunked")))
    assert await read(client, fake, app, 0) == raw + b"more"


@pytest.mark.parametrize("encoding", ["gzip", "x-gzip", "br", "deflate"])
async def test_a_label_on_the_right_bytes_is_ignored(
    fake: FakeRegistry, app: Image, client: NewClient, encoding: str
) -> None:
    """R22: a .tar.gz that storage calls `Content-Encoding: gzip` is still the blob."""
    fake.script("GET", "/blobs/", with_headers(Content_Encoding=encoding))
    assert await read(client, fake, app, 0) == app.layers[0].raw


def in_two_members(raw: bytes) -> bytes:
    return gzip.compress(raw[:1000]) + gzip.compress(raw[1000:])


@pytest.mark.parametrize("offset", [0, 1000])
@pytest.mark.parametrize("length", [None, "chunked"])
@pytest.mark.parametrize(
    ("encoding", "encode"),
    [("gzip", gzip.compress), ("X-GZIP", in_two_members), ("deflate", zlib.compress)],
)
async def test_an_encoding_nobody_asked_for_is_undone(
    fake: FakeRegistry,
    app: Image,
    client: NewClient,
    encoding: str,
    encode: Callable[[bytes], bytes],
    length: Literal["chunked"] | None,
    offset: int,
) -> None:
    """R22: a cache that compresses what it passes on; its ranges are of other bytes, so all is read."""
    raw = app.layers[0].raw
    encoded, headers = encode(raw), {"Content-Encoding": encoding}
    whole = answering(Reply(200, encoded, headers, length=length))
    extent = {**headers, "Content-Range": f"bytes 1000-{len(encoded) - 1}/{len(encoded)}"}
    part = answering(Reply(206, encoded[1000:], extent))
    fake.script("GET", "/blobs/", *([part] if offset else []), whole)
    assert await read(client, fake, app, offset) == raw[offset:]


async def test_a_range_with_a_wrong_label_is_a_range(
    fake: FakeRegistry, app: Image, client: NewClient
) -> None:
    """R22: it says that it is of our bytes, so what we have is kept."""
    fake.script("GET", "/blobs/", with_headers(Content_Encoding="gzip"))
    assert await read(client, fake, app) == app.layers[0].raw[OFFSET:]
    assert len(fake.asked("GET", "/blobs/")) == 1


@pytest.mark.parametrize("encoding", ["br", "gzip, gzip", "zstd"])
async def test_an_encoding_that_cannot_be_undone_is_named(
    fake: FakeRegistry, app: Image, client: NewClient, encoding: str
) -> None:
    """R22: refused, and not taken for the blob."""
    fake.script(
        "GET", "/blobs/", answering(Reply(200, b"abc", {"Content-Encoding": encoding}, length="chunked"))
    )
    with pytest.raises(RegistryMisbehaved, match=f"encoding '{encoding}'"):
        await read(client, fake, app, 0)


@pytest.mark.parametrize("broken", [b"\x1f\x8b", b"not gzip", gzip.compress(noise(100))[:-1]])
async def test_a_broken_encoding_is_worth_another_try(
    fake: FakeRegistry, app: Image, client: NewClient, broken: bytes
) -> None:
    """R22: cut on the way."""
    fake.script(
        "GET", "/blobs/", answering(Reply(200, broken, {"Content-Encoding": "gzip"}, length="chunked"))
    )
    with pytest.raises(RegistryUnavailable, match="encoding of what it sent is damaged"):
        await read(client, fake, app, 0)


async def test_a_bomb_is_not_inflated(fake: FakeRegistry, app: Image, client: NewClient) -> None:
    """R22: a gigabyte of zeros comes in pieces, and who reads it stops at the size that was promised."""
    bomb = gzip.compress(bytes(1 << 26)) * 16
    fake.script("GET", "/blobs/", answering(Reply(200, bomb, {"Content-Encoding": "gzip"})))
    with pytest.raises(SizeMismatch):
        await client().blob(fake.reference("app"), app.config.descriptor)
    fake.script("GET", "/blobs/", answering(Reply(200, bomb, {"Content-Encoding": "gzip"})))
    async with client().open_blob(fake.reference("app"), app.layers[0].descriptor) as chunks:
        assert len(await anext(aiter(chunks))) <= 1 << 20


@pytest.mark.parametrize("code", [401, 403, 404, 410])
@pytest.mark.parametrize("offset", [0, OFFSET])
async def test_a_signed_address_that_ran_out_is_renewed(
    fake: FakeRegistry, other: FakeRegistry, app: Image, client: NewClient, code: int, offset: int
) -> None:
    """R23: the registry gives a new one; but not for ever, for one that is new can hardly have run out."""
    other.add("app", "latest", app)
    signed = f"{other.url}/v2/app/blobs/{app.layers[0].digest}"
    fake.script("GET", "/blobs/", redirected(signed + "?signed=1"), redirected(signed + "?signed=2"))
    other.script("GET", "/blobs/", status(code))
    assert await read(client, fake, app, offset) == app.layers[0].raw[offset:]
    assert [seen.query["signed"] for seen in other.requests] == ["1", "2"]

    fake.script("GET", "/blobs/", *[redirected(signed)] * 9)
    other.script("GET", "/blobs/", *[status(code)] * 9)
    with pytest.raises(RegistryError, match=f"it answered {code}") as caught:
        await read(client, fake, app, offset)
    assert not caught.value.retryable
    assert len(other.requests) == 2 + 6


async def test_an_address_for_one_request_survives_that_aiohttp_repeats_it(
    fake: FakeRegistry, other: FakeRegistry, app: Image, client: NewClient
) -> None:
    """A connection that was used before and hangs up is not told from one that was idle for too long."""
    fake.add("app", "latest", app)
    fake.keep_blobs_at(other)
    registry, (blob,) = client(), (layer.descriptor for layer in app.layers)
    assert await registry.blob(fake.reference("app"), blob)
    other.script("GET", "/blobs/", unanswered(), honest, unanswered())
    assert await registry.blob(fake.reference("app"), blob) == app.layers[0].raw


async def test_a_part_is_asked_for_and_checked(fake: FakeRegistry, app: Image, client: NewClient) -> None:
    """Both ends of it; more than that is for whoever asked to see."""
    raw, blob = app.layers[0].raw, app.layers[0].descriptor
    registry = client()
    for start, end in [(0, 10), (OFFSET, OFFSET + 1), (5, len(raw)), (0, len(raw))]:
        async with registry.open_blob(fake.reference("app"), blob, start, end) as part:
            assert (part.end, b"".join([chunk async for chunk in part])) == (end, raw[start:end])
    ranges = [seen.headers.get("Range") for seen in fake.requests]
    assert ranges == ["bytes=0-9", "bytes=1000-1000", "bytes=5-", None]
    fake.script("GET", "/blobs/", unranged)
    async with registry.open_blob(fake.reference("app"), blob, 5, 10) as part:
        assert part.end == len(raw)
    for wrong in ("bytes 0-9/*", "bytes 5-10/*", "bytes 5-4/*"):
        fake.script("GET", "/blobs/", with_headers(Content_Range=wrong))
        with pytest.raises(RegistryUnavailable, match="where bytes 5 to 10 were asked for"):
            async with client().open_blob(fake.reference("app"), blob, 5, 10):
                pass


async def test_a_registry_that_sends_wrong_ranges_is_read_from_the_start(
    fake: FakeRegistry, app: Image, client: NewClient
) -> None:
    """From the second wrong one in a row on; a right one makes that good."""
    raw, blob, registry = app.layers[0].raw, app.layers[0].descriptor, client()

    async def read_five() -> bytes:
        async with registry.open_blob(fake.reference("app"), blob, 5, 10) as part:
            return b"".join([chunk async for chunk in part])[:5]

    fake.script("GET", "/blobs/", misranged(start=1), honest, *[misranged(start=1)] * 2)
    with pytest.raises(RegistryUnavailable, match="where bytes 5 to 10 were asked for"):
        await read_five()
    assert await read_five() == raw[5:10]
    with pytest.raises(RegistryUnavailable):
        await read_five()
    assert await read_five() == raw[5:10]
    assert [seen.headers.get("Range") for seen in fake.requests] == [*["bytes=5-9"] * 4, None]
