"""How long the stages of one layer took, in the process that unpacks it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter, process_time, thread_time


class Took:
    """Stop watches by name, each of one thread: seconds of the clock, and those in which a core was had."""

    def __init__(self) -> None:
        self._begin = perf_counter()
        self._wall: dict[str, float] = defaultdict(float)
        self._cpu: dict[str, float] = defaultdict(float)

    @contextmanager
    def time(self, name: str) -> Iterator[None]:
        """Count the time of this block."""
        begin, cpu = perf_counter(), thread_time()
        try:
            yield
        finally:
            self._wall[name] += perf_counter() - begin
            self._cpu[name] += thread_time() - cpu

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
        wall, cpu = self._wall, self._cpu
        made = wall["plain"] - wall["waiting"]
        hashed, inflated = cpu["compressed"], cpu["plain"] - cpu["compressed"]
        found = {
            "wait_seconds": wall["waiting"],
            "blob_hash_seconds": hashed,
            "inflate_seconds": inflated,
            "hash_seconds": cpu["hashing"],
            "core_seconds": max(0.0, made - hashed - inflated),
            "files_seconds": perf_counter() - self._begin - wall["ready"],
            "cpu_seconds": process_time(),
        }
        return {name: round(seconds, 6) for name, seconds in found.items()}
