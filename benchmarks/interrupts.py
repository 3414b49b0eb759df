"""A signal is heard only where nothing is half made: what was made before is then removed in its order.

Commands that make and remove things are in sessions of their own, where the terminal's Ctrl-C does not reach them.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType


@dataclass
class _Heard:
    signal: int | None = None
    may_end: bool = False


_heard = _Heard()


def hold() -> None:
    """From now on signals wait for an `interruptible` block; one that is ignored stays so."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _came)


def _came(number: int, frame: FrameType | None) -> None:
    _heard.signal = number
    if _heard.may_end:
        _end()


def _end() -> None:
    _heard.may_end = False  # others wait for ever: one is enough
    raise KeyboardInterrupt(_heard.signal)


@contextmanager
def interruptible() -> Iterator[None]:
    """A signal, also one that came before, ends the block with a KeyboardInterrupt that has its number."""
    _heard.may_end = True
    try:
        if _heard.signal is not None:
            _end()
        yield
    finally:
        _heard.may_end = False
