"""What confinement and limits cost: a layer of 30,000 entries with them, and without.

    python -m benchmarks.confinement [--runs 11] [--on tmpfs]

As root. With them is the real worker, without them that of `unconfined`. Each run has a new file system, and the two take turns: a new ext4 on a loop device, for
creating files where many were just deleted is slow on ext4, or a new tmpfs, which costs least by
itself, so that what we add shows most.
"""

from __future__ import annotations

import argparse
import gzip
import io
import json
import os
import random
import resource
import statistics
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import anyio

from aiodocker_lite import syscalls
from aiodocker_lite.digest import Digest
from aiodocker_lite.layer import pool
from aiodocker_lite.layer.pool import Job, Unpackers
from aiodocker_lite.settings import Limits
from benchmarks.cold_pull import fresh_ext4

ENTRIES = 30_000
_SEED = 1


# --- the layer ---------------------------------------------------------------------------------


def make_layer() -> bytes:
    """A tree as npm makes it: packages in packages, a dozen small files to a directory; always the same."""
    chance = random.Random(_SEED)
    # Text of any kind, as compressible as source is.
    words = [f"{chance.choice(('const', 'return', 'export', 'if'))} n{n};\n".encode() for n in range(4000)]
    text = b"".join(chance.choices(words, k=1 << 16))
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, is_directory in islice(_names(chance), ENTRIES):
            member = tarfile.TarInfo(name)
            member.mtime = 1_600_000_000
            if is_directory:
                member.type, member.mode = tarfile.DIRTYPE, 0o755
                archive.addfile(member)
            else:
                member.size = min(int(chance.lognormvariate(7, 1.4)), len(text))
                start = chance.randrange(len(text) - member.size + 1)
                archive.addfile(member, io.BytesIO(text[start : start + member.size]))
    return out.getvalue()


def _names(chance: random.Random) -> Iterator[tuple[str, bool]]:
    """Paths in the order in which a walk finds them, each after its parent, and whether it is a directory."""
    named: set[str] = set()
    inside = ["app/node_modules"]
    package = 0
    while True:
        top = f"{chance.choice(inside)}/package-{package}"
        package += 1
        if chance.random() < 0.05:
            inside.append(f"{top}/node_modules")
        for directory in (top, f"{top}/lib", f"{top}/dist/cjs", f"{top}/dist/esm"):
            if directory != top and chance.random() < 0.3:
                continue
            parts = directory.split("/")
            paths = [("/".join(parts[:n]), True) for n in range(1, len(parts) + 1)]
            paths += [(f"{directory}/module-{n}.js", False) for n in range(chance.randrange(2, 20))]
            for path, is_directory in paths:
                if path not in named:
                    named.add(path)
                    yield path, is_directory


# --- measuring ---------------------------------------------------------------------------------

_CONFINED_START = pool._START
_UNCONFINED_START = _CONFINED_START.replace("aiodocker_lite.layer.worker", "benchmarks.unconfined")


@dataclass(frozen=True)
class Measured:
    """Seconds of wall time, and of processor time of the worker and its copy."""

    wall: float
    cpu: float


@contextmanager
def fresh_tmpfs(work: Path) -> Iterator[Path]:
    place = work / "memory"
    place.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4g,nr_inodes=200k", "bench", place], check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", place], check=True)


async def _unpack(job: Job) -> None:
    async def all_of_it(have: int) -> int:
        return job.size

    async with Unpackers(1) as unpackers:
        done = await unpackers.unpack(job, all_of_it, lambda consumed: None)
    assert done.entries == ENTRIES


def measure(job: Job, start: str) -> Measured:
    """From the start of a worker to its end."""
    pool._START = start
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    anyio.run(_unpack, job)
    wall = time.perf_counter() - began
    # The worker's copy may outlive it by a moment, and is ours then.
    with suppress(ChildProcessError):
        while True:
            os.wait()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return Measured(wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


def compare(
    blob: Path, diff_id: Digest, runs: int, fresh: Callable[[], AbstractContextManager[Path]]
) -> dict[str, list[Measured]]:
    found: dict[str, list[Measured]] = {"with": [], "without": []}
    digest, size = Digest.of(blob.read_bytes()), blob.stat().st_size
    starts = {"with": _CONFINED_START, "without": _UNCONFINED_START}
    for run in range(runs):
        # Who comes first changes, too.
        for which in sorted(found, reverse=run % 2 == 1):
            with fresh() as place:
                root = place / "root"
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


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=11)
    parser.add_argument("--on", choices=("ext4", "tmpfs"), default="ext4")
    parser.add_argument("--plain", action="store_true", help="the layer is not compressed")
    arguments = parser.parse_args()
    syscalls.prctl(syscalls.PR_SET_CHILD_SUBREAPER, 1)
    with tempfile.TemporaryDirectory(prefix="bench.", dir=os.environ.get("BENCH_DIR")) as name:
        work, layer = Path(name), make_layer()
        blob = work / "blob"
        blob.write_bytes(layer if arguments.plain else gzip.compress(layer, 6, mtime=0))
        print(f"{ENTRIES} entries, {len(layer) >> 20} MB, {blob.stat().st_size >> 20} MB as they come")
        fresh = fresh_ext4 if arguments.on == "ext4" else fresh_tmpfs
        report(compare(blob, Digest.of(layer), arguments.runs, lambda: fresh(work)))


if __name__ == "__main__":
    main()
