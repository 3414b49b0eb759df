"""YAML to plain values: text, lists, mappings and None; every scalar that is not null is text.

Built from the parser's events and not by PyYAML's constructor: so there is no recursion, no guessing
of dates and octal numbers, and a document that unfolds to more than anybody writes is refused while
it is read. Aliases count with all that they stand for.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import yaml

from aiodocker_lite.errors import InvalidSource
from aiodocker_lite.sources.naming import TEMPLATE_HINT

DEPTH_MAX = 200
_NODES_MAX = 1_000_000
_KEY_MAX = 1024
_NULLS = {"", "~", "null", "Null", "NULL"}
_MERGE = "<<"


@dataclass(frozen=True, slots=True)
class Tagged:
    """A value with a tag of Compose's: ``!reset`` or ``!override``."""

    tag: str
    value: object


_TAGS = {"!reset", "!override"}


def documents(text: str, file: str, *, unique_keys: bool = False) -> Iterator[object]:
    """Each document that is not empty. Raises InvalidSource, with the line."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    builder = _Builder(file, unique_keys)
    try:
        for event in yaml.parse(text, Loader=loader):
            builder.take(event)
            if isinstance(event, yaml.DocumentEndEvent) and builder.root is not None:
                yield builder.root
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"{file}: line {mark.line + 1}" if mark else file
        hint = TEMPLATE_HINT if "{{" in text else ""
        raise InvalidSource(place, f"is no YAML: {error.problem or error.context}{hint}") from None
    except yaml.YAMLError as error:
        raise InvalidSource(file, f"is no YAML: {' '.join(str(error).split())}") from None


@dataclass(slots=True)
class _Open:
    """A list or a mapping of which the end has not been seen."""

    value: list[object] | dict[str, object]
    anchor: str | None
    tag: str | None
    size: int = 1
    height: int = 1
    key: str | None = None
    below: list[object] | None = None
    """What a merge key named: there unless the mapping itself says something else."""


@dataclass(frozen=True, slots=True)
class _Anchored:
    value: object
    size: int
    height: int


class _Builder:
    """Takes the events of one stream; after a document's end, `root` is its value."""

    def __init__(self, file: str, unique_keys: bool) -> None:
        self.root: object = None
        self._file = file
        self._unique_keys = unique_keys
        self._open: list[_Open] = []
        self._anchors: dict[str, _Anchored | None] = {}
        self._count = 0
        self._line = 0

    def take(self, event: yaml.Event) -> None:
        if event.start_mark:
            self._line = event.start_mark.line + 1
        match event:
            case yaml.DocumentStartEvent():
                self.root = None
                self._anchors = {}
            case yaml.MappingStartEvent():
                self._begin(_Open({}, event.anchor, event.tag))
            case yaml.SequenceStartEvent():
                self._begin(_Open([], event.anchor, event.tag))
            case yaml.MappingEndEvent() | yaml.SequenceEndEvent():
                self._end()
            case yaml.ScalarEvent():
                value = None if event.implicit[0] and event.value in _NULLS else event.value
                self._count_nodes(1)
                self._put(_tagged(value, event.tag), 1, 1, event.anchor)
            case yaml.AliasEvent():
                self._alias(event.anchor or "")
            case _:
                pass  # begin and end of the stream and of documents

    def _begin(self, what: _Open) -> None:
        self._count_nodes(1)
        if what.anchor:
            self._anchors[what.anchor] = None
        self._open.append(what)
        if len(self._open) > DEPTH_MAX:
            raise self._wrong(f"is nested deeper than {DEPTH_MAX}")

    def _end(self) -> None:
        done = self._open.pop()
        value: object = done.value
        if isinstance(done.value, dict) and done.below is not None:
            value = {
                k: v for one in reversed(done.below) if isinstance(one, dict) for k, v in one.items()
            } | done.value
        self._put(_tagged(value, done.tag), done.size, done.height, done.anchor)

    def _alias(self, anchor: str) -> None:
        if anchor not in self._anchors:
            raise self._wrong(f"there is no anchor &{anchor} before *{anchor}")
        if (known := self._anchors[anchor]) is None:
            raise self._wrong(f"*{anchor} is inside of &{anchor}")
        self._count_nodes(known.size)
        if len(self._open) + known.height > DEPTH_MAX:
            raise self._wrong(f"is nested deeper than {DEPTH_MAX}")
        self._put(known.value, known.size, known.height)

    def _put(self, value: object, size: int, height: int, anchor: str | None = None) -> None:
        if anchor:
            self._anchors[anchor] = _Anchored(value, size, height)
        if not self._open:
            self.root = value
            return
        outer = self._open[-1]
        outer.size += size
        outer.height = max(outer.height, height + 1)
        if isinstance(outer.value, list):
            outer.value.append(value)
        elif outer.key is None:
            outer.key = self._key(value, outer)
        elif outer.key == _MERGE:
            outer.key = None
            outer.below = (outer.below or []) + self._mappings(value)
        else:
            outer.value[outer.key] = value
            outer.key = None

    def _key(self, value: object, outer: _Open) -> str:
        if value is None:
            value = "null"
        if not isinstance(value, str):
            raise self._wrong(f"a key is no text{TEMPLATE_HINT if isinstance(value, dict) else ''}")
        if len(value) > _KEY_MAX:
            raise self._wrong(f"a key is longer than {_KEY_MAX} characters")
        if self._unique_keys and value in outer.value:
            raise self._wrong(f"the key '{value}' is there twice")
        return value

    def _mappings(self, value: object) -> list[object]:
        below = value if isinstance(value, list) else [value]
        if not all(isinstance(one, dict) for one in below):
            raise self._wrong(f"{_MERGE} takes a mapping, or a list of them")
        return below

    def _count_nodes(self, more: int) -> None:
        self._count += more
        if self._count > _NODES_MAX:
            raise self._wrong(f"has more than {_NODES_MAX} values, or its aliases unfold to so many")

    def _wrong(self, reason: str) -> InvalidSource:
        return InvalidSource(f"{self._file}: line {self._line}", reason)


def _tagged(value: object, tag: str | None) -> object:
    return Tagged(tag, value) if tag in _TAGS else value
