"""A registry on a socket: who asks, how much at once, and what is kept of it."""

from __future__ import annotations

import asyncio
import errno
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import anyio
from aiohttp import web
from anyio import CancelScope

from aiodocker_lite.errors import EngineError, InvalidOption
from aiodocker_lite.serve import log
from aiodocker_lite.serve.answers import Refused, refusal
from aiodocker_lite.serve.blob import SENT
from aiodocker_lite.serve.connections import Bounds, Connections
from aiodocker_lite.serve.counts import Counts
from aiodocker_lite.serve.door import Door, checked_address, tls_context
from aiodocker_lite.serve.registry import Registry, Shelf

_GRACE: Final = 1.0
"""Seconds that answers on their way get to finish when the server stops."""
_HANDSHAKE: Final = 10.0
_API_VERSION: Final = {"Docker-Distribution-Api-Version": "registry/2.0"}
_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def serve(
    shelf: Shelf,
    host: str = "127.0.0.1",
    port: int = 0,
    *,
    tls_cert: Path | None = None,
    tls_key: Path | None = None,
    token_file: Path | None = None,
    password_file: Path | None = None,
    insecure: bool = False,
    bounds: Bounds | None = None,
    access_log: log.Log | None = None,
    drain: float = 0.0,
) -> AsyncIterator[tuple[str, int]]:
    """Serve while the block runs; yields the address, whose port was chosen if `port` was 0.

    When the block has ended nobody is let in, and answers on their way get `drain` seconds; after an error or
    a cancellation hardly any. Raises InvalidOption for an address that is not free, or that other machines
    reach without TLS and a secret (unless `insecure`: what is here comes from private registries as well),
    and for files that have no secrets or certificates in them.
    """
    tls = tls_context(tls_cert, tls_key)
    door = Door.of(token_file, password_file)
    is_guarded = tls is not None and door.is_locked
    address = checked_address(host, is_guarded=is_guarded, insecure=insecure)
    bounds, counts = bounds or Bounds(), Counts()
    application = _application(Registry(shelf, counts, bounds.idle), _Desk(door, counts, access_log))
    runner = web.AppRunner(application, access_log=None, handler_cancellation=True, shutdown_timeout=_GRACE)
    await runner.setup()
    assert runner.server is not None
    try:
        make = Connections(runner.server, bounds, counts)
        loop = asyncio.get_running_loop()
        handshake = _HANDSHAKE if tls else None
        try:
            server = await loop.create_server(
                make, address, port, ssl=tls, ssl_handshake_timeout=handshake, backlog=1024
            )
        except (OSError, OverflowError) as error:
            raise InvalidOption("bind", _why_not(error, address, port)) from error
        try:
            yield address, server.sockets[0].getsockname()[1]
            server.close()
            with anyio.move_on_after(drain):
                await counts.wait_until_quiet()
        finally:
            server.close()
    finally:
        with CancelScope(shield=True):
            await runner.cleanup()


def _why_not(error: OSError | OverflowError, address: str, port: int) -> str:
    if isinstance(error, OverflowError):
        return f"{port} is not a port"
    if error.errno == errno.EADDRINUSE:
        return f"{address}:{port} is already in use"
    return f"cannot listen on {address}:{port}: {os.strerror(error.errno or 0)}"


class _Desk:
    """Through which every request passes: it is admitted, answered in the specification's form, and counted."""

    def __init__(self, door: Door, counts: Counts, access_log: log.Log | None) -> None:
        self._door = door
        self._counts = counts
        self._log = access_log

    async def pass_through(self, request: web.Request, handler: _Handler) -> web.StreamResponse:
        began, status, user = time.monotonic(), 499, None
        kind = request.match_info.route.name or "other"
        small = 0
        with self._counts.running():
            try:
                user, response = await self._answer(request, handler)
                status = response.status
                if isinstance(response, web.Response) and isinstance(response.body, bytes):
                    small = len(response.body) if request.method == "GET" else 0
                    self._counts.bytes[kind] += small
                return response
            finally:
                # Of a client that went away, too: 499, as nginx has it.
                self._counts.requests[kind, status] += 1
                self._counts.seconds[kind] += time.monotonic() - began
                self._write(request, user, status, small + request.get(SENT, 0))

    async def _answer(self, request: web.Request, handler: _Handler) -> tuple[str | None, web.StreamResponse]:
        user = None
        try:
            user = self._door.admit(request.headers.get("Authorization"))
            if request.method not in ("GET", "HEAD"):
                raise Refused(405, "UNSUPPORTED", "this registry is read-only", {"Allow": "GET, HEAD"})
            return user, await handler(request)
        except Refused as refused:
            return user, refusal(refused.status, refused.code, str(refused), refused.headers)
        except web.HTTPException as error:
            says = f"{request.path} is nothing that this registry has"
            return user, refusal(error.status, "UNSUPPORTED", says)
        except EngineError as error:
            return user, refusal(500, "UNKNOWN", str(error))

    def _write(self, request: web.Request, user: str | None, status: int, sent: int) -> None:
        if self._log is not None:
            try:
                self._log(log.line(request, user, status, sent))
            except OSError:  # a full disk: there is no better place to say so than the metrics
                self._counts.unlogged += 1


async def _announce(request: web.Request, response: web.StreamResponse) -> None:
    response.headers.update(_API_VERSION)


def _application(registry: Registry, desk: _Desk) -> web.Application:
    @web.middleware
    async def through_desk(request: web.Request, handler: _Handler) -> web.StreamResponse:
        return await desk.pass_through(request, handler)

    application = web.Application(middlewares=[through_desk])
    application.on_response_prepare.append(_announce)
    application.add_routes(
        [
            web.get("/v2/", registry.version, name="version"),
            web.get("/v2", registry.version),
            web.get("/metrics", registry.metrics, name="metrics"),
            web.get("/v2/_catalog", registry.catalog, name="catalog"),
            web.get("/v2/{name:.+}/tags/list", registry.tags, name="tags"),
            web.get("/v2/{name:.+}/manifests/{reference}", registry.manifest, name="manifest"),
            web.get("/v2/{name:.+}/blobs/{digest}", registry.blob, name="blob"),
        ]
    )
    return application
