"""One blob, however many requests it takes: ranges, resume, retries.

Knows neither HTTP nor files: bytes come from a callable that opens a source at an offset, and go
to another that writes them.
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import TypeVar

import anyio

from aiodocker_lite.errors import RateLimited, RegistryError, RegistryUnavailable, SizeMismatch
from aiodocker_lite.manifest import Descriptor

T = TypeVar("T")
OpenAt = Callable[[int], AbstractAsyncContextManager[AsyncIterator[bytes]]]
"""Opens the bytes of a blob from an offset on."""
OnRetry = Callable[[RegistryError, float], None]
"""Told of a failure, and of the pause in seconds before the next try."""


async def fetch_blob(
    blob: Descriptor,
    open_at: OpenAt,
    write: Callable[[bytes], Awaitable[None]],
    *,
    offset: int,
    pauses: Sequence[float],
    on_retry: OnRetry,
) -> None:
    """Hand every byte of a blob from `offset` on to `write`, in order and once.

    Each failed request is followed by the next of `pauses` and a new request for what is
    missing; every byte that arrives starts the count anew. Nothing is hashed here. Raises
    SizeMismatch when more bytes come than promised, the last RegistryError when the pauses are
    used up, and at once whatever `write` raises.
    """
    feed = _Feed(blob, write, offset)
    tries = _Tries(pauses, on_retry)
    while feed.received < blob.size:
        before = feed.received
        try:
            async with open_at(feed.received) as chunks:
                await feed.take(chunks)
            if feed.received < blob.size:
                raise RegistryUnavailable(
                    "the registry", f"the connection ended {blob.size - feed.received} bytes early"
                )
        except RegistryError as error:
            if feed.is_broken:
                raise
            if feed.received > before:
                tries = _Tries(pauses, on_retry)
            await tries.pause_after(error)


async def attempt(action: Callable[[], Awaitable[T]], *, pauses: Sequence[float], on_retry: OnRetry) -> T:
    """The result of one small request, tried again by the same rules."""
    tries = _Tries(pauses, on_retry)
    while True:
        try:
            return await action()
        except RegistryError as error:
            await tries.pause_after(error)


class _Feed:
    """Where the bytes go, and how many went there."""

    def __init__(self, blob: Descriptor, write: Callable[[bytes], Awaitable[None]], offset: int) -> None:
        self.received = offset
        self.is_broken = False
        self._blob = blob
        self._write = write

    async def take(self, chunks: AsyncIterator[bytes]) -> None:
        async for chunk in chunks:
            self.received += len(chunk)
            if self.received > self._blob.size:
                raise SizeMismatch(f"layer {self._blob.digest.short}", self._blob.size, self.received)
            # Broken until proven otherwise: after a failed write our count has moved on and the file has not.
            self.is_broken = True
            await self._write(chunk)
            self.is_broken = False


class _Tries:
    """How often one request is made again, and what is waited before."""

    def __init__(self, pauses: Sequence[float], on_retry: OnRetry) -> None:
        self._pauses = iter(pauses)
        self._on_retry = on_retry

    async def pause_after(self, error: RegistryError) -> None:
        """Wait before the next try, or raise the error where there is none."""
        pause = next(self._pauses, None)
        if pause is None or not error.retryable:
            raise error
        # Jitter, or a hundred clients that failed together come back together.
        pause *= random.uniform(0.75, 1.25)
        if isinstance(error, RateLimited | RegistryUnavailable) and error.retry_after:
            pause = max(pause, error.retry_after)
        self._on_retry(error, pause)
        await anyio.sleep(pause)
