"""The engine's end of a container's terminal: what is typed, what is shown, and how large it is."""

from __future__ import annotations

import errno
import fcntl
import os
import struct
import termios

import anyio
from anyio.abc import ByteStream

Size = tuple[int, int]
"""Lines and columns."""


class Terminal(ByteStream):
    """A stream of bytes in both directions; it ends when nothing in the container has it open any more."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        os.set_blocking(fd, False)

    async def receive(self, max_bytes: int = 65536) -> bytes:
        """What the container shows. Raises anyio.EndOfStream, anyio.ClosedResourceError."""
        while True:
            await anyio.wait_readable(self._open())
            try:
                data = os.read(self._open(), max_bytes)
            except BlockingIOError:
                continue
            except OSError as error:
                if error.errno != errno.EIO:
                    raise
                data = b""  # all that had it open are gone
            if not data:
                raise anyio.EndOfStream
            return data

    async def send(self, item: bytes) -> None:
        """Type. Raises anyio.BrokenResourceError when nobody can read it, anyio.ClosedResourceError."""
        while item:
            await anyio.wait_writable(self._open())
            try:
                item = item[os.write(self._open(), item) :]
            except BlockingIOError:
                continue
            except OSError as error:
                if error.errno != errno.EIO:
                    raise
                raise anyio.BrokenResourceError from error

    async def send_eof(self) -> None:
        """A terminal has no end; who reads lines takes ^D for one."""
        await self.send(b"\x04")

    def resize(self, size: Size) -> None:
        """The container's processes are told with SIGWINCH."""
        fcntl.ioctl(self._open(), termios.TIOCSWINSZ, struct.pack("4H", *size, 0, 0))

    def close(self) -> None:
        """Hang up."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    async def aclose(self) -> None:
        """Hang up."""
        self.close()

    def _open(self) -> int:
        if self._fd < 0:
            raise anyio.ClosedResourceError
        return self._fd
