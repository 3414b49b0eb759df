"""`python -m scripts.fuzz --seconds 3600`: fuzz the readers, the unpacker and the worker.

The seconds are shared by the targets, each of which runs in a process of its own, as many at once as
there are cores. What is found lies in files, each with one command that shows it again.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.fuzz.child import STATE, STATE_SIZE, keep

TARGETS = ("tar", "inflate", "unpack", "worker")
_STUCK = 30.0
"""Seconds after which a run that has not ended never will."""
_MEMORY = Path("/dev/shm")


def fuzz(target: str, seconds: float, seed: int, findings: Path, *, guided: bool) -> int:
    """Fuzz one target; returns the number of runs. A process that dies is a finding, and is started again."""
    until = time.monotonic() + seconds
    runs = 0
    with tempfile.TemporaryDirectory(prefix="fuzz.") as name:
        work = Path(name)
        corpus = work / "corpus"
        corpus.mkdir()
        while (left := until - time.monotonic()) > 0.5:
            state = work / "state"
            state.write_bytes(bytes(STATE_SIZE))
            arguments = [target, left, seed + runs, state, findings, corpus, "guided" if guided else "random"]
            with (work / "log").open("wb") as log:
                child = subprocess.Popen(
                    [sys.executable, "-m", "tests.fuzz.child", *map(str, arguments)],
                    stdout=log,
                    stderr=log,
                    env=os.environ | {"TMPDIR": name},
                )
                died = _watched(child, state)
            done, length = STATE.unpack_from(state.read_bytes())
            runs += done
            if died:
                content = state.read_bytes()[STATE.size : STATE.size + length]
                said = (work / "log").read_text(errors="replace")[-2000:]
                keep(findings, target, f"{died}\n{said}", content)
    return runs


def _watched(child: subprocess.Popen[bytes], state: Path) -> str | None:
    """Wait for its end; says how it ended if not as it should."""
    last, since = -1, time.monotonic()
    while True:
        try:
            code = child.wait(1)
        except subprocess.TimeoutExpired:
            done = STATE.unpack_from(state.read_bytes())[0]
            if done != last:
                last, since = done, time.monotonic()
            elif time.monotonic() - since > _STUCK:
                child.kill()
                child.wait()
                return f"a run did not end within {_STUCK:.0f} s"
        else:
            return f"the process ended with {code}" if code else None


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=3600, help="for all targets together")
    parser.add_argument("--seed", type=int, default=None, help="the same runs again; else other ones")
    parser.add_argument("--target", choices=TARGETS, action="append", help="only this one; may be repeated")
    parser.add_argument("--findings", type=Path, default=Path("findings"))
    parser.add_argument("--random", action="store_true", help="not guided by coverage")
    parser.add_argument("--show", type=Path, metavar="FILE", help="run this finding once more")
    options = parser.parse_args()
    targets: list[str] = options.target or list(TARGETS)
    if _MEMORY.is_dir() and os.access(_MEMORY, os.W_OK):
        tempfile.tempdir = os.environ["TMPDIR"] = str(_MEMORY)
    if options.show:
        return show(targets[0], options.show)
    seed = int(time.time()) if options.seed is None else options.seed
    options.findings.mkdir(parents=True, exist_ok=True)
    before = set(options.findings.iterdir())
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        share = options.seconds / len(targets)
        runs = list(
            pool.map(lambda t: fuzz(t, share, seed, options.findings, guided=not options.random), targets)
        )
    found = sorted(path for path in set(options.findings.iterdir()) - before if not path.suffix)
    for path in found:
        print(path.with_suffix(".txt").read_text().strip())
        print(f"  python -m scripts.fuzz --target {path.name.rpartition('-')[0]} --show {path}")
    counts = ", ".join(f"{count} {target}" for target, count in zip(targets, runs, strict=True))
    print(f"{options.seconds:.0f} s from seed {seed}: {counts} runs; {len(found)} findings")
    return 1 if found else 0


def show(target: str, path: Path) -> int:
    """Run one input again."""
    from tests.fuzz.child import problem
    from tests.fuzz.targets import TARGETS as FOUND

    with FOUND[target].open() as run:
        found = problem(run, path.read_bytes())
    print(found or "nothing is wrong with it")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
