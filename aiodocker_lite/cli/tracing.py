"""`--trace` and `--explain`: where the time of a command went."""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
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


@contextmanager
def tracing(file: str | None, *, explained: bool) -> Iterator[None]:
    """Listen to the block, which should be all of the command; then write and explain.

    The trace is written also of a command that fails. Raises InvalidOption, before the block is begun,
    for a file that cannot be written.
    """
    if file is None and not explained:
        yield
        return
    target = None if file is None else Path(file)
    if target is not None:
        _check(target)
    started = _process_started()
    spans: list[Span] = []
    try:
        with listening(spans.append):
            yield
        if explained:
            _explain(_with_start(spans, started), started)
    finally:
        if target is not None:
            _write_trace(target, _with_start(spans, started), started)


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


def _check(file: Path) -> None:
    """Raise InvalidOption for a file that can hardly be written when the command is over."""
    place = file if file.exists() else file.parent
    if file.is_dir() or not os.access(place, os.W_OK):
        reason = (
            "it is a directory"
            if file.is_dir()
            else "there is no such directory, or it is not yours to write"
        )
        raise InvalidOption("--trace", f"'{file}' cannot be written: {reason}")


def _write_trace(file: Path, spans: Sequence[Span], started: float) -> None:
    """Whole or not at all, but for what is no regular file."""
    from aiodocker_lite.trace import chrome_trace

    content = json.dumps(chrome_trace(spans, started, "aiodocker-lite")).encode()
    try:
        if file.exists() and not file.is_file():
            file.write_bytes(content)
            return
        with tempfile.NamedTemporaryFile(dir=file.parent, prefix=f".{file.name}.", delete=False) as temporary:
            try:
                os.fchmod(temporary.fileno(), 0o644)
                temporary.write(content)
                temporary.flush()
                Path(temporary.name).replace(file)
            except BaseException:
                Path(temporary.name).unlink()
                raise
    except OSError as error:
        exits.say(f"the trace {file} cannot be written: {error.strerror}")
