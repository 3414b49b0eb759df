"""What was served, in numbers for Prometheus."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

import anyio

_Values = Mapping[str, float]


@dataclass(slots=True)
class Counts:
    """How much of everything since the server began."""

    requests: Counter[tuple[str, int]] = field(default_factory=Counter)
    """By kind and status."""
    seconds: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    """By kind."""
    bytes: Counter[str] = field(default_factory=Counter)
    """Of bodies, by kind."""
    in_flight: int = 0
    connections: int = 0
    turned_away: int = 0
    partial: int = 0
    cut: int = 0
    unlogged: int = 0
    _quiet: anyio.Event = field(default_factory=anyio.Event)

    @contextmanager
    def running(self) -> Iterator[None]:
        """A request is being answered."""
        self.in_flight += 1
        try:
            yield
        finally:
            self.in_flight -= 1
            if not self.in_flight:
                self._quiet.set()
                self._quiet = anyio.Event()

    async def wait_until_quiet(self) -> None:
        """Return when no request is being answered."""
        while self.in_flight:
            await self._quiet.wait()

    def text(self) -> str:
        """All of it in Prometheus' text format."""
        count: Counter[str] = Counter()
        for (kind, _), number in self.requests.items():
            count[kind] += number
        requests = {f'kind="{kind}",status="{status}"': n for (kind, status), n in self.requests.items()}
        seconds = {f'kind="{kind}"': round(total, 6) for kind, total in self.seconds.items()}
        counts = {f'kind="{kind}"': number for kind, number in count.items()}
        took: dict[str, _Values] = {"_sum": seconds, "_count": counts}
        sent = {f'kind="{kind}"': number for kind, number in self.bytes.items()}
        return "".join(
            (
                _metric("requests_total", "counter", "Requests that were answered.", requests),
                _metric("sent_bytes_total", "counter", "Bytes of bodies that were sent.", sent),
                _metric("request_seconds", "summary", "How long answers took.", took),
                _metric("in_flight", "gauge", "Requests that are being answered.", self.in_flight),
                _metric("connections", "gauge", "Connections that are open.", self.connections),
                _metric("turned_away_total", "counter", "Connections that were too many.", self.turned_away),
                _metric(
                    "partial_blobs_total", "counter", "Blobs served while they were pulled.", self.partial
                ),
                _metric("cut_total", "counter", "Answers that ended early.", self.cut),
                _metric("unlogged_total", "counter", "Lines that the access log lacks.", self.unlogged),
            )
        )


def _metric(name: str, kind: str, says: str, values: float | _Values | Mapping[str, _Values]) -> str:
    """One metric, its values by labels, and these by the end of its name."""
    name = f"aiodocker_lite_serve_{name}"
    lines = [f"# HELP {name} {says}", f"# TYPE {name} {kind}"]
    if not isinstance(values, Mapping):
        lines.append(f"{name} {values}")
    else:
        for key, value in sorted(values.items()):
            if isinstance(value, Mapping):
                lines += [f"{name}{key}{{{labels}}} {number}" for labels, number in sorted(value.items())]
            else:
                lines.append(f"{name}{{{key}}} {value}")
    return "\n".join(lines) + "\n"
