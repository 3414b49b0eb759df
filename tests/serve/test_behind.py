"""A machine that is still pulling serves what it has: one process pulls, another one serves, a peer pulls from there."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import anyio
import pytest
from aiohttp import ClientError, ClientSession
from anyio.abc import Process

from aiodocker_lite import Engine, Limits, Settings
from aiodocker_lite.store.watch import watching
from aiodocker_lite.testing.faults import cut, late
from aiodocker_lite.testing.images import image, layer, noise
from aiodocker_lite.testing.registry import FakeRegistry
from tests.fakes.commands import command, environment

APP = image(layer({"a": noise(300_000)}), layer({"b": noise(2_000)}))
BIG = APP.layers[0]
HAVE = 100_000
"""Bytes of BIG that come before the origin takes a rest."""


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """The store of the first machine."""
    return Settings(root=tmp_path / "first", limits=Limits(free_bytes=0))


@pytest.fixture
async def origin() -> AsyncIterator[FakeRegistry]:
    """It has the image, but cuts the large layer, and has the rest of it only after a while."""
    async with FakeRegistry() as registry:
        registry.add("app", "latest", APP)
        registry.script("GET", f"/blobs/{BIG.digest}", cut(HAVE), late(1.5))
        yield registry


@asynccontextmanager
async def pulling(settings: Settings, origin: FakeRegistry) -> AsyncIterator[Process]:
    """A pull in a process of its own, which has got so far as the origin permits."""
    async with Engine(settings) as engine:
        engine.store.create()
        path = engine.store.paths.ingest(BIG.digest)
    with watching(path.parent) as changed:
        argv = command(settings.root, "pull", "-q", f"{origin.address}/app")
        async with await anyio.open_process(argv, env=environment(settings.root.parent)) as process:
            try:
                while not path.exists() or path.stat().st_size < HAVE:
                    await changed()
                yield process
            finally:
                if process.returncode is None:
                    process.kill()


@asynccontextmanager
async def serving(settings: Settings, **options: float) -> AsyncIterator[str]:
    """The address of a server on the same store."""
    async with Engine(settings) as engine, engine.serve(**options) as (host, port):  # type: ignore[arg-type]
        yield f"{host}:{port}"


async def test_the_origin_sends_each_byte_once_and_to_one_machine(
    settings: Settings, origin: FakeRegistry, tmp_path: Path
) -> None:
    """The peer begins in the middle of the pull, and asks nobody but its neighbour, by digest."""
    conf = tmp_path / "etc" / "containers" / "registries.conf"
    conf.parent.mkdir(parents=True)
    async with pulling(settings, origin) as process, serving(settings) as address:
        conf.write_text(
            f'[[registry]]\nlocation="{origin.address}"\nmirror=[{{location="{address}",insecure=true}}]'
        )
        second = replace(settings, root=tmp_path / "second", config_dirs=(tmp_path / "etc",))
        async with Engine(second) as engine:
            found = await engine.pull(f"{origin.address}/app@{APP.top.digest}")
        assert (found.id, found.verified) == (APP.config.digest, "Yes")
        assert await process.wait() == 0
        async with ClientSession() as session, session.get(f"http://{address}/metrics") as answer:
            lines = (await answer.text()).splitlines()

    asked = Counter((seen.method, seen.path.rpartition("/")[2]) for seen in origin.requests)
    assert asked == {
        ("HEAD", "latest"): 1,
        ("GET", str(APP.top.digest)): 1,
        **{("GET", str(blob.digest)): 1 for blob in APP.blobs},
        ("GET", str(BIG.digest)): 2,  # and the second time for the rest
    }
    assert origin.sent("/blobs/") == sum(len(blob.raw) for blob in APP.blobs)
    (partial,) = (
        line.split()[1] for line in lines if line.startswith("aiodocker_lite_serve_partial_blobs_total ")
    )
    assert int(partial) >= 1  # a layer may come in parts


async def test_ranges_before_and_beyond_what_is_there(settings: Settings, origin: FakeRegistry) -> None:
    """The ones come at once, the others when they are there; the size is that of the whole blob."""
    async with (
        pulling(settings, origin) as process,
        serving(settings) as address,
        ClientSession(f"http://{address}") as session,
    ):
        path = f"/v2/any/name/blobs/{BIG.digest}"
        async with session.head(path) as answer:
            assert (answer.status, answer.content_length) == (200, len(BIG.raw))
            assert answer.headers["Docker-Content-Digest"] == str(BIG.digest)
        asked = len(origin.exchanges)
        async with session.get(path, headers={"Range": "bytes=10-19"}) as answer:
            assert (answer.status, await answer.read()) == (206, BIG.raw[10:20])
        assert len(origin.exchanges) == asked
        assert process.returncode is None
        async with session.get(path, headers={"Range": f"bytes={HAVE - 5}-{HAVE + 4}"}) as answer:
            assert (answer.status, await answer.read()) == (206, BIG.raw[HAVE - 5 : HAVE + 5])
        async with session.get(path, headers={"Range": "bytes=-7"}) as answer:
            assert (answer.status, await answer.read()) == (206, BIG.raw[-7:])
        assert await process.wait() == 0


async def test_a_hundred_clients_read_behind_one_pull(settings: Settings, origin: FakeRegistry) -> None:
    """All at once, each all of it."""
    bodies = []
    async with (
        pulling(settings, origin) as process,
        serving(settings) as address,
        ClientSession(f"http://{address}") as session,
        anyio.create_task_group() as tasks,
    ):

        async def read() -> None:
            async with session.get(f"/v2/app/blobs/{BIG.digest}") as answer:
                bodies.append(await answer.read())

        for _ in range(100):
            tasks.start_soon(read)
        assert await process.wait() == 0
    assert bodies == [BIG.raw] * 100
    assert origin.sent(f"/blobs/{BIG.digest}") == len(BIG.raw)


async def test_a_pull_that_is_killed_cuts_who_reads_behind_it(
    settings: Settings, origin: FakeRegistry
) -> None:
    """They have what there was; then it is unknown here, until somebody pulls it again."""
    async with (
        pulling(settings, origin) as process,
        serving(settings) as address,
        ClientSession(f"http://{address}") as session,
    ):
        path = f"/v2/app/blobs/{BIG.digest}"
        async with session.get(path) as answer:
            assert await answer.content.readexactly(HAVE) == BIG.raw[:HAVE]
            process.kill()
            with pytest.raises(ClientError):
                await answer.read()
        async with session.get(path) as answer:
            assert answer.status == 404
        origin.forget()
        async with Engine(settings) as engine:
            await engine.pull(f"{origin.address}/app")
        async with session.get(path) as answer:
            assert await answer.read() == BIG.raw


async def test_nobody_waits_for_ever(settings: Settings, origin: FakeRegistry) -> None:
    """Whoever has waited too long for the next byte is cut, and may ask somebody else."""
    async with (
        pulling(settings, origin) as process,
        serving(settings, idle=0.2) as address,
        ClientSession(f"http://{address}") as session,
    ):
        async with session.get(f"/v2/app/blobs/{BIG.digest}") as answer:
            with pytest.raises(ClientError):
                await answer.read()
        assert process.returncode is None


async def test_documents_are_there_before_the_layers(settings: Settings, origin: FakeRegistry) -> None:
    """By digest; by tag only when the image has its name. Other blobs are no manifests."""
    async with (
        pulling(settings, origin) as process,
        serving(settings) as address,
        ClientSession(f"http://{address}") as session,
    ):
        statuses = {}
        for path in ("latest", APP.top.digest, APP.config.digest):
            async with session.get(f"/v2/app/manifests/{path}") as answer:
                statuses[path] = answer.status
                if path == APP.top.digest:
                    assert (answer.content_type, await answer.read()) == (APP.top.media_type, APP.top.raw)
        assert list(statuses.values()) == [404, 200, 404]
        async with session.get(f"/v2/app/blobs/{APP.config.digest}") as answer:
            assert await answer.read() == APP.config.raw
        assert await process.wait() == 0
        async with session.get("/v2/app/manifests/latest") as answer:
            assert answer.status == 200
