"""How long the stages of one layer took, in the process that unpacks it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter, process_time


class Took:
    """Stop watches by name; each is used by one thread."""

    def __init__(self) -> None:
        self._begin = perf_counter()
        self._seconds: dict[str, float] = defaultdict(float)

    @contextmanager
    def time(self, name: str) -> Iterator[None]:
        """Count the time of this block."""
        begin = perf_counter()
        try:
            yield
        finally:
            self._seconds[name] += perf_counter() - begin

    def timed(self, name: str, items: Iterator[bytes]) -> Iterator[bytes]:
        """The same items; counts the time that is waited for them."""
        while True:
            with self.time(name):
                item = next(items, None)
            if item is None:
                return
            yield item

    def facts(self) -> dict[str, float]:
        """Seconds by stage, and of CPU; of the process's own layer, so of all that it has lived for."""
        took = self._seconds
        found = {
            "wait_seconds": took["waiting"],
            "hash_seconds": took["compressed"] - took["waiting"] + took["hashing"],
            "inflate_seconds": took["plain"] - took["compressed"],
            "files_seconds": perf_counter() - self._begin - took["ready"],
            "cpu_seconds": process_time(),
        }
        return {name: round(seconds, 6) for name, seconds in found.items()}
