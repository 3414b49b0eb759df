"""A word of a Dockerfile: quotes, escapes, and variables with the modifiers that the reference lists.

Dockerfile reference: Environment replacement.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Mapping

from aiodocker_lite.errors import InvalidSource

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_BRACED = re.compile(r"(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?:(?P<how>:?[-+?]|##?|%%?)(?P<word>.*))?", re.DOTALL)
_DEPTH_MAX = 50
_PATTERN_MAX = 255
_SHOWN = 100


def unquoted(text: str, escape: str) -> str:
    """The word without its quotes and escapes; a variable stays as it is."""
    return re.sub(rf"{re.escape(escape)}(.)|[\"']", r"\1", text, flags=re.DOTALL)


def expanded(text: str, values: Mapping[str, str], escape: str, place: str, depth: int = 0) -> str:
    """The word with its variables; one that is not set is empty. Raises InvalidSource."""
    if depth > _DEPTH_MAX:
        raise InvalidSource(place, f"variables are nested deeper than {_DEPTH_MAX}")
    parts = []
    quote = ""
    position = 0
    while position < len(text):
        char = text[position]
        position += 1
        if char == escape and quote != "'" and position < len(text):
            # Inside of double quotes it stays, but before what it takes the meaning of.
            if quote and text[position] not in f'"${escape}':
                parts.append(char)
            parts.append(text[position])
            position += 1
        elif char in "\"'" and quote in ("", char):
            quote = "" if quote else char
        elif char == "$" and quote != "'":
            value, position = _variable(text, position, values, escape, place, depth)
            parts.append(value)
        else:
            parts.append(char)
    if quote:
        raise InvalidSource(place, f"the quote {quote} is not closed")
    return "".join(parts)


def _variable(
    text: str, position: int, values: Mapping[str, str], escape: str, place: str, depth: int
) -> tuple[str, int]:
    """The value of the variable behind a dollar sign, and where it ends."""
    if text[position : position + 1] != "{":
        name = _NAME.match(text, position)
        return (values.get(name[0], ""), name.end()) if name else ("$", position)
    end = _closing(text, position + 1, escape)
    braced = _BRACED.fullmatch(text, position + 1, end) if end > 0 else None
    if not braced:
        raise InvalidSource(
            place, f"'{text[:_SHOWN]}' has a variable that is not ${{NAME}} or ${{NAME:-DEFAULT}}"
        )
    word = expanded(braced["word"] or "", values, escape, place, depth + 1)
    return _modified(braced["name"], braced["how"] or "", word, values, place), end + 1


def _modified(name: str, how: str, word: str, values: Mapping[str, str], place: str) -> str:
    value = values.get(name, "")
    there = bool(value) if how.startswith(":") else name in values
    match how[-1:]:
        case "-":
            return value if there else word
        case "+":
            return word if there else ""
        case "?":
            if not there:
                raise InvalidSource(place, f"the variable {name} is needed and not set{word and ': '}{word}")
            return value
        case "#" | "%":
            return _without(value, word, how, place)
        case _:
            return value


def _without(value: str, pattern: str, how: str, place: str) -> str:
    """`value` without what the pattern matches at its beginning or its end: the least, or doubled the most."""
    if len(value) > _PATTERN_MAX or len(pattern) > _PATTERN_MAX:
        raise InvalidSource(place, f"a value or a pattern is longer than {_PATTERN_MAX} characters")
    # Only * and ? mean something; fnmatch makes an expression of them that needs no backtracking.
    matches = re.compile(fnmatch.translate(pattern.replace("[", "[[]")))
    ends = range(len(value) + 1)
    if how[0] == "#":
        cut = (end for end in (ends if how == "#" else reversed(ends)) if matches.fullmatch(value, 0, end))
        return value[next(cut, 0) :]
    cut = (start for start in (reversed(ends) if how == "%" else ends) if matches.fullmatch(value, start))
    return value[: next(cut, len(value))]


def _closing(text: str, start: int, escape: str) -> int:
    """Where the brace that is open before `start` is closed, or -1."""
    depth = 1
    position = start
    while position < len(text):
        if text[position] == escape:
            position += 1
        elif text[position] == "{":
            depth += 1
        elif text[position] == "}":
            depth -= 1
            if not depth:
                return position
        position += 1
    return -1
