"""The part of Go's templates (text/template) that people use with `--format`.

`{{.Name}}`, `{{.State.Pid}}`, `{{json .}}`, `{{index .Labels "x"}}`, `{{.Label "x"}}`, `join`, `upper`, `lower`,
`title`, `len`, pipes between them, `{{range}}`, `{{if}}` with `{{else}}`, and docker's `table` before it all.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NoReturn

from aiodocker_lite.cli.tables import table
from aiodocker_lite.errors import InvalidOption

Row = Mapping[str, Any]
"""What a template is applied to; a callable takes the word that follows its name."""

_ACTION = re.compile(r"\{\{(-\s)?\s*(.*?)\s*(\s-)?\}\}", re.DOTALL)
_WORD = re.compile(r'"(?:[^"\\]|\\.)*"|`[^`]*`|\||[^\s|]+')
_ESCAPES = {"\\t": "\t", "\\n": "\n"}


def formatted(format: str, rows: Iterable[Row], titles: Mapping[str, str]) -> list[str]:
    """A line for each row: as JSON, by a template, or as a table of one with its titles. Raises InvalidOption."""
    if format == "json":
        return [as_json(row) for row in rows]
    if "{{" not in format:  # docker would print the word itself, and nobody means that
        _refuse(f"'{format}' is neither 'table' nor 'json', and no template such as '{{{{.ID}}}}'")
    text = re.sub(r"\\[tn]", lambda match: _ESCAPES[match[0]], format)
    is_table = text.startswith("table ")
    template = Template(text.removeprefix("table ").lstrip() if is_table else text)
    if not is_table:
        return [template.apply(row) for row in rows]
    head = template.apply({**titles, "Label": lambda name: name})
    cells = [template.apply(row).split("\t") for row in rows]
    width = max(len(line) for line in (head.split("\t"), *cells))
    padded = [line + [""] * (width - len(line)) for line in (head.split("\t"), *cells)]
    return table(padded[0], padded[1:]).split("\n")


def as_json(value: object) -> str:
    """One line, without what can be called."""
    if isinstance(value, Mapping):
        value = {key: found for key, found in value.items() if not callable(found)}
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


class Template:
    """A template that was read; `apply` writes one row."""

    def __init__(self, text: str) -> None:
        """Raises InvalidOption for what is not understood."""
        self._parts = _parts(text)
        self._body, end = self._read(0)
        if end < len(self._parts):
            _refuse(f"there is a '{{{{{self._parts[end]}}}}}' too much")

    def apply(self, row: object) -> str:
        """The text for this row. Raises InvalidOption for a field that it does not have."""
        return "".join(_write(self._body, row, row))

    def _read(self, at: int) -> tuple[list[Any], int]:
        """The parts from here to the end of a block: texts, and tuples of words, or of a block and its two bodies."""
        body: list[Any] = []
        while at < len(self._parts):
            part = self._parts[at]
            if at % 2 == 0:
                body.append(part)
                at += 1
                continue
            words = _WORD.findall(part)
            match words:
                case ["end" | "else"]:
                    return body, at
                case ["range" | "if" as kind, *rest] if rest:
                    then, at = self._read(at + 1)
                    otherwise: list[Any] = []
                    if self._at(at) == "else":
                        otherwise, at = self._read(at + 1)
                    if self._at(at) != "end":
                        _refuse(f"'{{{{{kind}}}}}' has no '{{{{end}}}}'")
                    body.append((kind, rest, then, otherwise))
                case []:
                    _refuse("there is nothing between '{{' and '}}'")
                case _:
                    body.append(words)
            at += 1
        return body, at

    def _at(self, at: int) -> str:
        return self._parts[at] if at < len(self._parts) else ""


def _parts(text: str) -> list[str]:
    """Texts and actions by turns, beginning and ending with a text."""
    parts = [""]
    position, trims = 0, False
    for match in _ACTION.finditer(text):
        before = text[position : match.start()]
        before = before.lstrip() if trims else before
        parts[-1] = before.rstrip() if match[1] else before
        parts += [match[2], ""]
        position, trims = match.end(), bool(match[3])
    rest = text[position:]
    if "{{" in rest:
        _refuse("a '{{' has no '}}'")
    parts[-1] = rest.lstrip() if trims else rest
    return parts


def _write(body: Sequence[Any], dot: object, root: object) -> Iterator[str]:
    for part in body:
        match part:
            case str():
                yield part
            case ("if", words, then, otherwise):
                yield from _write(then if _evaluate(words, dot, root) else otherwise, dot, root)
            case ("range", words, then, otherwise):
                found = _evaluate(words, dot, root) or ()
                items = [found[key] for key in sorted(found)] if isinstance(found, Mapping) else list(found)
                for item in items:
                    yield from _write(then, item, root)
                if not items:
                    yield from _write(otherwise, dot, root)
            case words:
                yield _shown(_evaluate(words, dot, root))


def _evaluate(words: Sequence[str], dot: object, root: object) -> Any:
    """A pipeline: each command gets what the one before it gave as its last argument."""
    given: list[Any] = []
    command: list[str] = []
    for word in (*words, "|"):
        if word != "|":
            command.append(word)
            continue
        if not command:
            _refuse("a pipe has an empty end")
        given = [_call(command, given, dot, root)]
        command = []
    return given[0]


def _call(command: Sequence[str], given: Sequence[Any], dot: object, root: object) -> Any:
    name, *rest = command
    arguments = [*(_operand(word, dot, root) for word in rest), *given]
    if name in _FUNCTIONS:
        try:
            return _FUNCTIONS[name](*arguments)
        except (TypeError, LookupError, ValueError, AttributeError):
            _refuse(f"'{name}' cannot be applied to this")
    value = _operand(name, dot, root)
    if callable(value) and len(arguments) == 1:
        return value(arguments[0])
    if arguments or callable(value):
        _refuse(f"'{name}' is no function")
    return value


def _operand(word: str, dot: object, root: object) -> Any:
    if word[0] in '"`':
        return json.loads(word) if word[0] == '"' else word[1:-1]
    if word.lstrip("-").isdigit():
        return int(word)
    if word.startswith("$."):
        dot, word = root, word[1:]
    if not word.startswith("."):
        _refuse(f"there is no function '{word}'")
    value: Any = dot
    for name in word.split(".")[1:] if word != "." else ():
        if value is None:  # what is not there has no parts
            return None
        if not isinstance(value, Mapping):
            _refuse(f"there is no field '{word}'")
        if name not in value:
            if value is dot:
                _refuse(f"there is no field '{word}'")
            return None
        value = value[name]
    return value


def _shown(value: object) -> str:
    match value:
        case None:
            return "<no value>"
        case bool():
            return str(value).lower()
        case str():
            return value
        case Mapping():
            return f"map[{' '.join(f'{key}:{_shown(value[key])}' for key in sorted(value))}]"
        case list() | tuple():
            return f"[{' '.join(map(_shown, value))}]"
        case _:
            return str(value)


def _index(value: Any, *keys: Any) -> Any:
    for key in keys:
        value = value.get(key, "") if isinstance(value, Mapping) else value[key]
    return value


def _refuse(reason: str) -> NoReturn:
    raise InvalidOption("--format", reason)


_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "json": as_json,
    "index": _index,
    "join": lambda value, gap: gap.join(value),
    "upper": lambda value: value.upper(),
    "lower": lambda value: value.lower(),
    "title": lambda value: value.title(),
    "len": len,
    "println": lambda *values: " ".join(map(_shown, values)) + "\n",
}
