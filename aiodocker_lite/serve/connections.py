"""Connections, and how many of them there may be: of one client, and of all."""

from __future__ import annotations

import asyncio
import socket
from collections import Counter
from dataclasses import dataclass
from typing import Final

from aiohttp import web

from aiodocker_lite.serve.counts import Counts

_TOO_MANY: Final = (
    b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
)


@dataclass(frozen=True, slots=True)
class Bounds:
    """What one client and all together may take. On a connection one request is answered at a time."""

    connections: int = 1024
    per_client: int = 256
    idle: float = 60.0
    """Seconds without a byte in or out, after which a connection is closed."""
    header: int = 8192
    """Bytes of a line of a request's head; there are at most 64."""


class Connections:
    """Makes the protocol of each connection."""

    def __init__(self, server: web.Server, bounds: Bounds, counts: Counts) -> None:
        self.server = server
        self.bounds = bounds
        self.counts = counts
        self.of_client: Counter[str] = Counter()

    def __call__(self) -> asyncio.Protocol:
        return _Connection(self)


class _Connection(web.RequestHandler):
    """aiohttp's, unless it is one too many; and nobody has longer than `idle` for the head of a request."""

    __slots__ = ("_address", "_all")

    def __init__(self, connections: Connections) -> None:
        bounds = connections.bounds
        loop = asyncio.get_running_loop()
        super().__init__(
            connections.server,
            loop=loop,
            keepalive_timeout=bounds.idle,
            max_line_size=bounds.header,
            max_field_size=bounds.header,
            max_headers=64,
        )
        self._all = connections
        self._address: str | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        counts, bounds, of_client = self._all.counts, self._all.bounds, self._all.of_client
        peer = transport.get_extra_info("peername")
        address = str(peer[0]) if peer else ""
        if counts.connections >= bounds.connections or of_client[address] >= bounds.per_client:
            counts.turned_away += 1
            assert isinstance(transport, asyncio.Transport)
            transport.write(_TOO_MANY)
            transport.close()
            return
        self._address = address
        counts.connections += 1
        of_client[address] += 1
        # Who neither takes nor acknowledges anything is gone for the kernel too.
        transport.get_extra_info("socket").setsockopt(
            socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, round(bounds.idle * 1000)
        )
        super().connection_made(transport)

    def data_received(self, data: bytes) -> None:
        if self._address is not None:
            super().data_received(data)

    def eof_received(self) -> None:
        if self._address is not None:
            super().eof_received()

    def connection_lost(self, exc: BaseException | None) -> None:
        if self._address is None:
            return
        self._all.counts.connections -= 1
        self._all.of_client[self._address] -= 1
        if not self._all.of_client[self._address]:
            del self._all.of_client[self._address]
        super().connection_lost(exc)
