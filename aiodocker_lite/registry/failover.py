"""One question, several places that may answer it: mirrors in order, and then the registry itself."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from yarl import URL

from aiodocker_lite.errors import (
    BlobNotFound,
    ContentError,
    RateLimited,
    RegistryError,
    RegistryUnavailable,
    RegistryUnreachable,
)
from aiodocker_lite.registry.hosts import Endpoint

T = TypeVar("T")
Tell = Callable[[str], None]
"""Told, as one sentence, what a user should know."""
_REST = 60.0
_FOR_GOOD = float("inf")


class Failover:
    """Asks one place after the other; remembers which mirrors failed, and asks those last for a while."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._resting: dict[tuple[URL, str], float] = {}
        self._told: set[tuple[URL, str, type[Exception]]] = set()

    async def ask(
        self, places: Sequence[Endpoint], action: Callable[[Endpoint], Awaitable[T]], tell: Tell
    ) -> T:
        """The first answer. Raises the error that says most, with the others as its notes."""
        failures: list[tuple[Endpoint, RegistryError | ContentError]] = []
        for place in sorted(places, key=self._is_resting):
            try:
                return await action(place)
            except (RegistryError, ContentError) as error:
                failures.append((place, error))
                if not place.is_mirror and not isinstance(error, RegistryUnavailable | RateLimited):
                    break  # the registry itself knows
                self.rest(place, error, tell)
        raise _summary(failures)

    def rest(self, place: Endpoint, error: RegistryError | ContentError, tell: Tell) -> None:
        """A mirror has failed: the others are asked first for a while; if it lacks an image, then for that."""
        if not place.is_mirror:
            return
        if not isinstance(error, BlobNotFound):
            # Several mirrors may be behind one host, each with a path of its own.
            key = place.root, "" if isinstance(error, RegistryUnreachable) else place.repository
            until = _FOR_GOOD if isinstance(error, ContentError) else self._clock() + _REST
            self._resting[key] = max(self._resting.get(key, 0.0), until)
        if (told := (place.root, place.repository, type(error))) not in self._told:
            self._told.add(told)
            tell(f"The mirror {place.registry} is passed over: {reason_of(error)}")

    def distrust(self, place: Endpoint) -> bool:
        """A mirror has lied: everybody else is asked first from now on. False where that changes nothing."""
        key = place.root, place.repository
        if not place.is_mirror or self._resting.get(key) == _FOR_GOOD:
            return False
        self._resting[key] = _FOR_GOOD
        return True

    def _is_resting(self, place: Endpoint) -> bool:
        if not place.is_mirror:
            return False
        keys = (place.root, ""), (place.root, place.repository)
        return any(self._clock() < self._resting.get(key, 0.0) for key in keys)


def _summary(failures: Sequence[tuple[Endpoint, RegistryError | ContentError]]) -> Exception:
    """One error for all: the registry's own, unless it was not reached and a mirror may do better next time."""
    main = next((error for place, error in failures if not place.is_mirror), failures[-1][1])
    if isinstance(main, RegistryUnreachable):
        main = next((error for _, error in failures if error.retryable), main)
    for place, error in failures:
        if error is not main:
            main.add_note(f"also asked: {place.registry} ({reason_of(error)})")
    return main


def reason_of(error: RegistryError | ContentError) -> str:
    """Why, without who."""
    reason = vars(error).get("reason")
    return reason if isinstance(reason, str) else str(error)
