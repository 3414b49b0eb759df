"""One at a time, over all processes: flock(2) on a file per digest.

A lock belongs to an open file, so it also holds between tasks of one process, and the kernel
frees it when its process dies.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path

import anyio

from aiodocker_lite.store.durable import store_errors


@asynccontextmanager
async def hold(
    path: Path, *, shared: bool = False, on_wait: Callable[[], None] | None = None
) -> AsyncIterator[None]:
    """Hold the lock of this file while the block runs; `on_wait` is told if somebody else has it."""
    kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
    with _opened(path) as fd:
        if not _take(path, fd, kind):
            if on_wait is not None:
                on_wait()
            await _wait(path, fd, kind)
        yield


@contextmanager
def hold_now(path: Path) -> Iterator[bool]:
    """Hold the lock if nobody else does; the block is told whether it has it."""
    with _opened(path) as fd:
        yield _take(path, fd, fcntl.LOCK_EX)


@contextmanager
def hold_directory(path: Path) -> Iterator[bool]:
    """Hold the lock of a directory that a worker fills, if the worker has ended; none can begin meanwhile."""
    with store_errors(path):
        try:
            fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except (FileNotFoundError, PermissionError):
            fd = -1  # not begun; or unpacked to the end, as a directory that may not be read
    if fd < 0:
        yield True
        return
    with _closing(path, fd):
        yield _take(path, fd, fcntl.LOCK_EX)


def take_unless_held(path: Path) -> int | None:
    """The lock of this file as an open descriptor, which may be handed on to another process; None if it is held.

    Closing the last descriptor frees it. Who only looks whether it is held does not count.
    Raises FileNotFoundError.
    """
    fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        while not _take(path, fd, fcntl.LOCK_EX):
            if is_held(path):
                os.close(fd)
                return None
    except BaseException:
        os.close(fd)
        raise
    return fd


async def wait_until_free(path: Path) -> bytes:
    """Wait until nobody holds the lock of this file; returns what is in the file then.

    The file may be removed meanwhile; of one that is not there, nothing is returned.
    """
    with store_errors(path):
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return b""
    with _closing(path, fd):
        if not _take(path, fd, fcntl.LOCK_SH):
            await _wait(path, fd, fcntl.LOCK_SH)
        with store_errors(path):
            return os.pread(fd, 100, 0)


def is_held(path: Path) -> bool:
    """Somebody holds this lock, and not only together with others; nobody holds what is not there."""
    with store_errors(path):
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
    with _closing(path, fd):
        # Two who ask at the same moment share the lock: neither takes the other for its holder.
        return not _take(path, fd, fcntl.LOCK_SH)


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    with store_errors(path):
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    with _closing(path, fd):
        yield fd


@contextmanager
def _closing(path: Path, fd: int) -> Iterator[None]:
    try:
        yield
    finally:
        with store_errors(path):
            os.close(fd)


def _take(path: Path, fd: int, kind: int) -> bool:
    with store_errors(path):
        try:
            fcntl.flock(fd, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


async def _wait(path: Path, fd: int, kind: int) -> None:
    """Wait for a lock in a thread of its own.

    A thread in flock(2) cannot be called back. So it is a daemon, which does not keep the process
    from ending, and it waits with a descriptor of its own: a lock belongs to the open file behind
    all its descriptors. Whoever gives up closes his, and when the lock comes after all, the thread
    closes the last one and with it gives the lock up.
    """
    duplicate = os.dup(fd)
    loop = asyncio.get_running_loop()
    ended = anyio.Event()
    failures: list[OSError] = []

    def wait() -> None:
        try:
            fcntl.flock(duplicate, kind)
        except OSError as error:
            failures.append(error)
        finally:
            os.close(duplicate)
        with suppress(RuntimeError):  # the event loop has ended, and with it whoever waited
            # Not anyio's way, which waits for an answer: a loop that ends now never gives one.
            loop.call_soon_threadsafe(ended.set)

    try:
        threading.Thread(target=wait, name="lock", daemon=True).start()
    except BaseException:
        os.close(duplicate)
        raise
    await ended.wait()
    with store_errors(path):
        for failure in failures:
            raise failure
