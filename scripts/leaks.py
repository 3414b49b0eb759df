"""`python -m scripts.leaks`: play every way to lose a secret of the tests' table, and count what was lost.

Four servers on four origins keep every request they get, to the letter: address, headers, body.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import anyio

from tests.cases.leak_cases import LEAKS
from tests.cases.leaks import play


async def main() -> int:
    lost = wrong = requests = 0
    for leak in LEAKS:
        with tempfile.TemporaryDirectory() as directory:
            played = await play(leak, Path(directory))
        requests += played.requests
        if played.seen != leak.seen:
            wrong += 1
            print(f"{leak.name}: {played.seen}, and not {leak.seen}")
        lost += sum(bool(kinds - leak.seen.get(origin, set())) for origin, kinds in played.seen.items())
    allowed = sum(any(leak.seen.values()) for leak in LEAKS)
    print(f"{len(LEAKS)} scenarios, in {allowed} of them somebody may learn a secret; {requests} requests")
    print(f"{lost} leaks, {wrong} other than the table says")
    return 1 if lost or wrong else 0


if __name__ == "__main__":
    sys.exit(anyio.run(main))
