"""When a failed request is made again: exponential backoff with full jitter, and one budget for a pull."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

import anyio

from aiodocker_lite.errors import RateLimited, RegistryError, RegistryUnavailable
from aiodocker_lite.events import Retrying

T = TypeVar("T")
_PAUSE_MAX = 60.0
OnRetry = Callable[[RegistryError, float], None]
"""Told of a failure, and of the pause in seconds before the next try."""


def retrying(what: str, error: RegistryError, pause: float) -> Retrying:
    """What those who watch are told of a failure and of the pause that follows."""
    asked = error.retry_after if isinstance(error, RateLimited | RegistryUnavailable) else None
    return Retrying(what, str(error), pause, asked or 0.0)


class Retries:
    """What all requests of one pull have together: their pauses, and how long they may wait in all.

    A request is made again after at most each of `pauses` in turn, chosen at random, or as much
    longer as the registry asks for; progress starts them anew. `patience` is how many seconds
    the whole pull may wait because of requests that brought nothing; waiting at the same
    time counts once.
    """

    def __init__(self, pauses: Sequence[float], patience: float) -> None:
        self._pauses = tuple(pauses)
        self._patience = self._left = patience
        self._waiting_until = 0.0

    def tries(self) -> Tries:
        """For one request."""
        return Tries(self, self._pauses)

    async def attempt(self, action: Callable[[], Awaitable[T]], on_retry: OnRetry) -> T:
        """The result of one small request, made as often as it is worth it."""
        tries = self.tries()
        while True:
            try:
                return await action()
            except RegistryError as error:
                await tries.pause_after(error, progressed=False, on_retry=on_retry)

    def spend(self, pause: float, error: RegistryError) -> None:
        """Take a pause that is about to begin from the budget; raises the error where too little is left."""
        now = anyio.current_time()
        more = now + pause - max(now, self._waiting_until)
        if more > self._left:
            error.add_note(f"this pull has waited {self._patience - self._left:.0f} s for answers")
            raise error
        if more > 0:
            self._left -= more
            self._waiting_until = now + pause


class Tries:
    """How often one request is made again, and what is waited before."""

    def __init__(self, retries: Retries, pauses: tuple[float, ...]) -> None:
        self._retries = retries
        self._pauses = pauses
        self._failures = 0

    async def pause_after(self, error: RegistryError, *, progressed: bool, on_retry: OnRetry) -> None:
        """Wait before the next try, or raise the error where there is none."""
        if progressed:
            self._failures = 0
        if not error.retryable or self._failures == len(self._pauses):
            raise error
        # Anything from nothing on, or a hundred clients that failed together come back together.
        pause = random.uniform(0, self._pauses[self._failures])
        if isinstance(error, RateLimited | RegistryUnavailable) and error.retry_after:
            pause = min(pause + error.retry_after, _PAUSE_MAX)
        self._failures += 1
        if not progressed:
            self._retries.spend(pause, error)
        on_retry(error, pause)
        await anyio.sleep(pause)
