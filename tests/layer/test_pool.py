"""Unpacking in processes of their own: fed behind a watermark, and cleaned up whatever happens."""

from __future__ import annotations

import fcntl
import gzip
import os
import signal
from pathlib import Path
from typing import Any

import anyio
import pytest

from aiodocker_lite.digest import Digest
from aiodocker_lite.errors import (
    DigestMismatch,
    EngineError,
    InvalidLayer,
    SizeMismatch,
    StoreUnwritable,
    UnsafeEntry,
    WorkerDied,
    WorkerNotStarted,
)
from aiodocker_lite.layer.pool import Job, Unpackers, WaitBeyond
from aiodocker_lite.settings import Limits
from tests.fakes.processes import children
from tests.fakes.tars import END, file

PLAIN = b"".join(file(b"f%d" % n, os.urandom(40_000)) for n in range(50)) + END
BLOB = gzip.compress(PLAIN, 1)


def job(tmp_path: Path, blob: bytes = BLOB, plain: bytes = PLAIN, **change: Any) -> Job:
    path = tmp_path / "blob"
    path.write_bytes(blob)
    directory = tmp_path / "fs"
    directory.mkdir(exist_ok=True)
    what: dict[str, Any] = {
        "blob": path,
        "digest": Digest.of(blob),
        "size": len(blob),
        "diff_id": Digest.of(plain),
        "directory": directory,
        "limits": Limits(),
        "privileged": os.geteuid() == 0,
    }
    return Job(**{**what, **change})


def all_of(blob: bytes) -> WaitBeyond:
    async def wait_beyond(have: int) -> int:
        return len(blob)

    return wait_beyond


def nobody_listens(consumed: int) -> None:
    """The progress of these tests."""


async def test_a_worker_holds_the_lock_of_what_it_fills(tmp_path: Path) -> None:
    """Whoever removes what the dead have left takes it first, and then no worker begins there."""
    what = job(tmp_path)
    directory = tmp_path / "fs"
    fd = os.open(directory, os.O_RDONLY)
    held: list[bool] = []

    async def wait_beyond(have: int) -> int:
        if have == 0:
            return len(BLOB) // 2
        with anyio.fail_after(20):
            while not any(directory.iterdir()):
                await anyio.lowlevel.checkpoint()
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            held.append(True)
        return len(BLOB)

    async with Unpackers(1) as unpackers:
        await unpackers.unpack(what, wait_beyond, nobody_listens)
        assert held == [True]
        fcntl.flock(fd, fcntl.LOCK_EX)
        with pytest.raises(StoreUnwritable, match="it is being removed"):
            await unpackers.unpack(what, all_of(BLOB), nobody_listens)
    os.close(fd)


async def test_a_layer_is_unpacked_while_its_file_grows(tmp_path: Path) -> None:
    """The worker reads up to the watermark and waits there; it has unpacked before the end is written."""
    what = job(tmp_path)
    what.blob.write_bytes(b"")
    steps = [1, 1000, len(BLOB) // 2, len(BLOB) - 1, len(BLOB)]
    seen: list[str] = []

    async def wait_beyond(have: int) -> int:
        if have > len(BLOB) // 4 and not seen:
            # The worker works on its own: give it the time it needs to get here.
            with anyio.fail_after(20):
                while not (found := os.listdir(tmp_path / "fs")):  # noqa: PTH208
                    await anyio.lowlevel.checkpoint()
            seen.extend(found)
        mark = next(step for step in steps if step > have)
        with what.blob.open("ab") as out:
            out.write(BLOB[have:mark])
        return mark

    async with Unpackers(1) as unpackers:
        done = await unpackers.unpack(what, wait_beyond, nobody_listens)
    assert done.entries == 50
    assert 0 < len(seen) < 50
    assert len(os.listdir(tmp_path / "fs")) == 50  # noqa: PTH208


OTHER = Digest.of(b"other")


@pytest.mark.parametrize(
    ("blob", "change", "error", "reason"),
    [
        (BLOB, {"digest": OTHER}, DigestMismatch, "layer .* has the wrong content"),
        (BLOB, {"diff_id": OTHER}, DigestMismatch, "the uncompressed layer"),
        (BLOB + b"\0", {"digest": Digest.of(BLOB), "size": len(BLOB) + 1}, DigestMismatch, "wrong content"),
        (BLOB[:-9], {"size": len(BLOB)}, StoreUnwritable, "shorter"),
        (gzip.compress(b"no tar" * 200), {}, InvalidLayer, "not a tar archive"),
        (gzip.compress(file(b"../x") + END), {}, UnsafeEntry, "refusing entry '../x'"),
        (b"", {}, DigestMismatch, "uncompressed layer"),
        (BLOB, {"directory": Path("/nonexistent/dir")}, StoreUnwritable, "No such file"),
    ],
)
async def test_what_the_worker_finds_is_raised_here(
    tmp_path: Path, blob: bytes, change: dict[str, Any], error: type[EngineError], reason: str
) -> None:
    """Errors cross the process border with their class, their facts and their sentence."""
    async with Unpackers(1) as unpackers:
        with pytest.raises(error, match=reason):
            await unpackers.unpack(job(tmp_path, blob, **change), all_of(blob), nobody_listens)
        (tmp_path / "again").mkdir()
        good = job(tmp_path, directory=tmp_path / "again")
        assert (await unpackers.unpack(good, all_of(BLOB), nobody_listens)).entries == 50


async def test_a_layer_can_be_checked_without_being_unpacked(tmp_path: Path) -> None:
    """Without a directory both digests are verified and nothing is written."""
    async with Unpackers(1) as unpackers:
        done = await unpackers.unpack(job(tmp_path, directory=None), all_of(BLOB), nobody_listens)
        assert (done.entries, done.bytes) == (50, 0)
        with pytest.raises(DigestMismatch):
            await unpackers.unpack(job(tmp_path, directory=None, diff_id=OTHER), all_of(BLOB), nobody_listens)


async def test_one_worker_serves_many_layers(tmp_path: Path) -> None:
    """Processes are used again, and never more than allowed are alive."""
    async with Unpackers(2) as unpackers, anyio.create_task_group() as tasks:
        for number in range(6):
            place = tmp_path / str(number)
            place.mkdir()
            tasks.start_soon(unpackers.unpack, job(place), all_of(BLOB), nobody_listens)
        await anyio.wait_all_tasks_blocked()
        assert 1 <= len(children()) <= 2
    assert children() == []


async def test_a_killed_worker_is_one_clear_error(tmp_path: Path) -> None:
    """SIGKILL from outside, the out-of-memory killer say, does not leave us waiting."""

    async def kill_it(have: int) -> int:
        if have:
            os.kill(children()[0], signal.SIGKILL)
            await anyio.sleep_forever()
        return 1000

    async with Unpackers(1) as unpackers:
        with pytest.raises(WorkerDied, match="ended early: exit status -9"):
            await unpackers.unpack(job(tmp_path), kill_it, nobody_listens)


async def test_cancelling_leaves_no_process(tmp_path: Path) -> None:
    """Whoever gives up takes the worker along."""

    async def never(have: int) -> int:
        if have:
            tasks.cancel_scope.cancel()
            await anyio.sleep_forever()
        return 1000

    async with Unpackers(1) as unpackers:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(unpackers.unpack, job(tmp_path), never, nobody_listens)
        assert children() == []


async def test_a_file_longer_than_promised_is_not_read_on(tmp_path: Path) -> None:
    """The size is part of the promise: what follows it is not looked at, and the digest decides."""
    what = job(tmp_path, size=len(BLOB) - 1)
    async with Unpackers(1) as unpackers:
        with pytest.raises((DigestMismatch, SizeMismatch, InvalidLayer)):
            await unpackers.unpack(what, all_of(BLOB[:-1]), nobody_listens)


async def test_a_process_that_cannot_be_started_is_one_clear_error(tmp_path: Path) -> None:
    """No descriptor is left for its pipes."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    async with Unpackers(1) as unpackers:
        resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/proc/self/fd")) + 1, hard))  # noqa: PTH208
        try:
            with pytest.raises(WorkerNotStarted, match="Too many open files"):
                await unpackers.unpack(job(tmp_path), all_of(BLOB), nobody_listens)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
