"""Pull under every schedule of faults that is written down, and under random ones; print the counts.

Each is a real pull from a registry of faults into a new store, judged by its ending, by every byte that was asked for,
and by the store that is left; then another pull in peace. A finding is printed with its name, and
`--seed N --random 1` plays `random N` again. Ends with 1 if something was found.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import anyio

from tests.cases.fault_cases import Schedule
from tests.cases.fault_schedules import random_one, scripted
from tests.cases.faults import play


def play_alone(schedule: Schedule) -> list[str]:
    """In a process and an event loop of its own; whatever is raised is a finding."""
    with tempfile.TemporaryDirectory(prefix="faults.") as directory:
        try:
            return anyio.run(play, schedule, Path(directory))
        except Exception as error:
            return [f"{type(error).__name__}: {error}"]


def play_all(title: str, schedules: Sequence[Schedule], jobs: int) -> int:
    """How many did not end as they must."""
    found = 0
    with ProcessPoolExecutor(jobs) as pool:
        for schedule, wrong in zip(schedules, pool.map(play_alone, schedules), strict=True):
            if wrong:
                found += 1
                print(f"{schedule.name}: {'; '.join(wrong)}", flush=True)
    ends = Counter(schedule.ending or "an image" for schedule in schedules)
    print(f"{len(schedules)} {title}, {found} findings; the endings:", flush=True)
    print("    " + ", ".join(f"{count} {end}" for end, count in ends.most_common()), flush=True)
    return found


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m scripts.faults",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--scripted", action="store_true", help="only those that are written down")
    parser.add_argument("--named", metavar="NAME", help="of those that are written down the ones called so")
    parser.add_argument(
        "--random", type=int, metavar="N", help="only so many random ones (2000 with the others)"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the first random one")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="so many at once")
    chosen = parser.parse_args()
    found = 0
    if chosen.random is None:
        written = [each for each in scripted() if (chosen.named or "") in each.name]
        found += play_all("scripted schedules", written, chosen.jobs)
    if not (chosen.scripted or chosen.named):
        count = 2000 if chosen.random is None else chosen.random
        seeds = range(chosen.seed, chosen.seed + count)
        found += play_all("random schedules", [random_one(seed) for seed in seeds], chosen.jobs)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
