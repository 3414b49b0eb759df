"""What a detached container wrote: log.jsonl, in the lines of docker's json-file driver.

    {"log":"hello\\n","stream":"stdout","time":"2026-01-31T12:00:00.123456789Z"}

A line of output is one entry, and one without end is several. Bytes that are no UTF-8 are kept as lone
surrogates, which others read as U+FFFD, as docker writes them.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from io import BytesIO
from itertools import groupby
from pathlib import Path
from types import TracebackType
from typing import Literal, Self, TypeAlias

from aiodocker_lite.store.durable import reading_errors, store_errors

StreamName: TypeAlias = Literal["stdout", "stderr"]

_LOG = "log.jsonl"
_LINE_MAX = 16 << 10  # docker's
_BLOCK = 1 << 18
_HEAD, _TAIL = b'{"log":', b',"stream":'
"""How an entry begins, and what follows its text, in which quotation marks are escaped."""


@dataclass(frozen=True, slots=True)
class LogLines:
    """Lines of output that came at the same moment, each with its end; a long one in pieces, all but the last without."""

    stream: StreamName
    time: str
    """In UTC, ISO 8601 with nine digits: as text, the earlier one is the lesser."""
    lines: Sequence[bytes]


def log_path(container: Path) -> Path:
    """The log of the container in this directory; of one that was never detached, there is none."""
    return container / _LOG


def timestamp(nanoseconds: int) -> str:
    """A moment as log.jsonl has it."""
    seconds, rest = divmod(nanoseconds, 1_000_000_000)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{rest:09}Z"


class LogWriter(AbstractContextManager["LogWriter"]):
    """Appends to the log of a container; entries are whole as long as the disk has room."""

    def __init__(self, container: Path) -> None:
        path = log_path(container)
        with store_errors(path):
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        size = os.fstat(self._fd).st_size
        self._is_torn = size > 0 and os.pread(self._fd, 1, size - 1) != b"\n"
        self._rest: dict[StreamName, bytes] = {"stdout": b"", "stderr": b""}
        self.refusal = ""
        """Why some of the output could not be kept, if so."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._fd)

    def write(self, stream: StreamName, data: bytes) -> None:
        """Keep the lines that have ended; the rest waits for its end."""
        lines = BytesIO(self._rest[stream] + data).readlines()
        rest = b"" if not lines or lines[-1].endswith(b"\n") else lines.pop()
        whole = len(rest) - len(rest) % _LINE_MAX
        if whole:
            lines.append(rest[:whole])
        self._rest[stream] = rest[whole:]
        if max(map(len, lines), default=0) > _LINE_MAX:
            lines = [piece for line in lines for piece in _pieces(line)]
        self._append(stream, lines)

    def finish(self, stream: StreamName) -> None:
        """Keep a last line that has no end."""
        rest, self._rest[stream] = self._rest[stream], b""
        self._append(stream, [rest] if rest else [])

    def _append(self, stream: StreamName, pieces: list[bytes]) -> None:
        if not pieces:
            return
        # One document for all of them, in which what is between two texts is what is between two entries.
        tail = f',"stream":"{stream}","time":"{timestamp(time.time_ns())}"}}\n'
        head = _HEAD.decode()
        texts = [piece.decode(errors="surrogateescape") for piece in pieces]
        document = json.dumps(texts, separators=(tail + head, ":"))
        entries = f"{head}{document[1:-1]}{tail}".encode()
        try:
            content = b"\n" + entries if self._is_torn else entries
            self._is_torn = os.write(self._fd, content) < len(content)
        except OSError as error:
            # The container goes on: what it says is less than what it does.
            self.refusal = error.strerror or str(error)


def _pieces(line: bytes) -> Iterator[bytes]:
    for start in range(0, len(line), _LINE_MAX):
        yield line[start : start + _LINE_MAX]


class LogReader(AbstractContextManager["LogReader"]):
    """Reads the log of a container, and what is added to it."""

    def __init__(self, container: Path) -> None:
        path = log_path(container)
        with reading_errors(path):
            self._file = path.open("rb")
        self._rest = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def skip_to_last(self, count: int) -> None:
        """Go to where the last so many entries begin; with 0, to the end."""
        position = self._file.seek(0, os.SEEK_END)
        missing = count + 1  # one more newline than entries: the one before the first
        while position > 0:
            begin = max(0, position - _BLOCK)
            block = os.pread(self._file.fileno(), position - begin, begin)
            found = block.count(b"\n")
            if found >= missing:
                self._file.seek(begin + len(block.rsplit(b"\n", missing)[0]) + 1)
                return
            position, missing = begin, missing - found
        self._file.seek(0)

    def read(self) -> list[LogLines] | None:
        """A part of what is there and was not read yet; None at its end.

        What was torn when the power failed, or no room was left, is not among it.
        """
        block = self._file.read(_BLOCK)
        if not block:
            return None
        *entries, self._rest = (self._rest + block).split(b"\n")
        return [
            LogLines(*moment, lines)
            for tail, group in groupby(entries, _tail)
            if (moment := _moment(tail)) and (lines := _texts(list(group), len(tail)))
        ]


def _tail(entry: bytes) -> bytes:
    """All that follows the text: the same in entries of one moment."""
    return entry[entry.rfind(_TAIL) :]


def _moment(tail: bytes) -> tuple[StreamName, str] | None:
    try:
        found = json.loads(b"{" + tail[1:])
        return "stderr" if found["stream"] == "stderr" else "stdout", str(found["time"])
    except (ValueError, KeyError, TypeError):
        return None


def _texts(entries: list[bytes], tail: int) -> list[bytes]:
    """The texts of entries with the same tail, read as one document; where one is damaged, without that one."""
    document = b",".join([entry[len(_HEAD) : -tail] for entry in entries])
    try:
        return [text.encode(errors="surrogateescape") for text in json.loads(b"[%b]" % document)]
    except (ValueError, AttributeError):
        return [] if len(entries) == 1 else [text for entry in entries for text in _texts([entry], tail)]
