"""Starting, watching and ending a container."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from subprocess import PIPE

import anyio
import pytest
from anyio.streams.buffered import BufferedByteReceiveStream

from aiodocker_lite.errors import (
    CommandNotExecutable,
    CommandNotFound,
    EngineError,
    InvalidUser,
    SetupFailed,
)
from aiodocker_lite.options import RunOptions
from aiodocker_lite.runtime.ladder import probe
from aiodocker_lite.runtime.launch import launch
from aiodocker_lite.users import User, resolve_user
from tests.fakes.processes import descendants
from tests.runtime import driver
from tests.runtime.conftest import HERE, Run

Check = Callable[[], Awaitable[None]]

LOOPS = [("asyncio", {"use_uvloop": False}), ("asyncio", {"use_uvloop": True})]


def has_ended(pidfd: int, seconds: float) -> bool:
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(seconds * 1000))


@pytest.fixture
async def nothing_left(tmp_path: Path) -> Check:
    """Checks that no process, descriptor or mount came with what was done since."""

    def state() -> tuple[set[int], list[str], bool]:
        has_mounts = str(tmp_path) in Path("/proc/self/mountinfo").read_text()
        return descendants(), sorted(path.name for path in Path("/proc/self/fd").iterdir()), has_mounts

    # An event loop opens some things when it first needs them.
    await anyio.run_process(["true"])
    before = state()

    async def check() -> None:
        # Event loops close what is left of a cancelled start in their next turns.
        with anyio.move_on_after(2):
            while state() != before:
                await anyio.sleep(0.01)
        assert state() == before

    return check


@pytest.mark.parametrize("anyio_backend", LOOPS, ids=["asyncio", "uvloop"])
@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("true", 0),
        ("exit 3", 3),
        ("exit 255", 255),
        ("kill -9 $$", 0),  # process 1 does not hear its own signals
        ("sh -c 'kill -9 $$'; exit $?", 137),
        ("sh -c 'kill -TERM $$'; exit $?", 143),
    ],
)
async def test_the_exit_code_is_the_commands(script: Run, text: str, code: int) -> None:
    """As a shell would say it, on both event loops."""
    assert (await script(text)).code == code


@pytest.mark.parametrize(
    ("command", "kind", "code", "text"),
    [
        (["nope"], CommandNotFound, 127, "executable file not found"),
        (["/no/such/file"], CommandNotFound, 127, "executable file not found"),
        (["/etc/passwd/x"], CommandNotFound, 127, "executable file not found"),
        (["/etc"], CommandNotExecutable, 126, "is a directory"),
        (["/etc/passwd"], CommandNotExecutable, 126, "permission denied"),
        (["/garbage"], CommandNotExecutable, 126, "exec format error"),
        (["/bad-interpreter"], CommandNotFound, 127, "interpreter or loader"),
        (["/bin/echo", "x" * 200_000], CommandNotExecutable, 126, "argument list too long"),
    ],
)
async def test_a_command_that_cannot_start(
    run: Run, above: Path, command: list[str], kind: type[EngineError], code: int, text: str
) -> None:
    """Not there is 127, there and no use is 126; both before anything ran."""
    for name, content in (("garbage", b"\x00\x01garbage"), ("bad-interpreter", b"#!/no/such/shell\n")):
        (above / name).write_bytes(content)
        (above / name).chmod(0o755)
    with pytest.raises(kind, match=text) as caught:
        await run(*command, above=[above])
    assert caught.value.exit_code == code


async def test_a_program_is_found_by_the_containers_path(run: Run, above: Path) -> None:
    """The PATH is that of the spec; what cannot be executed there does not hide what can."""
    for directory, mode in (("first", 0o644), ("second", 0o755)):
        (above / directory).mkdir()
        (above / directory / "tool").write_text(f"#!/bin/sh\necho {directory}\n")
        (above / directory / "tool").chmod(mode)
    options = RunOptions(env={"PATH": "relative::/nowhere:/first:/second/:/bin"})
    assert (await run("tool", above=[above], options=options)).out == "second\n"


async def test_streams_go_both_ways(run: Run) -> None:
    """Standard input arrives, whole, and ends; the outputs are apart."""
    content = os.urandom(300_000).hex().encode()
    done = await run("/bin/sh", "-c", "cat; echo problem >&2", input=content)
    assert done.out.encode() == content
    assert done.err == "problem\n"


async def test_standard_input_is_empty_unless_asked_for(script: Run) -> None:
    """Nothing is taken from the caller's."""
    assert (await script("wc -c; readlink /proc/self/fd/0")).lines == ["0", "/dev/null"]


async def test_a_user_that_is_not_there_ends_it_all(run: Run, nothing_left: Check) -> None:
    """What `resolve_user` raises is raised here."""
    with pytest.raises(InvalidUser, match="unable to find user eve"):
        await run("/bin/true", options=RunOptions(user="eve"))
    await nothing_left()


async def test_a_signal_reaches_the_first_process(layer: Path, tmp_path: Path, isolated: None) -> None:
    """A handler runs, and its exit code is the container's."""
    text = "trap 'echo caught; exit 7' TERM; echo ready; while true; do sleep 0.05; done"
    async with driver.started([layer], tmp_path / "c", ["/bin/sh", "-c", text]) as process:
        assert process.stdout is not None
        lines = BufferedByteReceiveStream(process.stdout)
        assert await lines.receive_until(b"\n", 100) == b"ready"
        assert process.returncode is None
        process.signal(signal.SIGTERM)
        assert await lines.receive_until(b"\n", 100) == b"caught"
        assert await process.wait() == 7
        process.signal(signal.SIGTERM)  # to nobody, which is no error
    assert process.returncode == 7


async def test_leaving_asks_first_and_kills_then(
    layer: Path, tmp_path: Path, isolated: None, nothing_left: Check
) -> None:
    """A process with a handler gets its grace; one without, which would not hear, is not waited for."""
    text = "trap 'echo bye; exit 0' TERM; echo ready; while true; do sleep 0.05; done"
    for command, code in ((["/bin/sh", "-c", text], 0), (["/bin/sleep", "1000"], 137)):
        with anyio.fail_after(5):
            async with driver.started([layer], tmp_path / f"c{code}", command) as process:
                if code == 0:
                    assert process.stdout is not None
                    assert await process.stdout.receive() == b"ready\n"
        assert process.returncode == code
    await nothing_left()


async def test_a_stubborn_process_is_killed_after_its_grace(
    layer: Path, tmp_path: Path, isolated: None
) -> None:
    """A handler that does nothing wins some time, no more."""
    text = "trap 'echo no' TERM; echo ready; while true; do sleep 0.05; done"
    async with driver.started([layer], tmp_path / "c", ["/bin/sh", "-c", text], grace=0.2) as process:
        assert process.stdout is not None
        await process.stdout.receive()
    assert process.returncode == 137


@pytest.mark.parametrize("anyio_backend", LOOPS, ids=["asyncio", "uvloop"])
@pytest.mark.parametrize("turns", [0, 1, 2, 3, 5, 8, 13, 21, 34])
async def test_a_cancelled_start_leaves_nothing(
    layer: Path, tmp_path: Path, isolated: None, nothing_left: Check, turns: int
) -> None:
    """Whenever it comes: no process, no descriptor, no mount is left."""
    with anyio.CancelScope() as scope:

        async def cancel() -> None:
            for _ in range(turns):
                await anyio.sleep(0.001)
            scope.cancel()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(cancel)
            await driver.run([layer], tmp_path / "c", ["/bin/sleep", "1000"])
    assert scope.cancelled_caught
    await nothing_left()


async def test_many_at_once(layer: Path, tmp_path: Path, isolated: None, nothing_left: Check) -> None:
    """Twelve containers side by side keep their results apart, and leave nothing."""
    codes = {}

    async def one(number: int) -> None:
        done = await driver.run([layer], tmp_path / f"c{number}", ["/bin/sh", "-c", f"exit {number}"])
        codes[number] = done.code

    async with anyio.create_task_group() as tasks:
        for number in range(12):
            tasks.start_soon(one, number)
    assert codes == {number: number for number in range(12)}
    await nothing_left()


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
@pytest.mark.parametrize(
    "text",
    [
        "exec sleep 1000",
        # Another user, for whom the kernel forgets that the process was to die with its parent.
        "exec su -s /bin/sh bob -c 'exec sleep 1000'",
        "setsid sleep 1000 & trap '' TERM HUP INT; while true; do sleep 1; done",
    ],
)
@pytest.mark.root
def test_nothing_survives_a_killed_engine(
    layer: Path, tmp_path: Path, as_root: None, text: str, loop: str
) -> None:
    """SIGKILL for the engine is the end of the container, and of whatever it has become."""
    job = {"layers": [str(layer)], "container": str(tmp_path / "c"), "command": ["/bin/sh", "-c", text]}
    command = [sys.executable, str(HERE / "driver.py"), json.dumps({**job, "stay": True})]
    environment = {**os.environ, "DRIVER_LOOP": loop}
    with subprocess.Popen(command, stdout=PIPE, text=True, env=environment) as engine:
        assert engine.stdout is not None
        pid = int(engine.stdout.readline())
        below = {engine.pid, pid}
        pidfds = [os.pidfd_open(other) for other in descendants() | below]
        engine.kill()
        try:
            assert all(has_ended(pidfd, 5) for pidfd in pidfds)
        finally:
            for pidfd in pidfds:
                os.close(pidfd)


async def test_a_helper_that_dies_takes_the_container_with_it(
    layer: Path, tmp_path: Path, isolated: None
) -> None:
    """Whichever of the watching processes is killed, the container ends, and the engine sees it."""
    for number in range(2):
        container = tmp_path / f"c{number}"
        async with driver.started([layer], container, ["/bin/sleep", "1000"]) as process:
            watching = sorted(descendants() - {process.pid})
            assert len(watching) == 2
            os.kill(watching[number], signal.SIGKILL)
            with anyio.fail_after(5):
                assert await process.wait() == 137


async def test_a_starter_that_dies_early_is_said(layer: Path, tmp_path: Path, isolated: None) -> None:
    """A process that ends without a word becomes one sentence, not an endless wait."""

    def kill_and_resolve(text: str, passwd: bytes, group: bytes) -> User:
        for pid in descendants():
            with suppress(ProcessLookupError):  # it may have died with another
                os.kill(pid, signal.SIGKILL)
        return resolve_user(text, passwd, group)

    ladder = probe(tmp_path)
    spec, plan = driver.prepare(
        [layer], tmp_path / "c", ["/bin/true"], RunOptions(), driver.image_config(), ladder
    )
    with anyio.fail_after(5), pytest.raises(SetupFailed, match="ended early"):
        async with launch(spec, plan, ladder.rung, resolve_user=kill_and_resolve):
            raise AssertionError
