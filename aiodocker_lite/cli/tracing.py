"""`--trace` and `--explain`: where the time of a command went."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated

import typer

from aiodocker_lite.cli.options import check_writable, unwritable
from aiodocker_lite.errors import printable
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
        check_writable("--trace", target)
    started = _process_started()
    spans: list[Span] = []
    try:
        with listening(spans.append):
            yield
    except BaseException:
        if target is not None:
            with suppress(OSError):
                _write_trace(target, _with_start(spans, started), started)
        raise
    if target is not None:
        try:
            _write_trace(target, _with_start(spans, started), started)
        except OSError as error:
            raise unwritable("--trace", target, error.strerror) from error
    if explained:
        _explain(_with_start(spans, started), started)


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

    found = explain(spans, started, time.monotonic(), cpu=_cpu_seconds(), cores=_cores())
    with suppress(OSError):  # nobody listens any more, and the image is there all the same
        for line in sentences(found):
            print(printable(line), file=sys.stderr)  # noqa: T201


def _cpu_seconds() -> float:
    """Of this process and of all that it has waited for."""
    used = os.times()
    return used.user + used.system + used.children_user + used.children_system


def _cores() -> int:
    return len(os.sched_getaffinity(0))


def _write_trace(file: Path, spans: Sequence[Span], started: float) -> None:
    """In the place of what is there: it may be a pipe, or a link such as /dev/stdout. Raises OSError."""
    from aiodocker_lite.trace import chrome_trace, limit_of

    limit = limit_of(spans, cpu=_cpu_seconds(), cores=_cores())
    file.write_text(json.dumps(chrome_trace(spans, started, "aiodocker-lite", limit)))
