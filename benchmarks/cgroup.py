"""A control group for all processes of a run, its daemon among them; of version 1 or 2."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

_ROOT = Path("/sys/fs/cgroup")
_PERIOD = 0.02
"""Seconds between two looks at the memory, which costs little."""
MEMORY = "anonymous and shared memory of all processes, without page cache, by memory.stat every 20 ms"


@dataclass(frozen=True)
class Group:
    """`cpu` and `memory` are the same directory in version 2."""

    cpu: Path
    memory: Path
    unified: bool

    @property
    def name(self) -> str:
        return self.cpu.name

    def enter(self) -> None:
        """Move the calling process; what it starts is inside too."""
        for directory in {self.cpu, self.memory}:
            (directory / "cgroup.procs").write_text(str(os.getpid()))

    def cpu_seconds(self) -> float:
        """User and system time of all that ever ran inside."""
        if not self.unified:
            return int((self.cpu / "cpuacct.usage").read_text()) / 1e9
        return _table(self.cpu / "cpu.stat")["usage_usec"] / 1e6

    def memory_now(self) -> int:
        """Bytes that could not be had back by dropping caches."""
        found = _table(self.memory / "memory.stat")
        if not self.unified:
            return found["total_rss"] + found.get("total_shmem", 0)
        return found["anon"] + found["shmem"]

    @contextmanager
    def watched(self) -> Iterator[list[int]]:
        """Looks at the memory while the block runs; the list has the peak at its end."""
        peak, ended = [self.memory_now()], threading.Event()

        def watch() -> None:
            while not ended.wait(_PERIOD):
                peak[0] = max(peak[0], self.memory_now())

        watcher = threading.Thread(target=watch)
        watcher.start()
        try:
            yield peak
        finally:
            ended.set()
            watcher.join()

    def end(self) -> None:
        """Kill all that is left inside."""
        for directory in {self.cpu, self.memory}:
            for below in [*directory.rglob("cgroup.procs"), directory / "cgroup.procs"]:
                with suppress(FileNotFoundError):  # somebody else has removed a directory
                    for pid in below.read_text().split():
                        with suppress(ProcessLookupError):
                            os.kill(int(pid), signal.SIGKILL)


def _table(path: Path) -> dict[str, int]:
    return {name: int(value) for name, value in (line.split() for line in path.read_text().splitlines())}


@contextmanager
def group(name: str) -> Iterator[Group]:
    """A new group, removed at the end with what is left in it."""
    unified = (_ROOT / "cgroup.controllers").exists()
    parents = [_ROOT] * 2 if unified else [_ROOT / "cpuacct", _ROOT / "memory"]
    if unified:
        (_ROOT / "cgroup.subtree_control").write_text("+cpu +memory")
    made = Group(parents[0] / name, parents[1] / name, unified)
    try:
        for directory in {made.cpu, made.memory}:
            directory.mkdir()
        yield made
    finally:
        made.end()
        # A daemon that puts containers below our group does so in every hierarchy there is.
        for directory in {made.cpu, made.memory, *_ROOT.glob(f"*/{name}")}:
            _remove(directory)


def _remove(top: Path, patience: float = 10) -> None:
    """Remove a group and those below it; busy while a killed process is not quite gone."""
    deadline = time.monotonic() + patience
    for directory in sorted((top, *(each for each in top.rglob("*") if each.is_dir())), reverse=True):
        while directory.exists():
            try:
                directory.rmdir()
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.01)
