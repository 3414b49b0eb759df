"""From an image in the store to a process and back, by the library."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path

import anyio
import pytest

from aiodocker_lite import Engine, Mount, RunOptions, Streams
from aiodocker_lite.errors import (
    CommandNotFound,
    ContainerFailed,
    ContainerNameTaken,
    ContainerRunning,
    ImageInUse,
    NoSuchImage,
)
from aiodocker_lite.events import Event, Notice
from aiodocker_lite.testing.images import Image as ImageSpec
from aiodocker_lite.testing.images import Layer, image, layer
from aiodocker_lite.testing.registry import FakeRegistry
from tests.fakes.processes import program
from tests.pipeline.conftest import Disk

REMOVE = RunOptions(remove=True)


@pytest.fixture
async def name(engine: Engine) -> str:
    """The name of a pulled image with busybox in it."""
    upper = layer({"etc/.wh.gone": b"", "etc/here": b"upper"})
    config = {"Cmd": ["/bin/sh", "-c", "echo default"]}
    return await pulled(engine, image(_shell(), layer({"etc/gone": b"lower"}), upper, config=config))


def _shell() -> Layer:
    busybox = Path(program("busybox")).read_bytes()
    passwd = b"root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000::/home:/bin/sh\n"
    return layer({"bin/": b"", "bin/sh": busybox, "etc/": b"", "etc/passwd": passwd, "tmp/": b""}, mode=0o755)


async def pulled(engine: Engine, what: ImageSpec) -> str:
    """Have it served and pulled; returns its name."""
    async with FakeRegistry() as registry:
        registry.add("busybox", "latest", what)
        text = f"{registry.address}/busybox"
        await engine.pull(text)
    return text


def sh(script: str) -> list[str]:
    return ["/bin/sh", "-c", script]


async def test_a_command_runs_in_the_image(engine: Engine, name: str) -> None:
    """Its output comes back, and the image's own command is the default."""
    done = await engine.run(name, sh("echo hi; echo oh >&2; cat /etc/here; ls /etc"), REMOVE)
    assert (done.exit_code, done.stderr) == (0, b"oh\n")
    assert done.stdout == b"hi\nupper" + b"here\nhostname\nhosts\npasswd\nresolv.conf\n"
    assert (await engine.run(name, options=REMOVE)).stdout == b"default\n"


async def test_an_exit_code_is_an_error_only_if_it_shall_be(engine: Engine, name: str) -> None:
    """`check` as in the standard library, with what was written on standard error."""
    assert (await engine.run(name, sh("exit 3"), REMOVE, check=False)).exit_code == 3
    assert (
        await engine.run(name, sh("/bin/sh -c 'kill -9 $$'; exit $?"), REMOVE, check=False)
    ).exit_code == 137
    with pytest.raises(ContainerFailed, match="ended with status 4") as caught:
        await engine.run(name, sh("echo why >&2; exit 4"), REMOVE)
    assert caught.value.stderr == "why\n"


@pytest.fixture
def roomy_disk(disk: Disk) -> Disk:
    """Room for the image, and not much more."""
    disk.remount("size=40m")
    return disk


@pytest.mark.root
async def test_a_container_that_fills_the_disk_has_its_exit_code(
    roomy_disk: Disk, engine: Engine, name: str
) -> None:
    """It is kept where the one before stood; also how one ended that was stopped meanwhile."""
    fill = sh("cat /dev/zero >/tmp/full; exit 7")
    wait = sh("trap 'exit 6' TERM; echo up; while :; do sleep 0.02; done")
    detached = await engine.detach(name, wait, RunOptions(name="other"))
    seen: list[Event] = []
    done = await engine.run(name, fill, RunOptions(name="full"), check=False, progress=seen.append)
    assert done.exit_code == 7
    assert await engine.stop_container("other") == 6
    codes = {
        container.name: (container.exit_code, container.running) for container in await engine.containers()
    }
    assert codes == {"full": (7, False), "other": (6, False)}
    assert await engine.wait_container(detached.id) == 6
    assert not [event for event in seen if isinstance(event, Notice) and "how container" in event.text]
    await engine.remove_container("full")
    await engine.remove_container("other")
    assert (await engine.run(name, sh("exit 8"), REMOVE, check=False)).exit_code == 8


async def test_input_is_passed_on(engine: Engine, name: str) -> None:
    """More than a pipe holds, in both directions at once."""
    data = os.urandom(3_000_000)
    assert (await engine.run(name, ["/bin/sh", "-c", "cat"], REMOVE, input=data)).stdout == data


async def test_options_reach_the_process(engine: Engine, name: str, tmp_path: Path) -> None:
    """Environment, directory, user, volumes and host name."""
    (tmp_path / "file").write_text("from the host")
    tmp_path.chmod(0o755)
    options = RunOptions(
        env={"A": "b c"},
        workdir="/new/dir",
        user="user",
        hostname="box",
        mounts=(Mount("/data", str(tmp_path), read_only=True),),
        remove=True,
    )
    script = 'echo "$A|$PWD|$(id -u)|$HOME|$(hostname)|$(cat /data/file)"; touch /data/x 2>&1'
    done = await engine.run(name, sh(script), options, check=False)
    assert (
        done.stdout == b"b c|/new/dir|1000|/home|box|from the host\ntouch: /data/x: Read-only file system\n"
    )


async def test_a_container_writes_into_its_own_layer(engine: Engine, name: str) -> None:
    """What it writes is gone with it, and the image stays as it was."""
    await engine.run(name, sh("echo x > /etc/passwd; rm -r /etc/here"), REMOVE)
    assert b"root" in (await engine.run(name, sh("cat /etc/passwd /etc/here"), REMOVE)).stdout
    assert await engine.containers() == []


async def test_a_container_stays_until_it_is_removed(engine: Engine, name: str) -> None:
    """With its name, its exit code and its image; which then cannot be removed."""
    await engine.run(name, sh("exit 5"), RunOptions(name="kept"), check=False)
    (container,) = await engine.containers()
    assert (container.name, container.exit_code, container.running) == ("kept", 5, False)
    with pytest.raises(ContainerNameTaken, match='"/kept" is already in use'):
        await engine.run(name, sh("true"), RunOptions(name="kept"))
    with pytest.raises(ImageInUse, match="kept"):
        await engine.remove(name)
    await engine.remove_container("kept")
    removed = await engine.remove(name)
    assert len(removed.untagged) == 1
    assert len(removed.deleted) == 8, "three layers as blob and unpacked, configuration and manifest"


async def test_a_running_container_can_be_talked_to(engine: Engine, name: str) -> None:
    """Through pipes, with signals, and it cannot be removed meanwhile."""
    script = "trap 'echo term; exit 7' TERM; echo ready; while read line; do echo got $line; done; sleep 100 & wait"
    async with engine.start(name, sh(script), REMOVE, streams=Streams.captured(has_input=True)) as running:
        assert running.stdout is not None
        assert running.stdin is not None
        assert await running.stdout.receive() == b"ready\n"
        await running.stdin.send(b"one\n")
        assert await running.stdout.receive() == b"got one\n"
        with pytest.raises(ContainerRunning):
            await engine.remove_container(running.id)
        await running.stdin.aclose()
        running.signal(15)
        with anyio.fail_after(10):
            assert await running.wait() == 7


@pytest.mark.parametrize(("chosen", "code"), [(None, 9), ("USR1", 8)])
async def test_an_image_with_an_unknown_stop_signal_is_stopped_with_the_usual_one(
    engine: Engine, chosen: str | None, code: int
) -> None:
    """It runs, as with docker, with a warning; whose option names a better one hears nothing of it."""
    name = await pulled(engine, image(_shell(), config={"StopSignal": "NOPE"}))
    said: list[Event] = []
    script = sh("trap 'exit 9' TERM; trap 'exit 8' USR1; echo up; while :; do sleep 0.02; done")
    options = replace(REMOVE, stop_signal=chosen)
    async with engine.start(
        name, script, options, streams=Streams.captured(), progress=said.append
    ) as running:
        assert running.stdout is not None
        await running.stdout.receive()
        assert await running.stop() == code
    with anyio.fail_after(20):
        detached = await engine.detach(name, script, replace(options, remove=False))
        while not Path(detached.path, "log.jsonl").stat().st_size:
            await anyio.sleep(0.01)
        assert await engine.stop_container(detached.id) == code
    await engine.remove_container(detached.id)
    warning = "Warning: There is no signal 'NOPE', which the image wants to be stopped with. Using SIGTERM."
    assert (Notice(warning) in said) is (chosen is None)


async def test_more_processes_can_join_a_running_one(engine: Engine, name: str) -> None:
    """With pipes of their own and codes of their own, by the object or by name; and it can be killed."""
    from aiodocker_lite import ExecOptions, Streams

    async with engine.start(name, sh("echo up; sleep 1000"), REMOVE, streams=Streams.captured()) as running:
        assert running.stdout is not None
        await running.stdout.receive()
        options = ExecOptions(env={"A": "b"})
        async with running.exec(sh("echo $A; exit 3"), options, streams=Streams.captured()) as process:
            assert process.stdout is not None
            assert await process.stdout.receive() == b"b\n"
            assert await process.wait() == 3
        async with engine.exec(running.id, sh("exit 4")) as process:
            assert await process.wait() == 4
        running.kill()
        assert await running.wait() == 137


async def test_leaving_the_block_ends_the_container(engine: Engine, name: str) -> None:
    """Also when it ignores what it is asked; nothing is left of it."""
    async with engine.start(name, sh("echo up; sleep 1000"), REMOVE, streams=Streams.captured()) as running:
        pid = running.process.pid
        assert running.stdout is not None
        await running.stdout.receive()
    assert not Path(f"/proc/{pid}").exists()
    assert await engine.containers() == []


async def test_what_cannot_be_run_is_one_sentence(engine: Engine, name: str) -> None:
    """An unknown command, an unknown image; a missing image is announced before it is pulled."""
    with pytest.raises(CommandNotFound, match='exec: "nothing": executable file not found'):
        await engine.run(name, ["nothing"], REMOVE)
    events: list[Event] = []
    with pytest.raises(Exception, match="cannot reach localhost:1"):
        await engine.run("localhost:1/nothing", progress=events.append)
    assert Notice("Unable to find image 'localhost:1/nothing:latest' locally") in events
    with pytest.raises(NoSuchImage):
        await engine.image("localhost:1/nothing")


async def test_the_environment_is_announced(engine: Engine, name: str) -> None:
    """The line that users know comes before anything runs."""
    events: list[Event] = []
    await engine.run(name, sh("true"), REMOVE, progress=events.append)
    (notice,) = [event for event in events if isinstance(event, Notice)]
    assert notice.text.startswith("Environment detected: inContainer=")


async def test_many_processes_run_containers_of_one_store_at_once(engine: Engine, name: str) -> None:
    """Nobody takes what another has just made for something left over."""
    script = (
        "import anyio, sys; from pathlib import Path; from aiodocker_lite import Engine, RunOptions, Settings\n"
        "async def main():\n"
        "    async with Engine(Settings(root=Path(sys.argv[1]))) as engine:\n"
        "        await engine.run(sys.argv[2], ['/bin/sh', '-c', 'true'], RunOptions(remove=True))\n"
        "anyio.run(main)"
    )
    command = [sys.executable, "-c", script, str(engine.settings.root), name]
    for _ in range(4):
        async with anyio.create_task_group() as tasks:
            for _ in range(8):
                tasks.start_soon(anyio.run_process, command)


async def test_a_relative_root_is_below_the_current_directory(
    engine: Engine, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other processes that need the store have other working directories."""
    root = engine.settings.root
    monkeypatch.chdir(root.parent)
    async with Engine(replace(engine.settings, root=Path(root.name))) as other:
        assert (await other.run(name, sh("echo here"), REMOVE)).stdout == b"here\n"
