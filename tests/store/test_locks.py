"""Locks hold between processes and tasks, and never longer than whoever took them."""

from __future__ import annotations

import itertools
import subprocess
import sys
import threading
from pathlib import Path

import anyio
import pytest
from anyio.lowlevel import checkpoint

from aiodocker_lite.errors import StoreUnwritable
from aiodocker_lite.store.locks import hold, hold_now, is_held
from tests.store.filling import descriptors, descriptors_before, end, python

HOLD = """
import anyio, sys
from pathlib import Path
from aiodocker_lite.store.locks import hold

async def main():
    async with hold(Path(sys.argv[1]), shared="shared" in sys.argv, on_wait=lambda: print("waiting", flush=True)):
        print("holding", flush=True)
        sys.stdin.readline()

anyio.run(main)
"""
COUNT = """
import anyio, sys
from pathlib import Path
from aiodocker_lite.store.locks import hold
lock, counter = map(Path, sys.argv[1:])

async def count():
    for _ in range(25):
        async with hold(lock):
            seen = int(counter.read_text())
            await anyio.lowlevel.checkpoint()
            counter.write_text(str(seen + 1))

async def main():
    async with anyio.create_task_group() as tasks:
        for _ in range(3):
            tasks.start_soon(count)

anyio.run(main)
"""


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    """Where a lock is."""
    return tmp_path / "lock"


def holder(lock: Path, *how: str, says: str = "holding") -> subprocess.Popen[str]:
    """A process that holds the lock, or waits for it, until its input ends."""
    process = python(HOLD, lock, *how)
    assert process.stdout is not None
    assert process.stdout.readline() == f"{says}\n"
    return process


def no_thread_waits() -> None:
    """Wait for the threads of waiters that have given up."""
    for thread in threading.enumerate():
        if thread.name == "lock":
            thread.join(10)
            assert not thread.is_alive()


def test_one_process_holds_it(lock: Path) -> None:
    """Others see that it is taken, and when it is free."""
    process = holder(lock)
    with hold_now(lock) as held:
        assert not held
    assert is_held(lock)
    end(process)
    with hold_now(lock) as held:
        assert held
    assert not is_held(lock)


def test_a_killed_process_holds_nothing(lock: Path) -> None:
    """The kernel frees its locks, and the file that stays means nothing (S07)."""
    process = holder(lock)
    process.kill()
    process.communicate()
    with hold_now(lock) as held:
        assert held


async def test_who_waits_gets_it_when_the_holder_dies(lock: Path) -> None:
    """The wait is announced, and the death of another process ends it."""
    process = holder(lock)
    async with hold(lock, on_wait=process.kill):
        assert is_held(lock)
    process.communicate()
    assert not is_held(lock)


def test_a_process_can_wait_for_another(lock: Path) -> None:
    """The second has it when the first has let it go."""
    first = holder(lock)
    second = holder(lock, says="waiting")
    end(first)
    assert second.stdout is not None
    assert second.stdout.readline() == "holding\n"
    assert is_held(lock)
    end(second)


async def test_nobody_waits_for_a_free_lock(lock: Path) -> None:
    """`on_wait` is only told of a wait."""
    waits: list[str] = []
    async with hold(lock, on_wait=lambda: waits.append("first")):
        async with hold(lock.with_name("other"), on_wait=lambda: waits.append("other")):
            pass
        async with anyio.create_task_group() as tasks:

            def told() -> None:
                waits.append("second")
                tasks.cancel_scope.cancel()

            async with hold(lock, on_wait=told):
                pass
    assert waits == ["second"]


async def test_a_shared_lock_has_many_holders(lock: Path) -> None:
    """They do not wait for each other; who wants it alone does not get it."""
    process = holder(lock, "shared")
    async with hold(lock, shared=True), hold(lock, shared=True):
        with hold_now(lock) as alone:
            assert not alone
    end(process)
    with hold_now(lock) as alone:
        assert alone


def test_asking_disturbs_nobody(lock: Path) -> None:
    """Two who ask at the same moment whether it is held do not take each other for its holder."""
    with hold_now(lock):
        pass
    process = holder(lock, "shared")
    assert not is_held(lock)
    end(process)
    assert not is_held(lock.with_name("missing"))
    assert not lock.with_name("missing").exists()


def test_nothing_is_lost_among_processes_and_tasks(tmp_path: Path) -> None:
    """Read, wait, write: under a lock nobody comes between."""
    counter = tmp_path / "counter"
    counter.write_text("0")
    for process in [python(COUNT, tmp_path / "lock", counter) for _ in range(3)]:
        end(process)
    assert counter.read_text() == str(3 * 3 * 25)


async def test_a_waiter_that_gives_up_keeps_nothing(lock: Path) -> None:
    """Its thread gets the lock one day and gives it up at once."""
    before = descriptors_before()
    with hold_now(lock):
        with anyio.CancelScope() as scope:
            async with hold(lock, on_wait=scope.cancel):
                raise AssertionError("it cannot have it")
    assert scope.cancelled_caught
    await anyio.to_thread.run_sync(no_thread_waits)
    assert not is_held(lock)
    assert descriptors() == before


async def test_a_waiter_can_give_up_at_any_moment(lock: Path) -> None:
    """Also when the lock comes at that moment: after 0, 1, 2, ... turns of the loop it is free (no handover is lost)."""
    before = descriptors_before()
    ends = set()
    for turns in itertools.count():
        got_it = False
        async with anyio.create_task_group() as tasks:

            async def wait() -> None:
                nonlocal got_it
                async with hold(lock):
                    got_it = True
                tasks.cancel_scope.cancel()

            with hold_now(lock):
                tasks.start_soon(wait)
                await anyio.wait_all_tasks_blocked()
            for _ in range(turns):
                await checkpoint()
            tasks.cancel_scope.cancel()
        await anyio.to_thread.run_sync(no_thread_waits)
        assert not is_held(lock)
        assert descriptors() == before
        ends.add(got_it)
        if turns > 100 and ends == {True, False}:
            break


async def test_an_error_while_announcing_keeps_nothing(lock: Path) -> None:
    """What `on_wait` raises is raised, and the file is closed."""
    before = descriptors_before()

    def fail() -> None:
        raise ValueError("a progress bar broke")

    with hold_now(lock), pytest.raises(ValueError, match="broke"):
        async with hold(lock, on_wait=fail):
            pass
    assert descriptors() == before


def test_an_event_loop_may_end_before_its_locks_come(lock: Path) -> None:
    """A later loop of the same process finds the lock free."""

    async def wait_in_vain() -> None:
        with anyio.CancelScope() as scope:
            async with hold(lock, on_wait=scope.cancel):
                pass

    with hold_now(lock):
        anyio.run(wait_in_vain)
    no_thread_waits()
    with hold_now(lock) as held:
        assert held


def test_a_child_does_not_keep_it(lock: Path) -> None:
    """What a process starts while it holds a lock inherits nothing of it."""
    with hold_now(lock):
        child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    with hold_now(lock) as held:
        assert held
    child.communicate(b"\n")


async def test_a_store_that_was_deleted_is_one_sentence(lock: Path) -> None:
    """No directory, no lock (S12)."""
    missing = lock.parent / "gone" / "lock"
    with pytest.raises(StoreUnwritable, match="No such file"):
        async with hold(missing):
            pass
    with pytest.raises(StoreUnwritable, match="No such file"), hold_now(missing):
        pass
