"""A pull under every schedule of faults that is written down, and under random ones; prints the counts.

    .venv/bin/python -m scripts.faults [--scripted] [--random 2000] [--seed 0] [--at-once 4]

Each is a pull from a registry of faults into a new store, and another in peace. A finding is printed with its name;
`--random 1 --seed N` is `random-N` again. Ends with 1 if something was found.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import Counter
from pathlib import Path

import anyio

from tests.cases.faults import Schedule, random_one, run, scripted


async def run_all(schedules: list[Schedule], at_once: int) -> tuple[Counter[str], int]:
    """How they ended, and how many not as they must."""
    counts: Counter[str] = Counter()
    findings = 0
    limiter = anyio.CapacityLimiter(at_once)

    async def one(schedule: Schedule) -> None:
        nonlocal findings
        async with limiter:
            with tempfile.TemporaryDirectory(prefix="faults.") as directory:
                wrong = await run(schedule, Path(directory) / "store")
        counts[schedule.error or "an image"] += 1
        findings += bool(wrong)
        if wrong:
            print(f"{schedule.name}: {'; '.join(wrong)}", flush=True)

    async with anyio.create_task_group() as tasks:
        for schedule in schedules:
            tasks.start_soon(one, schedule)
    return counts, findings


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--scripted", action="store_true", help="only those that are written down")
    parser.add_argument("--random", type=int, help="only so many random ones")
    parser.add_argument("--seed", type=int, default=0, help="of the first random one")
    parser.add_argument("--at-once", type=int, default=4)
    arguments = parser.parse_args()
    groups: dict[str, list[Schedule]] = {}
    if arguments.random is None:
        groups["scripted"] = list(scripted())
    if not arguments.scripted:
        count = 2000 if arguments.random is None else arguments.random
        groups["random"] = [random_one(arguments.seed + number) for number in range(count)]
    found = 0
    for group, schedules in groups.items():
        counts, findings = anyio.run(run_all, schedules, arguments.at_once)
        found += findings
        ends = ", ".join(f"{count} {end}" for end, count in counts.most_common())
        print(f"{len(schedules)} {group} schedules, {findings} findings; ended with: {ends}")
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
