"""Run many containers from one process through the library, and count what is left of them; print the counts.

So many in a row, so many at once, and so many detached. Each runs something that outlives its command, writes,
and ends with a code of its own; volumes, networks and, where they can be had, limits are among them. Ends with 1
if a code or an output was wrong, or anything is left: a process, a descriptor, a mount, a control group, a network
namespace, a file or a lock.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import anyio

from tests.cases.many_runs import ManyRuns, many_runs


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m scripts.runs",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--in-a-row", type=int, default=1000, help="%(default)s if not given")
    parser.add_argument("--at-once", type=int, default=100, help="%(default)s if not given")
    parser.add_argument("--detached", type=int, default=200, help="%(default)s if not given")
    parser.add_argument("--detached-at-once", type=int, default=50, help="%(default)s if not given")
    parser.add_argument("--runtime", default="native", help="crun, runc or youki; %(default)s if not given")
    return anyio.run(_play, parser.parse_args())


async def _play(chosen: argparse.Namespace) -> int:
    with tempfile.TemporaryDirectory(prefix="runs.") as place:
        async with many_runs(Path(place), chosen.runtime) as runs:
            before = runs.left()
            await _timed("in a row", runs, runs.in_a_row, chosen.in_a_row)
            await _timed("at once", runs, runs.at_once, chosen.at_once)
            await _timed("detached", runs, runs.detached, chosen.detached, chosen.detached_at_once)
            left = runs.left().beyond(before)
    for finding in runs.findings:
        print(finding)
    for kind, things in left.items():
        print(f"{len(things)} {kind} left", *things[:10], sep="\n    ")
    print(f"limits by control groups: {'on every second run' if runs.limits else 'none here'}")
    print(f"{runs.ended} runs, {len(runs.findings)} findings, {sum(map(len, left.values()))} things left")
    return 1 if runs.findings or any(left.values()) else 0


async def _timed(what: str, runs: ManyRuns, play: Callable[..., Awaitable[None]], *counts: int) -> None:
    began, found = time.monotonic(), len(runs.findings)
    await play(*counts)
    took = time.monotonic() - began
    print(f"{counts[0]} {what}: {took:.1f} s, {len(runs.findings) - found} findings", flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
