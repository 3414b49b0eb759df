"""What the engine and a container's first processes say to each other, as the engine's side hears it."""

from __future__ import annotations

import marshal
import socket
import struct
from contextlib import suppress
from typing import Any

import anyio

_FRAME_MAX = 2 << 20
_CREDENTIALS = struct.Struct("iII")
_DESCRIPTOR = struct.Struct("i")
_ANCILLARY = socket.CMSG_SPACE(_CREDENTIALS.size) + socket.CMSG_SPACE(_DESCRIPTOR.size)


class Conversation:
    """Frames from and to the child; the kernel tells who sent them."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._buffer = b""
        self.sender = 0
        """The process that the last bytes came from, by its number on this side."""
        self.descriptors: list[int] = []
        """What was sent along with frames, in this order."""
        sock.setblocking(False)
        # Before anything is sent, or the first bytes come without a sender.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)

    async def receive(self) -> bytes | None:
        """The next frame, or None when nobody is left to send one."""
        header = await self._read(4)
        if header is None:
            return None
        length = int.from_bytes(header, "big")
        return await self._read(length) if length <= _FRAME_MAX else None

    async def send(self, answer: Any) -> None:
        """Answer a question."""
        content = marshal.dumps(answer)
        frame = len(content).to_bytes(4, "big") + content
        with suppress(BrokenPipeError):  # then there is nothing to be received either
            while frame:
                await anyio.wait_writable(self._sock)
                frame = frame[self._sock.send(frame) :]

    async def _read(self, count: int) -> bytes | None:
        while len(self._buffer) < count:
            await anyio.wait_readable(self._sock)
            try:
                more, ancillary, _, _ = self._sock.recvmsg(1 << 16, _ANCILLARY)
            except ConnectionResetError:
                more, ancillary = b"", []
            if not more:
                return None
            self._buffer += more
            for level, kind, data in ancillary:
                if (level, kind) == (socket.SOL_SOCKET, socket.SCM_CREDENTIALS):
                    self.sender = _CREDENTIALS.unpack(data)[0]
                elif (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                    self.descriptors.append(_DESCRIPTOR.unpack(data)[0])
        content, self._buffer = self._buffer[:count], self._buffer[count:]
        return content
