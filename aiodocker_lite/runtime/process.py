"""A container's process, as the engine sees it."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import anyio
from anyio.abc import ByteReceiveStream, ByteSendStream, Process

from aiodocker_lite.runtime.pids import hears, send

if TYPE_CHECKING:
    from aiodocker_lite.runtime.terminal import Terminal

KILLED = 128 + signal.SIGKILL


class ContainerProcess:
    """A running container: its first process, with the streams that were asked for.

    Owned by `launch`, which ends it when its block is left.
    """

    def __init__(
        self,
        process: Process,
        pid: int,
        pidfd: int,
        terminal: Terminal | None = None,
        *,
        stop_signal: int = signal.SIGTERM,
    ) -> None:
        self._process = process
        self._stop_signal = stop_signal
        self.terminal = terminal
        """What it has for all three streams, if that was asked for."""
        self.pidfd = pidfd
        """Not the number but this names the process: numbers are used again. -1 when it has ended."""
        self.pid = pid
        """Its number on the host."""

    @property
    def stdin(self) -> ByteSendStream | None:
        """What the process reads, if a pipe or a terminal was asked for."""
        return self.terminal or self._process.stdin

    @property
    def stdout(self) -> ByteReceiveStream | None:
        """What the process writes, if a pipe or a terminal was asked for."""
        return self.terminal or self._process.stdout

    @property
    def stderr(self) -> ByteReceiveStream | None:
        """What the process complains about, if a pipe was asked for."""
        return self._process.stderr

    @property
    def returncode(self) -> int | None:
        """The exit code, 128 + n for signal n, or None while it runs."""
        code = self._process.returncode
        return code if code is None or code >= 0 else 128 - code

    async def wait(self) -> int:
        """Wait for its end; returns the exit code, 128 + n for signal n."""
        code = await self._process.wait()
        return code if code >= 0 else 128 - code

    def signal(self, number: int) -> None:
        """Send a signal to the container's first process; one that has ended is no error."""
        if self.pidfd < 0:
            return
        send(self.pidfd, number)

    async def stop(self, *, grace: float) -> int:
        """End it: ask with its stop signal, wait for so many seconds, kill. Returns the exit code."""
        if self.returncode is None and grace > 0 and hears(self.pid, self._stop_signal):
            self.signal(self._stop_signal)
            with anyio.move_on_after(grace):
                return await self.wait()
        self.signal(signal.SIGKILL)
        return await self.wait()

    def close(self) -> None:
        """Let go of what names the process: it has ended."""
        os.close(self.pidfd)
        self.pidfd = -1
        if self.terminal:
            self.terminal.close()
