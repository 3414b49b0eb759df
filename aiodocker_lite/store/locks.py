"""One at a time, over all processes: flock(2) on a file per digest.

A lock belongs to an open file, so it also holds between tasks of one process, and the kernel
frees it when its process dies.
"""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import anyio
from anyio import from_thread, lowlevel

from aiodocker_lite.store.durable import store_errors


@asynccontextmanager
async def hold(
    path: Path, *, shared: bool = False, on_wait: Callable[[], None] | None = None
) -> AsyncIterator[None]:
    """Hold the lock of this file while the block runs; `on_wait` is told if somebody else has it."""
    with store_errors(path):
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
    try:
        fcntl.flock(fd, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        if on_wait is not None:
            on_wait()
        fd = await _Waiter(fd, kind).wait()
    try:
        yield
    finally:
        os.close(fd)


@contextmanager
def hold_now(path: Path, *, shared: bool = False) -> Iterator[bool]:
    """Hold the lock if nobody else does; the block is told whether it has it."""
    with store_errors(path):
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(fd, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
    finally:
        os.close(fd)


class _Waiter:
    """Waits for a lock in a thread of its own.

    A thread in flock(2) cannot be called back. So it is a daemon, which does not keep the
    process from ending, and it owns the descriptor until it hands it over: when nobody waits
    any more, it closes it, and with it gives the lock up.
    """

    def __init__(self, fd: int, kind: int) -> None:
        self._fd = fd
        self._kind = kind
        self._token = lowlevel.current_token()
        self._held = anyio.Event()
        self._handover = threading.Lock()
        self._abandoned = False

    async def wait(self) -> int:
        threading.Thread(target=self._flock, name="lock", daemon=True).start()
        try:
            await self._held.wait()
        except BaseException:
            with self._handover:
                self._abandoned = True
                if self._held.is_set():
                    os.close(self._fd)
            raise
        return self._fd

    def _flock(self) -> None:
        fcntl.flock(self._fd, self._kind)
        with self._handover:
            if self._abandoned:
                os.close(self._fd)
                return
        try:
            from_thread.run_sync(self._announce, token=self._token)
        except RuntimeError:  # the event loop has ended, and with it whoever waited
            os.close(self._fd)

    def _announce(self) -> None:
        if self._abandoned:
            os.close(self._fd)
        else:
            self._held.set()
