"""Many processes on one store, at random: pull, run, tag, remove, prune, check, save, load; print the counts.

Each is the real command line, from a real registry, on images that share layers. What a container sees must
be what its image says; an error must be one that fits, such as `No such image` where somebody else has removed
it; nobody may hang. At the end all can be removed, and nothing is left. Ends with 1 if something was found.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from tests.cases.soak import Soak
from tests.fakes.processes import RealRegistry, running_registry


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m scripts.soak",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--processes", type=int, default=50, help="at once")
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="soak.") as name:
        work, start = Path(name), time.monotonic()
        with running_registry(work, {}) as address:
            soak = Soak(work / "store", work, RealRegistry(address))
            soak.fill()
            soak.run(chosen.processes, chosen.minutes * 60, chosen.seed)
    for finding in soak.findings:
        print(finding, flush=True)
    print(
        f"{chosen.processes} processes at once, {soak.ended.total()} commands in {time.monotonic() - start:.0f} s, "
        f"the slowest {soak.slowest:.0f} s; {soak.deleted} blobs and layers deleted; {len(soak.findings)} findings"
    )
    print("    " + ", ".join(f"{count} {kind}" for kind, count in soak.ended.most_common()))
    for error, count in soak.errors.most_common():
        print(f"    {count} {error}")
    return 1 if soak.findings else 0


if __name__ == "__main__":
    sys.exit(main())
