"""`--filter KEY=VALUE`: of one key any value is enough, of all keys each counts."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Annotated

import typer

from aiodocker_lite.errors import InvalidOption

Filters = Annotated[
    list[str] | None,
    typer.Option(
        "--filter", "-f", metavar="KEY=VALUE", help="Only some; an unknown KEY says those there are."
    ),
]
Wanted = dict[str, list[str]]
"""Values by key."""

_TRUTHS = {"true": True, "1": True, "false": False, "0": False}


def read_filters(filters: Iterable[str] | None, known: Sequence[str]) -> Wanted:
    """Raises InvalidOption for what is no filter, and for keys that are not known."""
    found: Wanted = {}
    for text in filters or ():
        key, assigned, value = text.partition("=")
        key = key.strip().lower()
        if not assigned:
            raise InvalidOption("--filter", f"'{text}' is not KEY=VALUE")
        if key not in known:
            raise InvalidOption("--filter", f"'{key}' is none of {', '.join(known)}")
        found.setdefault(key, []).append(value.strip())
    return found


def suits(wanted: Wanted, one: Callable[[str, str], bool]) -> bool:
    """Whether something is wanted of which `one` says if a key has a value."""
    # All labels must be there, and of anything else one is enough.
    return all(
        (all if key.startswith("label") else any)(one(key, value) for value in values)
        for key, values in wanted.items()
    )


def has_label(labels: Mapping[str, str], text: str) -> bool:
    """``NAME``, or ``NAME=VALUE``."""
    name, assigned, value = text.partition("=")
    return name in labels and (not assigned or labels[name] == value)


def truth(text: str) -> bool:
    """Raises InvalidOption for what is neither true nor false."""
    if text.lower() not in _TRUTHS:
        raise InvalidOption("--filter", f"'{text}' is neither true nor false")
    return _TRUTHS[text.lower()]


def pattern(text: str) -> re.Pattern[str]:
    """Raises InvalidOption for what is no regular expression."""
    try:
        return re.compile(text)
    except re.error as error:
        raise InvalidOption("--filter", f"'{text}' is no pattern: {error}") from error
