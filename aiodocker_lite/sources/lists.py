"""A list: one name a line, a platform behind it where it is not the usual one."""

from __future__ import annotations

import re
from collections.abc import Iterator

from aiodocker_lite.errors import InvalidSource
from aiodocker_lite.sources.naming import named
from aiodocker_lite.wanted import Wanted

_COMMENT = re.compile(r"(?:^|\s)#.*")


def images(text: str, file: str) -> Iterator[Wanted]:
    """``NAME [PLATFORM]`` on each line; ``#`` begins a comment at the line's start or after a space."""
    for number, line in enumerate(text.split("\n"), 1):
        words = _COMMENT.sub("", line).split()
        place = f"{file}: line {number}"
        if len(words) > 2:
            raise InvalidSource(place, f"'{words[2]}' is too much: a line is a name, and a platform at most")
        if words:
            yield named(words[0], place, *words[1:])
