"""What confinement and limits cost: a layer of 30,000 entries with them, and without.

    python -m benchmarks confinement [--runs 11] [--on tmpfs]

As root. With them is the real worker, without them that of `unconfined`. Each run has a new file
system, ext4 or tmpfs, and the two take turns.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import resource
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from pathlib import Path

import anyio

from aiodocker_lite import syscalls
from aiodocker_lite.digest import Digest
from aiodocker_lite.layer import pool
from aiodocker_lite.layer.pool import Job, Unpackers
from aiodocker_lite.settings import Limits
from benchmarks.filesystem import Disk, fresh_ext4, fresh_tmpfs
from benchmarks.images import SMALL_FILES, small_files
from benchmarks.interrupts import interruptible
from benchmarks.options import Parser, count

_CONFINED_START = pool._START
_UNCONFINED_START = _CONFINED_START.replace("aiodocker_lite.layer.worker", "benchmarks.unconfined")


@dataclass(frozen=True)
class Measured:
    """Seconds of wall time, and of processor time of the worker and its copy."""

    wall: float
    cpu: float


async def _unpack(job: Job) -> None:
    async def all_of_it(have: int) -> int:
        return job.size

    async with Unpackers(1) as unpackers:
        done = await unpackers.unpack(job, all_of_it, lambda consumed: None)
    assert done.entries == SMALL_FILES


def measure(job: Job, start: str) -> Measured:
    """From the start of a worker to its end."""
    pool._START = start
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    with interruptible():
        anyio.run(_unpack, job)
    wall = time.perf_counter() - began
    # The worker's copy may outlive it by a moment, and is ours then.
    with suppress(ChildProcessError):
        while True:
            os.wait()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return Measured(wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


def compare(
    blob: Path, diff_id: Digest, runs: int, fresh: Callable[[], AbstractContextManager[Disk]]
) -> dict[str, list[Measured]]:
    found: dict[str, list[Measured]] = {"with": [], "without": []}
    digest, size = Digest.of(blob.read_bytes()), blob.stat().st_size
    starts = {"with": _CONFINED_START, "without": _UNCONFINED_START}
    for run in range(runs):
        # Who comes first changes, too.
        for which in sorted(found, reverse=run % 2 == 1):
            with fresh() as disk:
                root = disk.path / "root"
                root.mkdir()
                job = Job(blob, digest, size, diff_id, root, Limits(), privileged=True)
                measured = measure(job, starts[which])
            found[which].append(measured)
            print(json.dumps({"run": run, "which": which, **vars(measured)}), flush=True)
    return found


def report(found: dict[str, list[Measured]]) -> None:
    """The median and the least of each: where others use the machine, the least is nearer to the truth."""
    for name, pick in (("median", statistics.median), ("least", min)):
        print(f"\n{name:24}{'wall s':>8}{'cpu s':>8}")
        picked = {
            which: [pick([vars(run)[figure] for run in runs]) for figure in ("wall", "cpu")]
            for which, runs in found.items()
        }
        for which, (wall, cpu) in picked.items():
            print(f"{which + ' walls and limits':24}{wall:8.2f}{cpu:8.2f}")
        more = [100 * ours / bare - 100 for ours, bare in zip(*picked.values(), strict=True)]
        print(f"{'they cost':24}{more[0]:+7.1f}%{more[1]:+7.1f}%")


def main(words: Sequence[str]) -> None:
    parser = Parser(
        prog="python -m benchmarks confinement",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--runs", type=count, default=11)
    parser.add_argument("--on", choices=("ext4", "tmpfs"), default="ext4")
    parser.add_argument("--plain", action="store_true", help="the layer is not compressed")
    arguments = parser.parse_args(words)
    syscalls.prctl(syscalls.PR_SET_CHILD_SUBREAPER, 1)
    with tempfile.TemporaryDirectory(prefix="bench.", dir=os.environ.get("BENCH_DIR")) as name:
        work = Path(name)
        with interruptible():
            layer = small_files(work)[0].read_bytes()
        blob = work / "blob"
        blob.write_bytes(layer if arguments.plain else gzip.compress(layer, 6, mtime=0))
        print(f"{SMALL_FILES} entries, {len(layer) >> 20} MB, {blob.stat().st_size >> 20} MB as they come")
        fresh = fresh_ext4 if arguments.on == "ext4" else fresh_tmpfs
        report(compare(blob, Digest.of(layer), arguments.runs, lambda: fresh(work)))
