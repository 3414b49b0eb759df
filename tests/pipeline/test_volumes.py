"""Volumes that an image asks for, and what a run with limits leaves behind."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from subprocess import PIPE

import anyio
import pytest

from aiodocker_lite import Engine, Mount, RunOptions, Streams
from aiodocker_lite.runtime import cgroups
from aiodocker_lite.testing.images import image, layer
from aiodocker_lite.testing.registry import FakeRegistry
from tests.fakes.processes import program


@pytest.fixture
async def name(engine: Engine) -> str:
    """The name of a pulled image with a shell, and with volumes that make sense and others."""
    shell = layer({"bin/": b"", "bin/sh": Path(program("busybox")).read_bytes()}, mode=0o755)
    content = layer({"data/": b"", "data/first": b"one\n"})
    volumes: dict[str, object] = {target: {} for target in ("/data", "/new/place", "/", "/proc/x", "/dev")}
    async with FakeRegistry() as registry:
        registry.add("app", "latest", image(shell, content, config={"Volumes": volumes}))
        await engine.pull(f"{registry.address}/app")
        return f"{registry.address}/app"


def sh(script: str) -> list[str]:
    return ["/bin/sh", "-c", script]


async def test_volumes_of_an_image_can_be_written(engine: Engine, name: str) -> None:
    """Where the root cannot; they begin as the image has them, and go with the container."""
    options = RunOptions(read_only=True, remove=True)
    script = "cat /data/first; echo x > /data/first && echo y > /new/place/y; cat /data/first; echo z > /z"
    done = await engine.run(name, sh(script), options, check=False)
    assert (done.stdout, done.exit_code) == (b"one\nx\n", 1)
    again = await engine.run(name, sh("cat /data/first"), options)
    assert again.stdout == b"one\n"
    assert list(engine.store.paths.containers.iterdir()) == []
    assert engine.store.volumes.all() == []


async def test_a_volume_of_the_caller_takes_its_place(engine: Engine, name: str, tmp_path: Path) -> None:
    """A named one, which stays; a path of the host, which is not filled."""
    named = RunOptions(mounts=(Mount("/data", "kept"),), remove=True)
    await engine.run(name, sh("echo two >> /data/first"), named)
    assert (await engine.run(name, sh("cat /data/first"), named)).stdout == b"one\ntwo\n"
    empty = RunOptions(mounts=(Mount("/data", "bare", options=("nocopy",)),), remove=True)
    assert (await engine.run(name, sh("ls /data"), empty)).stdout == b""
    host = RunOptions(mounts=(Mount("/data", str(tmp_path / "made"), create=True),), remove=True)
    assert (await engine.run(name, sh("ls /data"), host)).stdout == b""
    assert [volume.name for volume in engine.store.volumes.all()] == ["bare", "kept"]


async def test_many_may_have_a_volume_at_once(engine: Engine, name: str) -> None:
    """The first of them fills it, and nobody sees half of it."""
    found = []

    async def one() -> None:
        options = RunOptions(mounts=(Mount("/data", "shared"),), remove=True)
        found.append((await engine.run(name, sh("cat /data/first"), options)).stdout)

    async with anyio.create_task_group() as tasks:
        for _ in range(6):
            tasks.start_soon(one)
    assert found == [b"one\n"] * 6


@pytest.mark.root
async def test_limits_leave_nothing_behind(engine: Engine, name: str) -> None:
    """Twelve at once, each in a group of its own."""
    base = cgroups._hierarchies().first.get("pids")
    if base is None or not os.access(base, os.W_OK):
        pytest.skip("needs version 1 of pids")

    async def one(limit: int) -> Path:
        options, streams = RunOptions(pids_limit=limit, remove=True), Streams.captured()
        script = sh("cat /sys/fs/cgroup/pids/pids.max; read line")
        async with engine.start(name, script, options, streams=replace(streams, stdin=PIPE)) as running:
            assert running.stdout is not None
            assert await running.stdout.receive() == f"{limit}\n".encode()
            group = base / f"{cgroups.PREFIX}{running.id}"
            assert group.is_dir()
        return group

    groups: list[Path] = []

    async def keep(limit: int) -> None:
        groups.append(await one(limit))

    async with anyio.create_task_group() as tasks:
        for number in range(12):
            tasks.start_soon(keep, 5 + number)
    assert len(groups) == 12
    assert not any(group.exists() for group in groups)
