"""Text of a file somebody named: bounded, in an encoding that is known, or one sentence."""

from __future__ import annotations

import codecs
import sys
from pathlib import Path

from aiodocker_lite.errors import InvalidSource

STDIN = "-"
BYTES_MAX = 1 << 20
MANIFEST_BYTES_MAX = 32 << 20
"""Rendered charts with all their definitions are below 10 MiB."""
_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def name_of(path: str) -> str:
    """What messages call it."""
    return "standard input" if path == STDIN else path


def text_of(path: str, bytes_max: int = MANIFEST_BYTES_MAX) -> str:
    """All of it, without a byte order mark. `-` is standard input. Raises InvalidSource."""
    try:
        data = _read(path, bytes_max)
    except (OSError, ValueError) as error:
        raise InvalidSource(name_of(path), getattr(error, "strerror", None) or str(error)) from None
    if len(data) > bytes_max:
        raise InvalidSource(name_of(path), f"is larger than {bytes_max >> 20} MiB")
    # What PowerShell writes with `>` begins so.
    encoding = "utf-16" if data.startswith(_UTF_16) else "utf-8-sig"
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        raise InvalidSource(
            name_of(path), f"is no text: byte {error.start} is not {encoding.removesuffix('-sig').upper()}"
        ) from None
    if "\0" in text:
        raise InvalidSource(name_of(path), "is no text: it has a zero byte")
    return text


def _read(path: str, bytes_max: int) -> bytes:
    if path == STDIN:
        return sys.stdin.buffer.read(bytes_max + 1)
    with Path(path).open("rb") as file:
        return file.read(bytes_max + 1)
