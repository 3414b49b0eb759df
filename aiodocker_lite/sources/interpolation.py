"""Variables in the values of a Compose file, as the Compose specification has them (Interpolation).

Of what a shell can do there are defaults, errors and alternatives, each nested. A dollar sign that begins
none of them stays.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from aiodocker_lite.errors import InvalidSource

_DOLLAR = re.compile(r"\$(?:(?P<escaped>\$)|(?P<name>[A-Za-z_][A-Za-z0-9_]*)|(?P<brace>\{))")
_BRACED = re.compile(r"(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?:(?P<how>:?[-?+])(?P<word>.*))?", re.DOTALL)
_DEPTH_MAX = 50
_SHOWN = 100


def interpolated(
    text: str, variables: Mapping[str, str], place: str, unset: Callable[[str], None], depth: int = 0
) -> str:
    """`text` with its variables; `unset` hears of each that is not set. Raises InvalidSource."""
    if depth > _DEPTH_MAX:
        raise InvalidSource(place, f"variables are nested deeper than {_DEPTH_MAX}")
    parts = []
    position = 0
    while found := _DOLLAR.search(text, position):
        parts.append(text[position : found.start()])
        position = found.end()
        if found["escaped"]:
            parts.append("$")
        elif name := found["name"]:
            parts.append(_value(name, variables, unset))
        else:
            end = _closing(text, found.end())
            braced = _BRACED.fullmatch(text, found.end(), end) if end > 0 else None
            if not braced:
                raise InvalidSource(
                    place, f"'{text[:_SHOWN]}' has a variable that is not ${{NAME}} or ${{NAME:-DEFAULT}}"
                )
            word = interpolated(braced["word"] or "", variables, place, lambda _: None, depth + 1)
            parts.append(_substituted(braced, word, variables, place, unset))
            position = end + 1
    return "".join(parts) + text[position:]


def _substituted(
    braced: re.Match[str], word: str, variables: Mapping[str, str], place: str, unset: Callable[[str], None]
) -> str:
    name, how = braced["name"], braced["how"]
    if not how:
        return _value(name, variables, unset)
    value = variables.get(name)
    there = bool(value) if how.startswith(":") else value is not None
    match how[-1]:
        case "+":
            return word if there else ""
        case "-":
            return value if there and value is not None else word
        case _:
            if there and value is not None:
                return value
            raise InvalidSource(place, f"the variable {name} is needed and not set{word and ': '}{word}")


def _value(name: str, variables: Mapping[str, str], unset: Callable[[str], None]) -> str:
    if name not in variables:
        unset(name)
    return variables.get(name, "")


def _closing(text: str, start: int) -> int:
    """Where the brace that is open before `start` is closed, or -1."""
    depth = 1
    for position in range(start, len(text)):
        if text[position] == "{":
            depth += 1
        elif text[position] == "}":
            depth -= 1
            if not depth:
                return position
    return -1
