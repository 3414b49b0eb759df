"""What took how long: named spans of time, for whoever listens.

Nobody does but under `listening`; then a span costs two looks at a clock and one at a variable. It is
a variable of the context, so that no room needs to be handed a listener.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from time import monotonic
from typing import TypeAlias

Fact: TypeAlias = str | int | float


@dataclass(frozen=True, slots=True)
class Span:
    """Something that was done; times are seconds of the monotonic clock."""

    what: str
    """resolve, token, manifest, config, slot, download, request, bytes, turn, unpack, sync, publish, join or name."""
    about: str
    """The layer, or whatever else it was done to or with."""
    begin: float
    end: float
    facts: Mapping[str, Fact]

    @property
    def seconds(self) -> float:
        """How long it took."""
        return self.end - self.begin


Listener: TypeAlias = Callable[[Span], None]
"""Called when a span is over, from any thread."""

_listener: ContextVar[Listener | None] = ContextVar("listener", default=None)


@contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Have the spans of this block, of its tasks and its threads told."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)


def tell(what: str, about: str, begin: float, **facts: Fact) -> None:
    """Tell of a span that is over now."""
    if (listener := _listener.get()) is not None:
        listener(Span(what, about, begin, monotonic(), facts))


@contextmanager
def span(what: str, about: str = "", **facts: Fact) -> Iterator[dict[str, Fact]]:
    """The block is a span; facts can be added until it is over. Secrets are none."""
    begin = monotonic()
    try:
        yield facts
    finally:
        tell(what, about, begin, **facts)
