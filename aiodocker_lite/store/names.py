"""Names of containers: what may be one, and one for who wants none."""

from __future__ import annotations

import random
import re
import time
from collections.abc import Container, Iterator

from aiodocker_lite.errors import InvalidName

_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]*")
_MANNERS = "brave calm clever eager gentle happy keen lucid merry patient quick".split()  # noqa: SIM905
_PEOPLE = "babbage curie dijkstra euler gauss hopper knuth lovelace noether turing".split()  # noqa: SIM905


def checked_name(name: str) -> str:
    """The name, if it can be one. Raises InvalidName."""
    if not _NAME.fullmatch(name):
        raise InvalidName(
            "name",
            f"'{name}' may only have letters, digits, '_', '.' and '-', and not begin with these three",
        )
    return name


def free_name(taken: Container[str]) -> str:
    """A name by chance that nobody has."""
    return next(name for name in _random_names() if name not in taken)


def _random_names() -> Iterator[str]:
    chance = random.Random(time.time_ns())
    while True:
        yield f"{chance.choice(_MANNERS)}_{chance.choice(_PEOPLE)}"
        yield f"{chance.choice(_MANNERS)}_{chance.choice(_PEOPLE)}{chance.randrange(10_000)}"
