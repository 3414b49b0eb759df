"""Many containers from one process through the library, in a row and at once, and what is left of them."""

from __future__ import annotations

import fcntl
import os
import select
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import anyio

from aiodocker_lite import Engine, RunOptions, Settings
from aiodocker_lite.image import Image
from aiodocker_lite.options import Mount
from aiodocker_lite.runtime.cgroups import PREFIX
from aiodocker_lite.testing.images import image, layer_of, write_layout
from tests.cases.run_plays import box_tree
from tests.fakes.processes import children

_CODES = 120
_MARK = 20_000 + os.getpid()
"""A limit that nobody else on this machine has, by which our control groups are known."""
_KINDS = (
    RunOptions(),
    RunOptions(init=True, mounts=(Mount("/scratch"),)),
    RunOptions(network="none", user="1000:1000"),
    RunOptions(mounts=(Mount("/data", ""),), read_only=True),
)


@dataclass(frozen=True)
class Left:
    """What a process, a store and a host have of containers, each thing by a name of its own."""

    things: Mapping[str, frozenset[str]]

    def beyond(self, before: Left) -> dict[str, list[str]]:
        """What was not there before, by kind; every kind is named."""
        return {kind: sorted(found - before.things[kind]) for kind, found in self.things.items()}


@dataclass
class ManyRuns:
    """An engine on a store with one image, and what went wrong."""

    engine: Engine
    image: Image
    work: Path
    runtime: str
    limits: bool
    """Whether control groups are to be had; then every second run has some."""
    ended: int = 0
    findings: list[str] = field(default_factory=list)

    async def in_a_row(self, count: int) -> None:
        """One after the other."""
        for number in range(count):
            await self._captured(number)

    async def at_once(self, count: int) -> None:
        """All of them side by side."""
        await self._together(count, count, self._captured)

    async def detached(self, count: int, at_once: int) -> None:
        """Each with a process of its own, so many side by side."""
        await self._together(count, at_once, self._detached)

    async def _together(self, count: int, at_once: int, play: Callable[[int], Awaitable[None]]) -> None:
        room = anyio.Semaphore(at_once)

        async def one(number: int) -> None:
            async with room:
                await play(number)

        async with anyio.create_task_group() as tasks:
            for number in range(count):
                tasks.start_soon(one, number)

    async def _captured(self, number: int) -> None:
        options = replace(self._options(number), remove=True)
        done = await self.engine.run(self.image, self._command(number), options, check=False)
        self.judge(number, done.exit_code, done.stdout)

    async def _detached(self, number: int) -> None:
        container = await self.engine.detach(self.image, self._command(number), self._options(number))
        code = await self.engine.wait_container(container.id)
        lines: list[bytes] = []
        await self.engine.logs(container.id, lambda found: lines.extend(found.lines))
        await self.engine.remove_container(container.id)
        self.judge(number, code, b"".join(lines))

    def _options(self, number: int) -> RunOptions:
        kind = _KINDS[number % len(_KINDS)]
        is_native = self.runtime == "native"  # the others have no process 1 of their own
        kind = replace(kind, runtime=self.runtime, init=kind.init and is_native)
        return limited(kind) if self.limits and number % 2 else kind

    def _command(self, number: int) -> list[str]:
        return ["sh", "-c", f"(sleep 100 &) ; echo {number} of {self.work}; exit {number % _CODES}"]

    def judge(self, number: int, code: int, out: bytes) -> None:
        """Whether a run ended as its number says."""
        self.ended += 1
        if (code, out) != (number % _CODES, f"{number} of {self.work}\n".encode()):
            self.findings.append(f"run {number}: exit code {code}, output {out!r}")

    def left(self, patience: float = 10) -> Left:
        """What is there now. Processes that are about to end are waited for, so many seconds each at most."""
        for process in _processes(str(self.work)):
            _await_end(int(process), patience)
        own = str(os.getpid())
        processes = {*_processes(str(self.work)), *map(str, children())} - {own}
        files = {
            str(path) for path in self.work.rglob("*") if "layers" not in path.relative_to(self.work).parts
        }
        return Left(
            {
                "processes": frozenset(processes),
                "descriptors": frozenset(_descriptors()),
                "mounts": frozenset(
                    line.split(" ", 1)[1]
                    for line in Path("/proc/self/mountinfo").read_text().splitlines()
                    if str(self.work) in line
                ),
                "control groups": frozenset(_groups()),
                "network namespaces": frozenset(_networks(processes)),
                "files and directories": frozenset(files),
                "locks": frozenset(file for file in files if _is_locked(Path(file))),
            }
        )


@asynccontextmanager
async def many_runs(work: Path, runtime: str = "native") -> AsyncIterator[ManyRuns]:
    """A store with the image `box`, from which something has been run, so that what is made once is there."""
    box = image(layer_of(box_tree()), config={"Env": ["PATH=/bin"]})
    layout = write_layout(work / "layout", {"box": box})
    async with Engine(Settings(root=work / "store")) as engine:
        (loaded,) = await engine.load(layout)
        runs = ManyRuns(engine, loaded, work, runtime, _has_limits())
        await runs.in_a_row(len(_KINDS))
        await runs.detached(1, 1)
        yield runs


def limited(options: RunOptions) -> RunOptions:
    """These options, and limits by control groups."""
    return replace(options, pids_limit=_MARK, memory=_MARK << 12)


def _processes(word: str) -> list[str]:
    """Those that have this on their command line or in their environment, as what we start has our directory."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended
            said = (process / "cmdline").read_bytes() + (process / "environ").read_bytes()
            if word.encode() in said:
                found.append(process.name)
    return found


def _await_end(process: int, patience: float) -> None:
    if process == os.getpid():
        return
    with suppress(ProcessLookupError):
        handle = os.pidfd_open(process)
        select.select([handle], [], [], patience)
        os.close(handle)


def _descriptors() -> list[str]:
    found = []
    for entry in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # what was open to read the list
            found.append(f"{entry.name} {entry.readlink()}")
    return found


def _groups() -> list[str]:
    """Control groups with our limits, wherever hierarchies are mounted."""
    marks = {str(_MARK), str(_MARK << 12)}
    found = []
    for top, _, files in os.walk("/sys/fs/cgroup"):
        if PREFIX in top:
            for name in {"pids.max", "memory.max", "memory.limit_in_bytes"} & set(files):
                with suppress(OSError):  # somebody else's has gone
                    if Path(top, name).read_text().strip() in marks:
                        found.append(top)
    return found


def _networks(processes: set[str]) -> set[str]:
    """What these processes are in, and what we hold open or mounted, but for our own."""
    found = {
        line.split()[3] for line in Path("/proc/self/mountinfo").read_text().splitlines() if "net:[" in line
    }
    found |= {entry.split()[1] for entry in _descriptors() if "net:[" in entry}
    for process in processes:
        with suppress(OSError):
            found.add(str(Path(f"/proc/{process}/ns/net").readlink()))
    return found - {str(Path("/proc/self/ns/net").readlink())}


def _is_locked(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # a directory, a link without an end
        return False
    return False


def _has_limits() -> bool:
    places = ("/sys/fs/cgroup/pids", "/sys/fs/cgroup/memory")
    return os.geteuid() == 0 and all(os.access(place, os.W_OK) for place in places)
