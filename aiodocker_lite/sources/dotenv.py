"""An environment file, as Compose reads ``.env`` (Compose specification, "env_file format")."""

from __future__ import annotations

import re
from collections import ChainMap
from collections.abc import Mapping

from aiodocker_lite.errors import InvalidSource
from aiodocker_lite.sources.interpolation import interpolated

_BLANK = re.compile(r"(?:\s+|#[^\n]*)*")
_NAME = re.compile(r"(?:export[ \t]+)?(?P<name>[\w.\[\]-]+)[ \t]*(?:(?P<sign>[=:])[ \t]*|\r?(?:\n|\Z))")
_QUOTED = re.compile(r"""'(?P<single>(?:[^'\\]|\\.)*)'|"(?P<double>(?:[^"\\]|\\.)*)\"""", re.DOTALL)
_REST = re.compile(r"[ \t]*(?:#[^\n]*)?\r?(?:\n|\Z)")
_COMMENT = re.compile(r"(?:^|\s)#.*")
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", '"': '"', "\\": "\\", "$": "$$"}


def variables(text: str, file: str, outside: Mapping[str, str]) -> dict[str, str]:
    """Names and values; a name without a value is taken from `outside`. Raises InvalidSource, with the line."""
    found: dict[str, str] = {}
    known = ChainMap(dict(outside), found)
    position = _end(_BLANK, text, 0)
    counted, number = 0, 1
    while position < len(text):
        number += text.count("\n", counted, position)
        counted = position
        place = f"{file}: line {number}"
        line = _NAME.match(text, position)
        if not line:
            raise InvalidSource(place, "is not NAME=VALUE")
        position = line.end()
        name = line["name"]
        if line["sign"]:
            raw, literal, position = _value(text, position, place)
            found[name] = raw if literal else interpolated(raw, known, place, lambda _: None)
        elif name in outside:
            found[name] = outside[name]
        position = _end(_BLANK, text, position)
    return found


def _value(text: str, position: int, place: str) -> tuple[str, bool, int]:
    """The value that begins here, whether it is to be taken as it is, and where it ends."""
    if text[position : position + 1] not in ("'", '"'):
        end = text.find("\n", position)
        end = len(text) if end < 0 else end
        return _COMMENT.sub("", text[position:end]).strip(), False, end
    quoted = _QUOTED.match(text, position)
    rest = _REST.match(text, quoted.end()) if quoted else None
    if not quoted or not rest:
        raise InvalidSource(place, "a quote is not closed, or something follows it")
    if quoted["single"] is not None:
        return quoted["single"].replace("\\'", "'"), True, rest.end()
    value = _ESCAPED.sub(lambda found: _ESCAPES.get(found[1], found[0]), quoted["double"])
    return value, False, rest.end()


def _end(pattern: re.Pattern[str], text: str, position: int) -> int:
    found = pattern.match(text, position)
    return found.end() if found else position
