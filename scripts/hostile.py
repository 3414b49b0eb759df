"""Unpack every hostile layer of the tests' table, and count what came of it.

As root and as an ordinary user, with and without openat2(2), as first and as upper layer, each next to
a directory that is compared before and after; then the bombs through real workers, whose memory is measured.
"""

from __future__ import annotations

import argparse
import os
import resource
import sys
import tempfile
from collections import Counter
from pathlib import Path

import anyio

from aiodocker_lite.digest import Digest
from aiodocker_lite.errors import LimitExceeded
from aiodocker_lite.layer.pool import Job, Unpackers, WaitBeyond
from aiodocker_lite.store.trees import remove_tree
from tests.cases.hostile_layers import bombs, hostile_layers
from tests.fakes.canary import NOBODY, in_a_copy


def _all_of(size: int) -> WaitBeyond:
    async def wait_beyond(have: int) -> int:
        return size

    return wait_beyond


async def send_bombs(directory: Path) -> int:
    """How many of them a real worker refuses for their size."""
    refused = 0
    async with Unpackers(1) as unpackers:
        for number, case in enumerate(bombs()):
            content = case.pack(b"/outside")
            blob, root = directory / f"{number}.blob", directory / str(number)
            blob.write_bytes(content)
            root.mkdir()
            digest = Digest.of(content)
            job = Job(blob, digest, len(content), digest, root, case.limits, os.geteuid() == 0)
            try:
                await unpackers.unpack(job, _all_of(len(content)), lambda consumed: None)
            except LimitExceeded:
                refused += 1
            remove_tree(root)  # deeper than shutil can go
    return refused


def measure_bombs() -> tuple[int, int]:
    """How many were refused, and the most megabytes that any worker needed."""
    with tempfile.TemporaryDirectory() as directory:
        refused = anyio.run(send_bombs, Path(directory))
    return refused, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss >> 10


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("only", nargs="?", choices=["bombs"], help="the bombs alone")
    if parser.parse_args().only:
        print(*measure_bombs())
        return 0
    refused, megabytes = measure_bombs()
    cases = hostile_layers()
    total = wrong = 0
    for user in (0, NOBODY) if os.geteuid() == 0 else (os.geteuid(),):
        for how, has_openat2, upper in (
            ("openat2", True, False),
            ("walk", False, False),
            ("upper layer", True, True),
        ):
            outcomes = in_a_copy(cases, user, has_openat2=has_openat2, upper=upper)
            counts = Counter(outcome.verdict for outcome in outcomes)
            escaped = sum(1 for outcome in outcomes if outcome.escapes)
            total += escaped
            wrong += sum(1 for outcome in outcomes if outcome.problem)
            print(
                f"{len(cases)} cases as user {user}, {how}: "
                f"{counts['refused']} refused, {counts['contained']} contained, "
                f"{counts['skipped']} with something left out, {escaped} escapes"
            )
    print(f"{refused} of {len(bombs())} bombs refused by workers of at most {megabytes} MB")
    print(f"{total} escapes, {wrong} other than the table says")
    return 1 if total or wrong else 0


if __name__ == "__main__":
    sys.exit(main())
