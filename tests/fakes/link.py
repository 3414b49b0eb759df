"""A link to a server that counts what crosses it, and that can be cut as real ones are: nothing comes any more."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Self

import anyio

_CHUNK = 1 << 16


class Link:
    """An async context manager; whoever connects to `address` speaks with the server behind it.

    `crossed` counts the bytes that the server sent and that went on to the client; after `cut_at`
    of them the link is dead, and no connection over it ends.
    """

    def __init__(self, server: str, *, cut_at: int | None = None) -> None:
        self._server = server.rpartition(":")
        self._cut_at = cut_at
        self._tasks: set[asyncio.Task[None]] = set()
        self.crossed = 0
        self.is_cut = anyio.Event()
        self.connections = 0

    async def __aenter__(self) -> Self:
        self._listening = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.address = f"localhost:{self._listening.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listening.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        host, _, port = self._server
        from_server, to_server = await asyncio.open_connection(host, int(port))
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._pass_on, reader, to_server)
                await self._pass_back(from_server, writer)
                tasks.cancel_scope.cancel()
        finally:
            self._tasks.discard(task)
            for each in (writer, to_server):
                each.close()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while chunk := await reader.read(_CHUNK):
            writer.write(chunk)
            await writer.drain()
        writer.write_eof()

    async def _pass_back(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while chunk := await reader.read(_CHUNK):
            if self._cut_at is not None:
                chunk = chunk[: self._cut_at - self.crossed]
            self.crossed += len(chunk)
            writer.write(chunk)
            await writer.drain()
            if self.crossed == self._cut_at:
                self.is_cut.set()
                await anyio.sleep_forever()
