"""Names of hosts to addresses, in threads that nobody waits for."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from aiohttp.abc import AbstractResolver, ResolveResult

Found = Sequence[tuple[socket.AddressFamily, socket.SocketKind, int, str, tuple[Any, ...]]]


class Resolver(AbstractResolver):
    """The addresses of a name, for connections that are to be made."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Raises OSError."""
        found = await _look_up(host, port, family)
        return [
            ResolveResult(
                hostname=host,
                host=_as_text(address),
                port=address[1],
                family=kind,
                proto=protocol,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for kind, _, protocol, _, address in found
        ]

    async def close(self) -> None:
        """There is nothing to close."""


async def _look_up(host: str, port: int, family: socket.AddressFamily) -> Found:
    """As `socket.getaddrinfo`. Raises what that raises, and RuntimeError where no thread can be had.

    A thread in the C library cannot be called back: whoever gives up leaves it to its own time limits. It is
    a daemon, which does not keep the process from ending; an event loop that ends would wait for threads of its own.
    """
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[Found] = loop.create_future()

    def tell(found: Found, error: Exception | None) -> None:
        if answer.done():
            return  # nobody waits for it any more
        if error is not None:
            answer.set_exception(error)
        else:
            answer.set_result(found)

    def ask() -> None:
        found: Found = ()
        failure: Exception | None = None
        try:
            found = socket.getaddrinfo(host, port, family, socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG)
        except Exception as error:
            failure = error
        with suppress(RuntimeError):  # the event loop has ended, and with it whoever waited
            loop.call_soon_threadsafe(tell, found, failure)

    threading.Thread(target=ask, name="lookup", daemon=True).start()
    return await answer


def _as_text(address: tuple[Any, ...]) -> str:
    """Of a link-local address the link belongs to it."""
    has_scope = len(address) > 2 and address[3]
    return f"{address[0]}%{address[3]}" if has_scope else str(address[0])
