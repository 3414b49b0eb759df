"""Run one container as a conductor would, from a test or as a program of its own.

As a program it takes a job as JSON and prints what came of it as JSON: for tests that need
another user, or a process that can be killed.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from subprocess import DEVNULL, PIPE
from typing import Any

import anyio
from anyio.abc import ByteReceiveStream

from aiodocker_lite.bundle import build_spec
from aiodocker_lite.digest import Digest
from aiodocker_lite.errors import EngineError
from aiodocker_lite.exec import execute
from aiodocker_lite.manifest import ImageConfig, RunDefaults
from aiodocker_lite.options import ExecOptions, Mount, RunOptions, Streams
from aiodocker_lite.platforms import Platform
from aiodocker_lite.runtime.ladder import Ladder, Rung, probe
from aiodocker_lite.runtime.launch import Target, launch
from aiodocker_lite.runtime.network import write_network_files
from aiodocker_lite.runtime.oci import find_backend
from aiodocker_lite.runtime.process import ContainerProcess
from aiodocker_lite.snapshot import RootfsPlan, flatten, plan_rootfs
from aiodocker_lite.users import resolve_user

Joined = AbstractAsyncContextManager[ContainerProcess]
Join = Callable[..., Joined]
HOSTNAME = "0123456789ab"


@dataclass(frozen=True)
class Outcome:
    """What a container left behind."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()


def image_config(**defaults: Any) -> ImageConfig:
    """An image configuration with these defaults for running."""
    return ImageConfig(b"", Digest.of(b""), Platform.here(), (), RunDefaults(**defaults))


def prepare(
    layers: Sequence[Path],
    container: Path,
    command: Sequence[str],
    options: RunOptions,
    image: ImageConfig,
    ladder: Ladder,
) -> tuple[dict[str, Any], RootfsPlan]:
    """The spec and the root file system of a container."""
    container.mkdir(mode=0o700, exist_ok=True)
    userxattr = ladder.rung is Rung.USER_NAMESPACES
    plan = plan_rootfs(layers, container, overlay=ladder.overlay, userxattr=userxattr)
    if plan.upper is None:
        flatten(plan)
    spec = build_spec(
        image,
        command,
        options,
        rootfs=plan.root,
        hostname=HOSTNAME,
        files=write_network_files(container, options.hostname or HOSTNAME, options),
        uid_map=ladder.uid_map,
        gid_map=ladder.gid_map,
        terminal=options.terminal,
    )
    return spec, plan


@asynccontextmanager
async def started(
    layers: Sequence[Path],
    container: Path,
    command: Sequence[str],
    *,
    options: RunOptions | None = None,
    image: ImageConfig | None = None,
    rung: Rung | None = None,
    **streams: Any,
) -> AsyncIterator[ContainerProcess]:
    """A container, as `launch` gives it."""
    ladder = probe(container.parent)
    options = options or RunOptions()
    spec, plan = prepare(layers, container, command, options, image or image_config(), ladder)
    streams = {"stdout": PIPE, "stderr": PIPE, **streams}
    resolve = partial(resolve_user, more=options.groups)
    backend = find_backend(options.runtime)
    async with launch(
        spec, plan, rung or ladder.rung, resolve_user=resolve, backend=backend, **streams
    ) as process:
        yield process


async def run(
    layers: Sequence[Path],
    container: Path,
    command: Sequence[str],
    *,
    input: bytes | None = None,
    **more: Any,
) -> Outcome:
    """Run a container to its end."""
    stdin = DEVNULL if input is None else PIPE
    async with started(layers, container, command, **{"stdin": stdin, **more}) as process:
        return await outcome(process, input)


async def outcome(process: ContainerProcess, input: bytes | None = None) -> Outcome:
    """Feed a process, and read it to its end."""
    found = {"out": b"", "err": b""}

    async def collect(name: str, stream: ByteReceiveStream | None) -> None:
        if stream is not None:
            async for chunk in stream:
                found[name] += chunk

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(collect, "out", process.stdout)
        if process.terminal is None:
            tasks.start_soon(collect, "err", process.stderr)
        if process.stdin is not None and input is not None:
            await process.stdin.send(input)
            if process.terminal is None:
                await process.stdin.aclose()
    return Outcome(await process.wait(), found["out"].decode(), found["err"].decode())


@asynccontextmanager
async def joinable(
    layers: Sequence[Path],
    container: Path,
    command: Sequence[str],
    *,
    options: RunOptions | None = None,
    image: ImageConfig | None = None,
) -> AsyncIterator[Join]:
    """A container that runs, and what starts one more process in it."""
    ladder = probe(container.parent)
    options = options or RunOptions()
    spec, plan = prepare(layers, container, command, options, image or image_config(), ladder)
    async with launch(
        spec, plan, ladder.rung, resolve_user=resolve_user, stdout=DEVNULL, grace=0,
        backend=find_backend(options.runtime),
    ) as first:  # fmt: skip

        def join(command: Sequence[str], options: ExecOptions | None = None, **streams: Any) -> Joined:
            target = Target(first.pid, first.pidfd, ladder.rung, plan.root)
            given = Streams(**{"stdout": PIPE, "stderr": PIPE, **streams})
            return execute(spec, target, command, options, given)

        yield join


async def perform(job: dict[str, Any]) -> None:
    """Do a job, or many of them side by side; say on standard output what came of it."""
    if "batch" not in job:
        answer = await answer_to(job)
        if answer is not None:
            print(json.dumps(answer))
        return
    answers: dict[str, Any] = {}
    limiter = anyio.CapacityLimiter(3)

    async def do(name: str, one: dict[str, Any]) -> None:
        async with limiter:
            answers[name] = await answer_to(one)

    async with anyio.create_task_group() as tasks:
        for name, one in job["batch"].items():
            tasks.start_soon(do, name, one)
    print(json.dumps(answers))


async def answer_to(job: dict[str, Any]) -> dict[str, Any] | None:
    """What came of a job; None for one that only stays."""
    layers, container = [Path(layer) for layer in job["layers"]], Path(job["container"])
    mounts = tuple(Mount(**mount) for mount in job.get("mounts", ()))
    options = RunOptions(mounts=mounts, **job.get("options", {}))
    image = image_config(**job.get("image", {}))
    if job.get("stay"):
        async with started(layers, container, job["command"], options=options, image=image) as process:
            print(process.pid, flush=True)
            await process.wait()
        return None
    ladder = probe(container.parent)
    answer: dict[str, Any] = {"rung": ladder.rung, "warnings": ladder.warnings, "cause": ladder.cause}
    answer["line"] = ladder.environment_line
    try:
        if (more := job.get("exec")) is not None:
            first = ["/bin/sh", "-c", "echo >ready; exec sleep 1000"]
            async with (
                joinable(layers, container, first, options=options, image=image) as join,
                join(job["command"], ExecOptions(**more)) as process,
            ):
                answer |= asdict(await outcome(process))
        else:
            answer |= asdict(await run(layers, container, job["command"], options=options, image=image))
    except EngineError as error:
        answer |= {"slug": error.slug, "message": str(error), "code": error.exit_code}
    return answer


if __name__ == "__main__":
    if os.environ.get("DRIVER_LOOP") == "uvloop":
        anyio.run(perform, json.loads(sys.argv[1]), backend_options={"use_uvloop": True})
    else:
        anyio.run(perform, json.loads(sys.argv[1]))
