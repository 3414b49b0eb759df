"""`--trace` and `--explain`: where the time of a command went."""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated

import typer

from aiodocker_lite.cli import exits
from aiodocker_lite.errors import InvalidOption, printable
from aiodocker_lite.spans import Span, listening

Trace = Annotated[
    str | None,
    typer.Option(
        "--trace", metavar="FILE", help="Write what took how long, for ui.perfetto.dev or chrome://tracing."
    ),
]
Explain = Annotated[bool, typer.Option("--explain", help="Say what bounded it, and what would help.")]

Write = Callable[[bytes], None]


@contextmanager
def tracing(file: str | None, *, explained: bool) -> Iterator[None]:
    """Listen to the block, which should be all of the command; then write and explain.

    The trace is written also of a command that fails. Raises InvalidOption, before the block is begun,
    for a file that cannot be written.
    """
    if file is None and not explained:
        yield
        return
    write = _target(file) if file is not None else None
    started = _process_started()
    spans: list[Span] = []
    try:
        with listening(spans.append):
            yield
        if explained:
            _explain(_with_start(spans, started), started)
    finally:
        if write is not None:
            _write_trace(write, _with_start(spans, started), started, str(file))


def _process_started() -> float:
    """When this process began, by the monotonic clock; Linux counts that in ticks (proc(5), `starttime`)."""
    fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    age = time.clock_gettime(time.CLOCK_BOOTTIME) - int(fields[19]) / os.sysconf("SC_CLK_TCK")
    return time.monotonic() - age


def _with_start(spans: Sequence[Span], started: float) -> list[Span]:
    """All spans, and that everything before the first is imports and the like."""
    first = min((span.begin for span in spans), default=time.monotonic())
    return [Span("start-up", "", started, first, {}), *spans]


def _explain(spans: Sequence[Span], started: float) -> None:
    from aiodocker_lite.trace import explain, sentences

    used = os.times()
    cpu = used.user + used.system + used.children_user + used.children_system
    cores = len(os.sched_getaffinity(0))
    found = explain(spans, started, time.monotonic(), cpu=cpu, cores=cores)
    for line in sentences(found):
        print(printable(line), file=sys.stderr)  # noqa: T201


def _target(file: str) -> Write:
    """How to write the file: whole or not at all, but for what is no regular file."""
    path = Path(file)
    try:
        if path.exists() and not path.is_file():
            opened = path.open("wb", buffering=0)

            def write_through(content: bytes) -> None:
                with opened:
                    opened.write(content)

            return write_through
        fd, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    except OSError as error:
        raise InvalidOption("--trace", f"'{file}' cannot be written: {error.strerror}") from error

    def replace(content: bytes) -> None:
        try:
            with os.fdopen(fd, "wb") as opened:
                os.fchmod(fd, 0o644)
                opened.write(content)
            Path(temporary).replace(path)
        finally:
            with suppress(FileNotFoundError):
                Path(temporary).unlink()

    return replace


def _write_trace(write: Write, spans: Sequence[Span], started: float, file: str) -> None:
    from aiodocker_lite.trace import chrome_trace

    try:
        write(json.dumps(chrome_trace(spans, started, "aiodocker-lite")).encode())
    except OSError as error:
        exits.say(f"the trace {file} cannot be written: {error.strerror}")
