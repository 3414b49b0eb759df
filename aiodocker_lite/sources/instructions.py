"""The instructions of a Dockerfile: directives, comments, continued lines and here-documents taken away.

Dockerfile reference: Parser directives, Format, and Here-Documents; where it is silent, BuildKit's parser.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from aiodocker_lite.errors import InvalidSource

_DIRECTIVE = re.compile(r"#\s*(?P<name>[A-Za-z][A-Za-z0-9]*)\s*=\s*(?P<value>\S.*)")
_DIRECTIVES = {"syntax", "check", "escape"}
_WITH_DOCUMENTS = {"RUN", "COPY", "ADD"}
_DOCUMENT = re.compile(r"[0-9]*<<(?P<chomp>-?)(?P<name>[^<]+)")


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction: its first line, its word in upper case, its flags, and the words behind them as written."""

    line: int
    word: str
    flags: tuple[str, ...]
    words: tuple[str, ...]


def instructions(text: str, file: str) -> tuple[str, Iterator[Instruction]]:
    """The escape character, and the instructions. Raises InvalidSource."""
    lines = [line.removesuffix("\r") for line in text.split("\n")]
    escape = _escape(lines, file)
    return escape, _instructions(lines, escape, file)


def _escape(lines: list[str], file: str) -> str:
    escape = "\\"
    for number, line in enumerate(lines, 1):
        found = _DIRECTIVE.fullmatch(line)
        if not found or found["name"].lower() not in _DIRECTIVES:
            break
        if found["name"].lower() == "escape":
            escape = found["value"].rstrip()
            if escape not in ("\\", "`"):
                raise InvalidSource(f"{file}: line {number}", f"the escape '{escape}' is neither \\ nor `")
    return escape


def _instructions(lines: list[str], escape: str, file: str) -> Iterator[Instruction]:
    continued = re.compile(rf"(?:(?<=[^{re.escape(escape)}])|^){re.escape(escape)}[ \t]*$")
    parts: list[str] = []
    start = 0
    numbered = enumerate([*lines, ""], 1)
    for number, line in numbered:
        last = number > len(lines)
        if not last and (line.lstrip().startswith("#") or not line.strip()):
            continue
        start = start if parts else number
        whole = continued.sub("", line)
        parts.append(whole)
        if (whole != line and not last) or not (words := split("".join(parts), escape)):
            continue
        parts = []
        yield (instruction := _instruction(words, start))
        for ending, chomp in _documents(instruction):
            if not any((body.lstrip("\t") if chomp else body) == ending for _, body in numbered):
                raise InvalidSource(f"{file}: line {start}", f"the here-document does not end with {ending}")


def _instruction(words: list[str], start: int) -> Instruction:
    word, *rest = words
    flags = next((at for at, one in enumerate(rest) if not one.startswith("--")), len(rest))
    return Instruction(start, word.upper(), tuple(rest[:flags]), tuple(rest[flags:]))


def _documents(instruction: Instruction) -> list[tuple[str, bool]]:
    """The endings of the here-documents that follow, and whether tabs before an ending count for nothing."""
    words = instruction.words
    word = instruction.word
    if word == "ONBUILD" and words:
        word, words = words[0].upper(), words[1:]
    if word not in _WITH_DOCUMENTS:
        return []
    found = [_DOCUMENT.fullmatch(one) for one in words if "<<" in one]
    return [(re.sub("[\"']", "", one["name"]), bool(one["chomp"])) for one in found if one]


def split(text: str, escape: str) -> list[str]:
    """Words as written: spaces inside of quotes, and escaped ones, do not end one."""
    pattern = (
        rf"""(?:{re.escape(escape)}.|"(?:{re.escape(escape)}.|[^"{re.escape(escape)}])*"|'[^']*'|[^\s])+"""
    )
    return re.findall(pattern, text, re.DOTALL)
