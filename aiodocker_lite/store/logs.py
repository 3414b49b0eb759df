"""What a detached container wrote: log.jsonl, in the lines of docker's json-file driver.

    {"log":"hello\\n","stream":"stdout","time":"2026-01-31T12:00:00.123456789Z"}

A line of output is one entry, and one without end is several. Bytes that are no UTF-8 are kept as lone
surrogates, which others read as U+FFFD, as docker writes them.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Literal, Self, TypeAlias

from aiodocker_lite.store.durable import reading_errors, store_errors

StreamName: TypeAlias = Literal["stdout", "stderr"]

_LOG = "log.jsonl"
_LINE_MAX = 16 << 10  # docker's
_BLOCK = 1 << 16


@dataclass(frozen=True, slots=True)
class LogLine:
    """A line of output, with its end; or the beginning of a long one, without."""

    stream: StreamName
    time: str
    """In UTC, ISO 8601 with nine digits: as text, the earlier one is the lesser."""
    data: bytes


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
        *lines, rest = (self._rest[stream] + data).split(b"\n")
        pieces = [piece for line in lines for piece in _pieces(line + b"\n")]
        while len(rest) >= _LINE_MAX:
            pieces.append(rest[:_LINE_MAX])
            rest = rest[_LINE_MAX:]
        self._rest[stream] = rest
        self._append(stream, pieces)

    def finish(self, stream: StreamName) -> None:
        """Keep a last line that has no end."""
        rest, self._rest[stream] = self._rest[stream], b""
        self._append(stream, [rest] if rest else [])

    def _append(self, stream: StreamName, pieces: list[bytes]) -> None:
        if not pieces:
            return
        now = timestamp(time.time_ns())
        entries = "".join(
            json.dumps(
                {"log": piece.decode(errors="surrogateescape"), "stream": stream, "time": now},
                separators=(",", ":"),
            )
            + "\n"
            for piece in pieces
        ).encode()
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
        end = self._file.seek(0, os.SEEK_END)
        position, found = end, b""
        # One more newline than entries: the one before the first.
        while position > 0 and found.count(b"\n") <= count:
            position = max(0, position - _BLOCK)
            found = os.pread(self._file.fileno(), end - position, position)
        entries = found.splitlines(keepends=True)
        last = b"".join(entries[len(entries) - min(count, len(entries)) :])
        self._file.seek(end - len(last))

    def lines(self) -> Iterator[LogLine]:
        """What is there and was not read yet. What was torn when the power failed, or no room was left, is not."""
        while block := self._file.read(_BLOCK):
            *entries, self._rest = (self._rest + block).split(b"\n")
            for entry in entries:
                line = _parse(entry)
                if line is not None:
                    yield line


def _parse(entry: bytes) -> LogLine | None:
    try:
        found = json.loads(entry)
        stream: StreamName = "stderr" if found["stream"] == "stderr" else "stdout"
        return LogLine(stream, str(found["time"]), found["log"].encode(errors="surrogateescape"))
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
