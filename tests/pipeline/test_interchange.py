"""The store is an OCI image layout at every instant: other tools read it while we write it."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import anyio
import pytest

from aiodocker_lite import Engine, Settings
from aiodocker_lite.platforms import Platform
from aiodocker_lite.testing.images import image, layer, noise, write_layout
from aiodocker_lite.testing.registry import FakeRegistry
from tests.fakes.processes import program
from tests.fakes.stores import flaws

SECONDS = 4
NAME = "quay.io/a/there:1"
BASE = layer({"base/": b"", "base/data": noise(60_000, "base")})
HERE = str(Platform.here())
THERE = image(BASE, layer({"there": noise(30_000)}), platform=HERE)
COMING = [
    image(BASE, layer({f"coming{n}": noise(50_000, str(n))}), platform=HERE, docker=n == 1) for n in range(3)
]
READERS: dict[str, Callable[[Path, Path], list[str]]] = {
    "skopeo inspect": lambda store, _: ["skopeo", "inspect", f"oci:{store}:{NAME}"],
    "skopeo copy": lambda store, to: ["skopeo", "--insecure-policy", "copy", "-q", f"oci:{store}:{NAME}", f"dir:{to}"],
    "umoci list": lambda store, _: ["umoci", "list", "--layout", str(store)],
    "umoci unpack": lambda store, to: [
        "umoci", "unpack", *([] if os.geteuid() == 0 else ["--rootless"]), "--image", f"{store}:{NAME}", str(to),
    ],
    "podman pull": lambda store, to: [
        "podman", f"--root={to.parent}/r", f"--runroot={to.parent}/u", "--storage-driver=vfs", "pull", "-q",
        f"oci:{store}:{NAME}",
    ],
}  # fmt: skip


@pytest.mark.timeout(120)
async def test_other_tools_read_the_store_while_we_write_it(settings: Settings, tmp_path: Path) -> None:
    """Images come by pull and by load, get names and go again; the one that is there is there for everybody."""
    settings = replace(settings, workers=1)
    reads, writes = dict.fromkeys(READERS, 0), dict.fromkeys(("pull", "load", "tag"), 0)

    async def read(kind: str, short: Path) -> None:
        deadline = anyio.current_time() + SECONDS
        while anyio.current_time() < deadline or min(reads[kind], *writes.values()) < 3:
            command = READERS[kind](settings.root, short / f"{kind}{reads[kind]}".replace(" ", "-"))
            done = await anyio.run_process([program(command[0]), *command[1:]], check=False)
            assert done.returncode == 0, (kind, reads[kind], done.stderr.decode())
            reads[kind] += 1

    async def write(bring: Callable[[Engine], Awaitable[None]]) -> None:
        async with Engine(settings) as engine:
            while True:
                await bring(engine)

    async with FakeRegistry() as registry, Engine(settings) as first:
        for number, each in enumerate(COMING):
            registry.add("coming", str(number), each)
        await first.load(write_layout(tmp_path / "there", {NAME: THERE}))
        layout = write_layout(tmp_path / "coming", {f"a/coming:{n}": each for n, each in enumerate(COMING)})

        async def pull(engine: Engine) -> None:
            for number in range(len(COMING)):
                await engine.pull(name := f"{registry.address}/coming:{number}")
                await engine.remove(name)
                writes["pull"] += 1

        async def load(engine: Engine) -> None:
            for each in await engine.load(layout):
                await engine.remove(str(each.names[0]))
                writes["load"] += 1

        async def tag(engine: Engine) -> None:
            await engine.tag(NAME, "quay.io/a/also:1")
            await engine.remove("quay.io/a/also:1")
            writes["tag"] += 1

        with tempfile.TemporaryDirectory(prefix="p-") as short:
            async with anyio.create_task_group() as writers:
                for bring in (pull, load, tag):
                    writers.start_soon(write, bring)
                async with anyio.create_task_group() as readers:
                    for kind in READERS:
                        readers.start_soon(read, kind, Path(short))
                writers.cancel_scope.cancel()
    async with Engine(settings) as last:
        await last.image(NAME)
    assert flaws(settings.root) == []
