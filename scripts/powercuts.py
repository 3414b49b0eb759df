"""Cut the power of a disk while images are pulled, loaded, saved, tagged and removed; print the counts.

As root. Each disk is a new ext4 on a loop device, mounted in one of several ways, with its own store; the
power goes a few times in its life, at random moments: the file system is shut down, the processes are
killed, the journal is replayed. Then names must lead where they did when the last command had ended, every
image must be whole, and the same command must work. `--seed N --cuts 1` plays the first disk of a seed again.

At the end the same with one kind of sync left out at a time, to show that the judge sees that.
Ends with 1 if something was found, or a planted break was not.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from collections import Counter
from itertools import cycle
from pathlib import Path

from tests.cases.cut_commands import fill
from tests.cases.powercuts import play_life
from tests.fakes.disks import MAKERS, hide_mounts, why_not
from tests.fakes.processes import RealRegistry, running_registry
from tests.fakes.unsynced import KINDS

LIFE = 5
"""Cuts in the life of a disk."""


def cut_all(registry: RealRegistry, work: Path, seed: int, cuts: int) -> int:
    """How many findings there are after so many cuts."""
    done, found = 0, 0
    interrupted, ended, checked = Counter[str](), Counter[str](), 0
    start = time.monotonic()
    for kind in cycle(kind for kind, words in MAKERS.items() if shutil.which(words[0])):
        life = play_life(seed, min(LIFE, cuts - done), registry, work, kind=kind)
        done, seed = done + life.cuts, seed + 1
        interrupted, ended, checked = (
            interrupted + life.interrupted,
            ended + life.ended,
            checked + life.checked,
        )
        for finding in life.findings:
            found += 1
            print(f"seed {seed - 1}, {kind} with '{life.disk.options}', {finding}", flush=True)
        if done >= cuts:
            break
    print(f"{done} cuts in {time.monotonic() - start:.0f} s, {found} findings")
    print(f"    ended before a cut: {_listed(ended)}")
    print(f"    interrupted by one: {_listed(interrupted)}; {checked} images compared", flush=True)
    return found


def plant_all(registry: RealRegistry, work: Path, seed: int, cuts: int) -> int:
    """How many planted breaks were never seen."""
    unseen = 0
    for plant in KINDS:
        seen = played = 0
        example = ""
        while played < cuts:
            life = play_life(seed, 1, registry, work, plant=plant)
            played, seed = played + 1, seed + 1
            seen += bool(life.findings)
            example = example or "".join(life.findings[:1])
        unseen += not seen
        print(
            f"without the sync of {plant}: seen after {seen} of {played} cuts, such as {example[:160]}",
            flush=True,
        )
    return unseen


def _listed(counts: Counter[str]) -> str:
    return ", ".join(f"{count} {word}" for word, count in counts.most_common()) or "none"


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m scripts.powercuts",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--cuts", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0, help="of the first disk")
    parser.add_argument("--planted", type=int, default=10, metavar="N", help="cuts for each planted break")
    chosen = parser.parse_args()
    if reason := why_not():
        sys.exit(reason)
    hide_mounts()
    with tempfile.TemporaryDirectory(prefix="powercuts.") as name:
        work = Path(name)
        with running_registry(work, {}) as address:
            registry = RealRegistry(address)
            fill(registry, work)
            found = cut_all(registry, work, chosen.seed, chosen.cuts) if chosen.cuts else 0
            unseen = plant_all(registry, work, chosen.seed, chosen.planted) if chosen.planted else 0
    return 1 if found or unseen else 0


if __name__ == "__main__":
    sys.exit(main())
