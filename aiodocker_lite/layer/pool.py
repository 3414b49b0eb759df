"""The parent's side of the unpacking processes: start them, feed them, listen, and clean up.

Processes and not threads: many small system calls from several Python threads fight over the
interpreter lock (measured: 1.2 times the wall time).
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from subprocess import DEVNULL, PIPE
from typing import Any, Literal, TypeAlias

import anyio
from anyio.abc import Process
from anyio.streams.buffered import BufferedByteReceiveStream

from aiodocker_lite import subids
from aiodocker_lite.digest import Digest
from aiodocker_lite.errors import WorkerDied, WorkerNotStarted, from_message
from aiodocker_lite.layer.rules import Unpacked
from aiodocker_lite.settings import Limits
from aiodocker_lite.spans import span

_LINE_MAX = 1 << 20
_START = (
    "import sys; _, maps, *sys.path[:] = sys.argv; from aiodocker_lite.layer.worker import main; main(maps)"
)
_PACKAGE_PARENT = str(Path(__file__).parents[2])

WaitBeyond = Callable[[int], Awaitable[int]]
"""Waits until more than so many bytes of the blob's file are complete, and says how many are."""


Model: TypeAlias = Literal["outline in memory", "outline", "whole"]


@dataclass(frozen=True, slots=True)
class Job:
    """One layer to unpack into `directory`, or only to check where that is None."""

    blob: Path
    digest: Digest
    size: int
    diff_id: Digest
    directory: Path | None
    limits: Limits
    privileged: bool
    actual: Path | None = None
    """What `directory` is to be compared with."""
    model: Model = "whole"
    """What is unpacked for it: an outline (`outline.py`), in memory perhaps and gone at the end, or all."""
    listed: bool = False
    """Whether a list of it is made beside `directory` (`listing.py`)."""

    def to_json(self, have: int) -> dict[str, Any]:
        listing = listing_of(self.directory) if self.directory is not None and self.listed else None
        return {
            "kind": "unpack",
            "blob": str(self.blob),
            "layer": self.digest.short,
            "digest": str(self.digest),
            "size": self.size,
            "diff_id": str(self.diff_id),
            "directory": None if self.directory is None else str(self.directory),
            "notes": None if self.directory is None else str(notes_of(self.directory)),
            "limits": asdict(self.limits),
            "privileged": self.privileged,
            "actual": None if self.actual is None else str(self.actual),
            "model": self.model,
            "listing": None if listing is None else str(listing),
            "have": have,
        }


@dataclass(frozen=True, slots=True)
class JoinJob:
    """One unpacked layer to join to those below it, into the empty directory `joint`."""

    name: Digest
    layer: Path
    lowers: tuple[Path, ...]
    """The uppermost first."""
    joint: Path
    privileged: bool
    actual: Path | None = None
    """What `joint` is to be compared with."""

    def to_json(self) -> dict[str, Any]:
        return {
            "kind": "join",
            "layer": self.name.short,
            "directory": str(self.layer),
            "notes": str(notes_of(self.layer)),
            "lowers": [str(path) for path in self.lowers],
            "joint": str(self.joint),
            "privileged": self.privileged,
            "actual": None if self.actual is None else str(self.actual),
        }


@dataclass(frozen=True, slots=True)
class ListJob:
    """One unpacked layer to compare with the list of this digest that was made of it."""

    name: Digest
    layer: Path
    listing: Digest

    def to_json(self) -> dict[str, Any]:
        return {
            "kind": "list",
            "layer": self.name.short,
            "directory": str(self.layer),
            "notes": str(notes_of(self.layer)),
            "listing": str(listing_of(self.layer)),
            "digest": self.listing.hex,
        }


@dataclass(frozen=True, slots=True)
class Differences:
    """How a tree differs from what it should be."""

    found: tuple[tuple[str, str], ...]
    """Paths, and what is wrong there: the first of them."""
    count: int
    """How many there are."""
    sure: bool
    """Whether an outline can tell."""

    @classmethod
    def from_json(cls, done: dict[str, Any]) -> Differences:
        """Take them out of a worker's answer."""
        return cls(
            tuple((path, wrong) for path, wrong in done.pop("differences")),
            done.pop("count"),
            done.pop("sure"),
        )


def notes_of(directory: Path) -> Path:
    """Where the notes about a layer's directory are: beside it."""
    return directory.with_name(f"{directory.name}.notes")


def listing_of(directory: Path) -> Path:
    """Where the list of a layer's directory is: beside it."""
    return directory.with_name(f"{directory.name}.listing")


class _Worker:
    def __init__(self, process: Process) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self.process = process
        self._input = process.stdin
        self._output = BufferedByteReceiveStream(process.stdout)

    async def send(self, message: dict[str, Any]) -> None:
        await self._input.send(json.dumps(message).encode() + b"\n")

    async def receive(self) -> dict[str, Any]:
        message: dict[str, Any] = json.loads(await self._output.receive_until(b"\n", _LINE_MAX))
        return message

    async def end(self) -> None:
        """Kill it, and wait for it and for the copy of it that may be at work; also while being cancelled."""
        with anyio.CancelScope(shield=True):
            if self.process.returncode is None:
                self.process.kill()
            # The copy dies with it, but by itself: when nobody holds the pipe, nobody writes files.
            with suppress(anyio.EndOfStream, anyio.ClosedResourceError, anyio.BrokenResourceError):
                while True:
                    await self._output.receive()
            await self.process.aclose()


class Unpackers:
    """At most `workers` processes, started when they are first needed and used again.

    With `maps` they are root of a user namespace that has these ids.
    """

    def __init__(self, workers: int, maps: subids.IdMaps | None = None) -> None:
        self._maps = subids.to_text(maps)
        self._turns = anyio.Semaphore(workers)
        self._idle: list[_Worker] = []

    async def __aenter__(self) -> Unpackers:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        while self._idle:
            await self._idle.pop().end()

    async def warm_up(self) -> None:
        """Have one process ready, for something will come soon; not one more than allowed."""
        if not self._idle and self._turns.value:
            async with self._turns:
                self._idle.append(await _start(self._maps))

    async def unpack(self, job: Job, wait_beyond: WaitBeyond, consumed: Callable[[int], None]) -> Unpacked:
        """Unpack one layer while its file still grows; `consumed` hears how far it is.

        Raises what the worker raised: DigestMismatch, SizeMismatch, InvalidLayer, UnsafeEntry,
        LimitExceeded, DiskFull, StoreUnwritable; WorkerDied if it ended without a word.
        """
        async with self._lent(job.digest) as worker:
            with span("unpack", job.digest.short, size=job.size, worker=worker.process.pid) as facts:
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(_feed, worker, job, wait_beyond)
                    message = await _listen(worker, consumed)
                    tasks.cancel_scope.cancel()
                done = await _outcome(worker, message, job.digest)
                facts |= done.pop("took")
            return Unpacked(**done)

    async def join(self, job: JoinJob) -> bool:
        """Join a layer to those below it; False where there was nothing to do.

        Raises UnsafeEntry, DiskFull, StoreUnwritable, WorkerDied.
        """
        async with self._lent(job.name) as worker:
            with suppress(anyio.BrokenResourceError):  # it has ended: `_outcome` says so
                await worker.send(job.to_json())
            message = await _listen(worker, lambda consumed: None)
            return bool((await _outcome(worker, message, job.name))["needed"])

    async def compare(
        self, job: Job, consumed: Callable[[int], None] = lambda _: None
    ) -> tuple[Unpacked, Differences]:
        """Compare what is `actual` with what the job would make. Raises what `unpack` raises."""
        async with self._lent(job.digest) as worker:
            with suppress(anyio.BrokenResourceError):  # it has ended: `_outcome` says so
                await worker.send(job.to_json(job.size))
            done = await _outcome(worker, await _listen(worker, consumed), job.digest)
            differences = Differences.from_json(done)
            del done["took"]
            return Unpacked(**done), differences

    async def compare_known(self, job: JoinJob | ListJob) -> Differences:
        """The same with a joint, or with a list. Raises what `join` raises."""
        async with self._lent(job.name) as worker:
            with suppress(anyio.BrokenResourceError):
                await worker.send(job.to_json())
            return Differences.from_json(
                await _outcome(worker, await _listen(worker, lambda _: None), job.name)
            )

    @asynccontextmanager
    async def _lent(self, layer: Digest) -> AsyncIterator[_Worker]:
        with span("turn", layer.short):
            await self._turns.acquire()
        try:
            worker = self._idle.pop() if self._idle else await _start(self._maps)
            try:
                yield worker
            except BaseException:
                # What state it is in, nobody knows: a new one costs 30 ms.
                await worker.end()
                raise
            self._idle.append(worker)
        finally:
            self._turns.release()


async def _start(maps: str) -> _Worker:
    # -I -S: neither the user's environment nor site-packages' start-up files; 20 ms instead of 40.
    command = [sys.executable, "-I", "-S", "-c", _START, maps, _PACKAGE_PARENT, *filter(None, sys.path)]
    # Cancelled half-way, a start would leave a process that nobody knows.
    with anyio.CancelScope(shield=True):
        try:
            process = await anyio.open_process(command, stdin=PIPE, stdout=PIPE, stderr=DEVNULL)
        except OSError as error:
            raise WorkerNotStarted(os.strerror(error.errno or 0)) from error
    return _Worker(process)


async def _feed(worker: _Worker, job: Job, wait_beyond: WaitBeyond) -> None:
    """The job, then every new watermark; a reader that has gone is for `_listen` to report."""
    try:
        have = 0
        await worker.send(job.to_json(have))
        while have < job.size:
            have = await wait_beyond(have)
            await worker.send({"have": have})
    except (anyio.BrokenResourceError, anyio.ClosedResourceError):
        return


async def _listen(worker: _Worker, consumed: Callable[[int], None]) -> dict[str, Any] | None:
    """The message that ends a job; None where the worker ended instead."""
    while True:
        try:
            message = await worker.receive()
        except (anyio.IncompleteRead, anyio.EndOfStream):
            return None
        if "consumed" not in message:
            return message
        consumed(message["consumed"])


async def _outcome(worker: _Worker, message: dict[str, Any] | None, layer: Digest) -> dict[str, Any]:
    """What was done; raises what the worker raised."""
    if message is None:
        code = await worker.process.wait()
        raise WorkerDied(layer.short, f"exit status {code}")
    if "failed" in message:
        raise from_message(message["failed"])
    done: dict[str, Any] = message["done"]
    return done
