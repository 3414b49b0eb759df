"""Frozen dataclasses to JSON and back, by their annotations: who adds a field has nothing to do here."""

from __future__ import annotations

import types
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from functools import cache
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

T = TypeVar("T")


def to_json(record: object) -> Any:
    """The fields by name, and what is in them likewise; tuples are lists, mappings are objects."""
    if is_dataclass(record):
        return {field.name: to_json(getattr(record, field.name)) for field in fields(record)}
    if isinstance(record, Mapping):
        return {key: to_json(value) for key, value in record.items()}
    if isinstance(record, tuple | list):
        return [to_json(value) for value in record]
    return record


def from_json(kind: type[T], found: Mapping[str, Any]) -> T:
    """What `to_json` described; absent fields have their defaults, and unknown ones are passed over.

    Raises TypeError, and what the class itself raises.
    """
    hints = _hints(kind)  # type: ignore[arg-type] # classes can be hashed
    return kind(**{name: _value(hints[name], value) for name, value in found.items() if name in hints})


@cache
def _hints(kind: type[Any]) -> dict[str, Any]:
    return get_type_hints(kind)


def _value(hint: Any, value: Any) -> Any:
    if value is None:
        return None
    if get_origin(hint) in (Union, types.UnionType):
        hint = next(one for one in get_args(hint) if one is not types.NoneType)
    if get_origin(hint) is tuple:
        return tuple(_value(get_args(hint)[0], each) for each in value)
    if isinstance(hint, type) and is_dataclass(hint):
        return from_json(hint, value)
    return value
