"""One run of one tool: on a new file system, in a control group, with its daemon started before."""

from __future__ import annotations

import json
import os
import select
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

from aiodocker_lite.trace import Limit
from benchmarks.cgroup import Group, group
from benchmarks.filesystem import Disk, count, fresh_ext4, unmount
from benchmarks.images import Image
from benchmarks.interrupts import interruptible
from benchmarks.network import Link, Network
from benchmarks.peers import Peer
from benchmarks.place import Command, Place

TIMEOUT = 1800.0


@dataclass(frozen=True)
class Scenario:
    """`what` is done with an image: pull, many (of all its names), again (it is up to date), run or live (it was pulled before)."""

    name: str
    what: str
    image: Image
    link: Link | None = None

    def command(self, peer: Peer) -> Command | None:
        commands = {
            "pull": peer.pull,
            "again": peer.again,
            "run": peer.run,
            "live": peer.live,
            "many": peer.many,
        }
        return commands[self.what] if peer.only(self.image) else None


@dataclass(frozen=True)
class Run:
    """Seconds and bytes. `synced` is the wall time with a sync of the file system after the command, and
    `limit` what the link, the cores and one layer need at the least, where there is a trace that says so.
    """

    scenario: str
    peer: str
    round: int
    wall: float = 0.0
    synced: float = 0.0
    cpu: float = 0.0
    memory: int = 0
    fetched: int = 0
    written: int = 0
    entries: int | None = None
    limit: Mapping[str, float] | None = None
    error: str | None = None


@dataclass
class Bench:
    """Where runs happen; `expected` are the entries of images that are not ours, as the first tool had them."""

    work: Path
    network: Network
    expected: dict[tuple[str, bool], int] = field(default_factory=dict)

    def run_all(self, scenarios: Sequence[Scenario], peers: Sequence[Peer], rounds: int) -> Iterator[Run]:
        """In turn; who comes first changes from round to round."""
        for scenario in scenarios:
            able = [peer for peer in peers if scenario.command(peer)]
            for number in range(rounds):
                first = number % max(1, len(able))
                for peer in able[first:] + able[:first]:
                    yield self.run(scenario, peer, number)

    def run(self, scenario: Scenario, peer: Peer, number: int) -> Run:
        empty = Run(scenario.name, peer.name, number)
        try:
            return self._run(scenario, peer, empty)
        # A daemon, the preparation, what is left, a disk that is full.
        except (RuntimeError, OSError, subprocess.SubprocessError) as error:
            return replace(empty, error=str(error))

    def _run(self, scenario: Scenario, peer: Peer, run: Run) -> Run:
        command = scenario.command(peer)
        assert command is not None
        with ExitStack() as closing:
            disk = closing.enter_context(fresh_ext4(self.work))
            scratch = Path(closing.enter_context(tempfile.TemporaryDirectory(prefix="adlb.", dir="/run")))
            closing.callback(unmount, scratch)
            cgroup = closing.enter_context(group(scratch.name))

            def enter() -> None:
                cgroup.enter()
                self.network.enter()

            place = Place(disk.path, scratch, scenario.image, self.network.address, cgroup.name, enter)
            if peer.daemon:
                closing.enter_context(peer.daemon(place))
            if scenario.what not in ("pull", "many") and peer.pull:
                _prepare(peer.pull(place), place)
            self._warm(scenario.image, peer)
            run = self._measure(command(place), place, cgroup, disk, run)
            if run.error is None and place.trace.exists():
                run = replace(run, limit=self._limit(place.trace, scenario.link))
            if run.error is None and scenario.what == "live":
                said = json.loads((scratch / "output").read_text())
                return replace(run, wall=said["seconds"], synced=said["seconds"])
            if run.error is None and scenario.what in ("pull", "many") and peer.trees:
                return self._check_trees(run, place, peer)
            return run

    def _measure(self, words: Sequence[str], place: Place, cgroup: Group, disk: Disk, run: Run) -> Run:
        disk.sync()
        received, written, cpu = self.network.received(), disk.written(), cgroup.cpu_seconds()
        with (place.scratch / "output").open("wb") as output, (place.scratch / "errors").open("wb") as errors:
            start = time.perf_counter()
            process = subprocess.Popen(
                words,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=errors,
                preexec_fn=place.enter,
                start_new_session=True,
            )
            code = _wait(process, cgroup, peak := [0])
        wall = time.perf_counter() - start
        cpu = cgroup.cpu_seconds() - cpu
        disk.sync()
        return replace(
            run,
            wall=wall,
            synced=time.perf_counter() - start,
            cpu=cpu,
            memory=peak[0],
            fetched=self.network.received() - received,
            written=disk.written() - written,
            error=None if code == 0 else _why(code, place.scratch / "errors"),
        )

    def _limit(self, trace: Path, link: Link | None) -> Mapping[str, float]:
        """By the rate of the link that we made, and none without; to a foreign registry it is as it was seen."""
        found = Limit(**json.loads(trace.read_text())["otherData"])
        if self.network.client is not None:
            found = replace(found, rate=link.rate if link else 0.0)
        return found.parts

    def _check_trees(self, run: Run, place: Place, peer: Peer) -> Run:
        entries = count([path for pattern in peer.trees for path in place.disk.glob(pattern)])
        image = place.image
        known = image.merged if peer.merged else image.apart
        if known is None:
            known = self.expected.setdefault((image.name, peer.merged), entries)
        alike = known <= entries <= known + peer.adds
        error = None if alike else f"its trees have {entries:,} entries instead of {known:,}"
        return replace(run, entries=entries, error=error)

    def _warm(self, image: Image, peer: Peer) -> None:
        """The page cache has the program and the registry's blobs, for everyone."""
        subprocess.run(peer.version, capture_output=True, check=False, start_new_session=True)
        blobs = self.work / "registry/docker/registry/v2/blobs/sha256"
        for digest in image.blobs:
            hexadecimal = digest.partition(":")[2]
            with interruptible(), (blobs / hexadecimal[:2] / hexadecimal / "data").open("rb") as file:
                while file.read(1 << 20):
                    pass


def _wait(process: subprocess.Popen[bytes], cgroup: Group, peak: list[int]) -> int | None:
    """Wait for the end, which for one that hangs is ours; its exit code, None for that."""
    try:
        with cgroup.watched() as seen:
            # Not `process.wait(TIMEOUT)`, which only looks every 50 ms.
            pidfd = os.pidfd_open(process.pid)
            try:
                with interruptible():
                    ended, _, _ = select.select([pidfd], [], [], TIMEOUT)
            finally:
                os.close(pidfd)
        peak[0] = seen[0]
        return process.wait() if ended else None
    finally:
        if process.poll() is None:
            cgroup.end()
            process.wait()


def _prepare(words: Sequence[str], place: Place) -> None:
    with interruptible():
        done = subprocess.run(
            words,
            capture_output=True,
            text=True,
            check=False,
            preexec_fn=place.enter,
            timeout=TIMEOUT,
            start_new_session=True,
        )
    if done.returncode:
        raise RuntimeError(f"the pull before it failed: {_last(done.stderr)}")


def _why(code: int | None, errors: Path) -> str:
    if code is None:
        return f"it did not end within {TIMEOUT:.0f} s"
    return _last(errors.read_text(errors="replace")) or f"exit code {code}"


def _last(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip() and ": hint: " not in line]
    return lines[-1][:200] if lines else ""
