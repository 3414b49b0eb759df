"""One fuzzing process: `python -m tests.fuzz.child TARGET SECONDS SEED STATE FINDINGS CORPUS guided|random`.

Guided by coverage where atheris is installed and the target runs in this process; else at random.
Before each run its input is in the state file, from which `scripts.fuzz` takes it if this process dies.
"""

from __future__ import annotations

import hashlib
import mmap
import resource
import signal
import struct
import sys
import time
import traceback
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

from aiodocker_lite import syscalls

if TYPE_CHECKING:
    from tests.fuzz.targets import Run, Target

STATE = struct.Struct("QQ")
"""Runs so far, and the length of the input that follows."""
STATE_SIZE = 1 << 18
CPU_MAX = 2.0
MEMORY_MAX = 512 << 20


def problem(run: Run, content: bytes) -> str | None:
    """What is wrong with a run, in one line; None if nothing is."""
    began = time.process_time()
    try:
        run(content)
    except Exception as error:
        places = [f for f in traceback.extract_tb(error.__traceback__) if "aiodocker_lite" in f.filename]
        place = f" at {Path(places[-1].filename).name}:{places[-1].lineno}" if places else ""
        return f"{type(error).__name__}{place}: {error}"[:500]
    took = time.process_time() - began
    if took > CPU_MAX:
        return f"it took more than {CPU_MAX:.0f} s"
    if resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10 > MEMORY_MAX:
        return f"it needs more than {MEMORY_MAX >> 20} MB"
    return None


class _Session:
    def __init__(self, run: Run, state: Path, findings: Path, name: str) -> None:
        with state.open("r+b") as file:
            self._state = mmap.mmap(file.fileno(), STATE_SIZE)
        self._run = run
        self._findings = findings
        self._name = name
        self._runs = 0
        self._seen: set[str] = set()

    def __call__(self, content: bytes) -> None:
        self._state[STATE.size : STATE.size + len(content)] = content
        STATE.pack_into(self._state, 0, self._runs, len(content))
        found = problem(self._run, content)
        self._runs += 1
        if found is not None:
            self._keep(found, content)

    def _keep(self, found: str, content: bytes) -> None:
        """Each kind of finding once: the same exception at the same place."""
        kind = found.partition(":")[0] if " at " in found.partition(": ")[0] else found[:80]
        if kind not in self._seen:
            self._seen.add(kind)
            keep(self._findings, self._name, found, content)


def keep(findings: Path, name: str, found: str, content: bytes) -> None:
    """Write an input and what is wrong with it."""
    path = findings / f"{name}-{hashlib.sha256(content).hexdigest()[:12]}"
    path.write_bytes(content)
    path.with_suffix(".txt").write_text(found + "\n")


def _at_random(session: _Session, target: Target, seconds: float, seed: int) -> None:
    chance, seeds = Random(seed), target.seeds()
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        session(target.mutate(chance.choice(seeds), seeds, chance))


def _guided(session: _Session, target: Target, seconds: float, seed: int, corpus: Path) -> None:
    """By atheris, which never returns."""
    import atheris

    seeds = target.seeds()
    for content in seeds:
        (corpus / hashlib.sha256(content).hexdigest()[:16]).write_bytes(content)

    def mutate(content: bytes, most: int, number: int) -> bytes:
        chance = Random(number)
        if chance.random() < 0.2:
            return bytes(atheris.Mutate(content, most))
        return target.mutate(content, seeds, chance)[:most]

    options = [f"-max_total_time={max(1, round(seconds))}", f"-seed={seed % (1 << 31) + 1}", "-max_len=65536"]
    options += ["-rss_limit_mb=0", "-timeout=3600", "-detect_leaks=0", "-verbosity=0", "-reload=0"]
    options += [f"-artifact_prefix={corpus}/"]
    atheris.Setup([sys.argv[0], *options, str(corpus)], session, custom_mutator=mutate)
    atheris.Fuzz()


def _watch_coverage() -> bool:
    """Have what is imported from now on say where it was; False without atheris."""
    try:
        import atheris
    except ImportError:
        return False
    with atheris.instrument_imports(include=["aiodocker_lite.layer", "aiodocker_lite.inflate"]):
        import aiodocker_lite.layer.decompress
        import aiodocker_lite.layer.join
        import aiodocker_lite.layer.unpack  # noqa: F401
    return True


def main() -> None:
    syscalls.prctl(syscalls.PR_SET_PDEATHSIG, signal.SIGKILL)
    name, seconds, seed, state, findings, corpus, want = sys.argv[1:]
    # What runs in another process leaves no trace in this one.
    guided = want == "guided" and name != "worker" and _watch_coverage()
    from tests.fuzz.targets import TARGETS  # only now, for it imports what is watched

    target = TARGETS[name]
    with target.open() as run:
        session = _Session(run, Path(state), Path(findings), name)
        if guided:
            _guided(session, target, float(seconds), int(seed), Path(corpus))
        else:
            _at_random(session, target, float(seconds), int(seed))


if __name__ == "__main__":
    main()
