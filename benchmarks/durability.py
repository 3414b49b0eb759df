"""What it costs that a pull survives a power cut: the cold pull of `benchmarks.cold_pull`, with syncs and without.

    python -m benchmarks.durability [--runs 5] [--rootfs FILE.tar]...

As root, each run on a new ext4, in turn. Without syncs means libeatmydata (Debian package `eatmydata`) in
front of the C library, of which a count by strace says that none got through.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.cold_pull import (
    NAME,
    Measured,
    commands,
    fresh_ext4,
    make_layers,
    make_layout,
    measure,
    registry,
)

LIBRARY = "libeatmydata.so"
SYNCS = "fsync,fdatasync,syncfs,sync,msync,sync_file_range"


def ways(command: Sequence[str]) -> dict[str, list[str]]:
    return {"synced": list(command), "unsynced": ["env", f"LD_PRELOAD={LIBRARY}", *command]}


def count_syncs(command: Sequence[str], table: Path) -> int:
    """How many system calls of one pull ask the kernel to sync."""
    words = ["strace", "-f", "--seccomp-bpf", "-e", f"trace={SYNCS}", "-o", str(table), *command]
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
    return sum("(" in line and "resumed" not in line for line in table.read_text().splitlines())


def push(layout: Path, image: str) -> None:
    words = ["skopeo", "copy", "-q", "--dest-tls-verify=false", f"oci:{layout}:latest", f"docker://{image}"]
    subprocess.run(words, check=True)


def report(results: dict[str, list[Measured]]) -> None:
    walls = {way: statistics.median(run.wall for run in runs) for way, runs in results.items()}
    cpus = {way: statistics.median(run.cpu for run in runs) for way, runs in results.items()}
    for way, wall in walls.items():
        print(f"{way:10}{wall:8.2f} s wall{cpus[way]:8.2f} s cpu")
    pairs = zip(results["synced"], results["unsynced"], strict=True)
    paired = statistics.median(synced.wall / unsynced.wall for synced, unsynced in pairs)
    print(f"syncing costs {walls['synced'] / walls['unsynced'] - 1:+.1%} of a pull's time")
    print(f"median of neighbouring runs, for a machine that is not quiet: {paired - 1:+.1%}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--rootfs", type=Path, action="append", help="a tar to use as a layer")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench.", dir=os.environ.get("BENCH_DIR")) as name:
        work = Path(name)
        layout = make_layout(work, arguments.rootfs or make_layers(work))
        with registry(work) as address:
            image = f"{address}/{NAME}:latest"
            push(layout, image)
            shutil.rmtree(layout)
            results: dict[str, list[Measured]] = {}
            for run in range(-1, arguments.runs):
                with fresh_ext4(work) as place:
                    both = ways(commands(place, image)["aiodocker-lite"])
                for way, command in both.items():
                    with fresh_ext4(work):
                        if run < 0:
                            print(f"{way}: {count_syncs(command, work / 'syncs')} syncs", flush=True)
                            continue
                        results.setdefault(way, []).append(measured := measure(command))
                    print(json.dumps({"way": way, **vars(measured)}), flush=True)
        report(results)


if __name__ == "__main__":
    if shutil.which("eatmydata") is None:
        sys.exit("this needs eatmydata: apt-get install eatmydata")
    main()
