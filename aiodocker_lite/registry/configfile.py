"""Configuration files of other tools, TOML or JSON: read whole, and asked for values of one kind."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, TypeVar

from aiodocker_lite.errors import UnusableConfig

T = TypeVar("T")


class Section:
    """A table of a file, and where it is, for the sentence about what is wrong in it."""

    def __init__(self, path: Path, table: dict[str, Any], place: str = "") -> None:
        self.path = path
        self.keys = table.keys()
        self._table = table
        self._place = place

    def value(self, key: str, kind: type[T], default: T) -> T:
        """A value of one kind. Raises UnusableConfig where it is of another."""
        value = self._table.get(key, default)
        if not isinstance(value, kind):
            raise self.wrong(key, f"is not a {_KINDS[kind]}")
        return value

    def raw(self, key: str) -> Any:
        """A value of whatever kind; an empty list where there is none."""
        return self._table.get(key, [])

    def texts(self, key: str) -> list[str]:
        """A list of strings, or a single one."""
        value = self.raw(key)
        values = [value] if isinstance(value, str) else value
        if not isinstance(values, list) or not all(isinstance(each, str) for each in values):
            raise self.wrong(key, "is not a string or a list of strings")
        return values

    def sections(self, key: str) -> list[Section]:
        """An array of tables."""
        tables = self.value(key, list, [])
        if not all(isinstance(table, dict) for table in tables):
            raise self.wrong(key, "is not an array of tables")
        return [
            Section(self.path, table, f"{self._place}{key} {number}: ")
            for number, table in enumerate(tables, 1)
        ]

    def section(self, key: str) -> Section:
        """A table, empty where there is none."""
        return Section(self.path, self.value(key, dict, {}), f"{self._place}{key}: ")

    def wrong(self, key: str, what: str) -> UnusableConfig:
        """The error for a value that makes no sense."""
        return UnusableConfig(str(self.path), f"{self._place}'{key}' {what}")


_KINDS: dict[type, str] = {str: "string", bool: "truth value", list: "list", dict: "table"}


def read_config(path: Path) -> Section | None:
    """The whole of a TOML or JSON file, or None where there is none. Raises UnusableConfig."""
    try:
        if path.exists() and not path.is_file():
            raise UnusableConfig(str(path), "it is not a file")  # a pipe would be waited for
        text = path.read_bytes().decode()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise UnusableConfig(str(path), f"it cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UnusableConfig(str(path), "it is not UTF-8") from error
    return Section(path, _json(path, text) if path.suffix == ".json" else _toml(path, text))


def _toml(path: Path, text: str) -> dict[str, Any]:
    # Where nobody has such a file, nobody pays for its parser.
    import tomllib

    try:
        return tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        # The parser says the line and the column.
        raise UnusableConfig(str(path), f"it is not TOML: {error}") from error


def _json(path: Path, text: str) -> dict[str, Any]:
    try:
        document = json.loads(text or "{}")
    except (json.JSONDecodeError, RecursionError) as error:
        raise UnusableConfig(str(path), f"it is not JSON: {error}") from error
    if not isinstance(document, dict):
        raise UnusableConfig(str(path), "it is not a JSON object")
    return document
