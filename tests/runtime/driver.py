"""Run one container as a conductor would, from a test or as a program of its own.

As a program it takes a job as JSON and prints what came of it as JSON: for tests that need
another user, or a process that can be killed.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from subprocess import DEVNULL, PIPE
from typing import Any

import anyio
from anyio.abc import ByteReceiveStream

from aiodocker_lite.bundle import build_spec
from aiodocker_lite.digest import Digest
from aiodocker_lite.errors import EngineError
from aiodocker_lite.manifest import ImageConfig, RunDefaults
from aiodocker_lite.options import Mount, RunOptions
from aiodocker_lite.platforms import Platform
from aiodocker_lite.runtime.ladder import Ladder, Rung, probe
from aiodocker_lite.runtime.launch import launch
from aiodocker_lite.runtime.network import write_network_files
from aiodocker_lite.runtime.process import ContainerProcess
from aiodocker_lite.snapshot import RootfsPlan, flatten, plan_rootfs
from aiodocker_lite.users import resolve_user

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
        files=write_network_files(container, options.hostname or HOSTNAME),
        uid_map=ladder.uid_map,
        gid_map=ladder.gid_map,
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
    spec, plan = prepare(layers, container, command, options or RunOptions(), image or image_config(), ladder)
    streams = {"stdout": PIPE, "stderr": PIPE, **streams}
    async with launch(spec, plan, rung or ladder.rung, resolve_user=resolve_user, **streams) as process:
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
    found = {"out": b"", "err": b""}

    async def collect(name: str, stream: ByteReceiveStream) -> None:
        async for chunk in stream:
            found[name] += chunk

    stdin = DEVNULL if input is None else PIPE
    async with started(layers, container, command, **{"stdin": stdin, **more}) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(collect, "out", process.stdout)
            tasks.start_soon(collect, "err", process.stderr)
            if process.stdin is not None and input is not None:
                await process.stdin.send(input)
                await process.stdin.aclose()
        code = await process.wait()
    return Outcome(code, found["out"].decode(), found["err"].decode())


async def perform(job: dict[str, Any]) -> None:
    """Do a job; say on standard output what came of it."""
    layers, container = [Path(layer) for layer in job["layers"]], Path(job["container"])
    mounts = tuple(Mount(**mount) for mount in job.get("mounts", ()))
    options = RunOptions(mounts=mounts, **job.get("options", {}))
    image = image_config(**job.get("image", {}))
    if job.get("stay"):
        async with started(layers, container, job["command"], options=options, image=image) as process:
            print(process.pid, flush=True)
            await process.wait()
        return
    ladder = probe(container.parent)
    answer: dict[str, Any] = {"rung": ladder.rung, "warnings": ladder.warnings, "cause": ladder.cause}
    answer["line"] = ladder.environment_line
    try:
        answer |= asdict(await run(layers, container, job["command"], options=options, image=image))
    except EngineError as error:
        answer |= {"slug": error.slug, "message": str(error), "code": error.exit_code}
    print(json.dumps(answer))


if __name__ == "__main__":
    if os.environ.get("DRIVER_LOOP") == "uvloop":
        anyio.run(perform, json.loads(sys.argv[1]), backend_options={"use_uvloop": True})
    else:
        anyio.run(perform, json.loads(sys.argv[1]))
