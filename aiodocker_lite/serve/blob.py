"""The bytes of a blob, or of a part of it, as far as they are there; what is still missing is waited for."""

from __future__ import annotations

import os
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

import anyio
from aiohttp import web
from anyio import to_thread

from aiodocker_lite.digest import Digest
from aiodocker_lite.serve.answers import content_headers
from aiodocker_lite.serve.counts import Counts

_CHUNK: Final = 1 << 20
SENT: Final = web.RequestKey("sent", int)
"""Bytes of the blob that were sent in answer to a request."""
_RANGE: Final = re.compile(r"bytes=(\d{0,19})-(\d{0,19})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Source:
    """An open file, the size that the blob has, and for one that grows how to wait until there is more."""

    fd: int
    size: int
    beyond: Callable[[int], Awaitable[int]] | None = None


async def send(
    request: web.Request, digest: Digest, source: Source, counts: Counts, idle: float
) -> web.StreamResponse:
    """Answer with what was asked for.

    The connection is closed before the end where no more comes, or nobody reads, for `idle` seconds.
    """
    headers = {**content_headers(digest, "application/octet-stream"), "Accept-Ranges": "bytes"}
    # What it had was of the same digest, or it wants all of this.
    is_same = request.headers.get("If-Range") in (None, headers["ETag"])
    wanted = request.headers.get("Range") if is_same else None
    asked = asked_range(wanted, source.size)
    if asked is None:
        return web.Response(status=416, headers={**headers, "Content-Range": f"bytes */{source.size}"})
    start, end = asked
    response = web.StreamResponse(headers=headers)
    if wanted is not None:
        response.set_status(206)
        response.headers["Content-Range"] = f"bytes {start}-{end - 1}/{source.size}"
    response.content_length = end - start
    counts.partial += source.beyond is not None
    await response.prepare(request)
    if request.method != "HEAD" and not await _send_bytes(
        request, response, source, start, end, counts, idle
    ):
        counts.cut += 1
        response.force_close()
        if request.transport is not None:
            request.transport.close()
        return response
    await response.write_eof()
    return response


async def _send_bytes(
    request: web.Request,
    response: web.StreamResponse,
    source: Source,
    start: int,
    end: int,
    counts: Counts,
    idle: float,
) -> bool:
    """False where it ended early."""
    while start < end:
        there = source.size
        with anyio.move_on_after(idle) as waiting:
            if source.beyond is not None:
                there = await source.beyond(start)
        if waiting.cancelled_caught or there <= start:
            return False
        chunk = await to_thread.run_sync(os.pread, source.fd, min(_CHUNK, there - start, end - start), start)
        if not chunk:
            return False  # somebody has made the file shorter
        with anyio.move_on_after(idle) as writing:
            await response.write(chunk)
        if writing.cancelled_caught:
            return False
        start += len(chunk)
        counts.bytes["blob"] += len(chunk)
        request[SENT] = request.get(SENT, 0) + len(chunk)
    return True


def asked_range(header: str | None, size: int) -> tuple[int, int] | None:
    """The first byte and the byte after the last; None if there is nothing there (RFC 9110, section 14)."""
    if header is None:
        return 0, size
    found = _RANGE.fullmatch(header.strip())
    if found is None or found[0] == "bytes=-":
        return None
    if not found[1]:
        start, end = max(0, size - int(found[2])), size
    else:
        start, end = int(found[1]), min(size, int(found[2]) + 1) if found[2] else size
    return (start, end) if start < end else None
