"""Kill every command that writes, and have its system calls fail, at each of them; look at what is left; print the counts.

    kill, main, worker     SIGKILL to all processes, to the main one alone, to a worker alone, at the k-th
                           call that writes
    ENOSPC, EDQUOT, EIO    at the k-th call that concerns the store (EDQUOT: and at all after it)
    EMFILE                 at the k-th call that opens something, or EAGAIN where a process is started
    random                 SIGKILL to all processes at a random moment of a larger pull

After each: no image is lost and none half there, the store is a valid OCI layout, a command that lived says in a
sentence what happened, and the same command works again with nothing done by hand. A finding is printed with
its name, and `--only NAME` plays it again. Needs root. Ends with 1 if something was found.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor

from tests.cases.crash_deeds import DEEDS, LARGE_PULL, Stage, staging
from tests.cases.crashes import KINDS, Played, play, rehearse


def play_alone(stage: Stage, name: str) -> Played:
    """Whatever is raised is a finding."""
    try:
        return play(stage, name)
    except Exception as error:
        return Played(name, findings=[f"{type(error).__name__}: {error}"])


def play_all(stage: Stage, pool: ProcessPoolExecutor, title: str, cases: Iterable[str], calls: str) -> int:
    """How many cases did not end as they must."""
    began = time.monotonic()
    played = []
    for each in pool.map(play_alone, *zip(*((stage, case) for case in cases), strict=True)):
        played.append(each)
        if each.findings:
            print(f"{each.name} at {each.hit or 'nothing'}: {'; '.join(each.findings)}", flush=True)
    found = sum(bool(each.findings) for each in played)
    hit = sum(bool(each.hit) for each in played)
    print(
        f"{title}: {calls}{len(played)} cases, {hit} interrupted, {sum(e.lost for e in played)} images lost, "
        f"{sum(e.by_hand for e in played)} repairs by hand, {sum(e.failed_retries for e in played)} failed retries, "
        f"{found} findings ({time.monotonic() - began:.0f} s)",
        flush=True,
    )
    return found


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m scripts.crashes",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--only", metavar="NAME", help="one case, such as pull/kill/17 or random/3")
    parser.add_argument("--deeds", default=",".join(DEEDS), help="some of these commands: %(default)s")
    parser.add_argument("--kinds", default=",".join(KINDS), help="some of these kinds: %(default)s")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="at every N-th call")
    parser.add_argument(
        "--random", type=int, default=500, metavar="N", help="so many kills at random (%(default)s)"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the first of them")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="so many at once")
    chosen = parser.parse_args()
    found = 0
    with_large = chosen.only.startswith(LARGE_PULL.name) if chosen.only else chosen.random > 0
    with staging(with_large=with_large) as stage, ProcessPoolExecutor(chosen.jobs) as pool:
        if chosen.only:
            name = chosen.only.partition("/")[0]
            rehearse(stage, DEEDS.get(name, LARGE_PULL))
            return 1 if play_all(stage, pool, chosen.only, [chosen.only], "") else 0
        for deed in filter(None, chosen.deeds.split(",")):
            rehearse(stage, DEEDS[deed])
            for kind in chosen.kinds.split(","):
                calls = play_alone(stage, f"{deed}/{kind}/0").calls
                cases = [f"{deed}/{kind}/{k}" for k in range(1, calls + 1, chosen.every)]
                if cases:
                    found += play_all(stage, pool, f"{deed}/{kind}", cases, f"{calls} calls, ")
        if chosen.random:
            rehearse(stage, LARGE_PULL)
            seeds = range(chosen.seed, chosen.seed + chosen.random)
            found += play_all(stage, pool, "random", [f"random/{seed}" for seed in seeds], "")
    print(f"{found} findings")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
