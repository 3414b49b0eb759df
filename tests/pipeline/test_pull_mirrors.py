"""Whole pulls through mirrors: what one has wrong or only in part comes from the next."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from aiodocker_lite import Engine, Settings
from aiodocker_lite.errors import ContentError
from aiodocker_lite.events import Event, Notice
from aiodocker_lite.testing.faults import Fault, cut, honest, status, with_body
from aiodocker_lite.testing.images import image, layer, noise
from aiodocker_lite.testing.registry import FakeRegistry

APP = image(layer({"a": noise(300_000)}), layer({"b": noise(200_000)}, "zstd"))
BIG = APP.layers[0]


@pytest.fixture
async def servers(settings: Settings) -> AsyncIterator[list[FakeRegistry]]:
    """A registry and two mirrors of it, all with the image."""
    async with AsyncExitStack() as stack:
        servers = [await stack.enter_async_context(FakeRegistry()) for _ in range(3)]
        for server in servers:
            server.add("app", "latest", APP)
        mirrors = ",".join(f'{{location="{server.address}"}}' for server in servers[1:])
        path = settings.root.parent / "etc" / "containers" / "registries.conf"
        path.parent.mkdir(parents=True)
        path.write_text(f'[[registry]]\nlocation="{servers[0].address}"\nmirror=[{mirrors}]\n')
        yield servers


async def pull(settings: Settings, servers: list[FakeRegistry]) -> list[str]:
    """A pull that succeeds, and the notices on the way."""
    events: list[Event] = []
    config: Path = settings.root.parent / "etc"
    async with Engine(replace(settings, config_dirs=(config,))) as engine:
        found = await engine.pull(f"{servers[0].address}/app", progress=events.append)
        assert (found.id, found.verified) == (APP.config.digest, "Yes")
        assert found.name == f"{servers[0].address}/app:latest"
    return [event.text for event in events if isinstance(event, Notice)]


def wrong(size: int) -> Fault:
    return with_body(noise(size, "other"), "application/octet-stream")


async def test_an_honest_mirror(settings: Settings, servers: list[FakeRegistry]) -> None:
    """The registry itself is not asked for anything, and the image has its name."""
    assert await pull(settings, servers) == []
    assert servers[0].requests == servers[2].requests == []


async def test_a_layer_that_a_mirror_has_wrong(settings: Settings, servers: list[FakeRegistry]) -> None:
    """Hashed while it comes, refused, and fetched from the next; even if that one lies too."""
    for mirror in servers[1:]:
        mirror.script("GET", f"/blobs/{BIG.digest}", *[wrong(len(BIG.raw))] * 9)
    await pull(settings, servers)
    assert [len(server.asked("GET", f"/blobs/{BIG.digest}")) for server in servers] == [1, 1, 1]


async def test_a_layer_that_everybody_has_wrong(settings: Settings, servers: list[FakeRegistry]) -> None:
    """Nobody is asked twice."""
    for server in servers:
        server.script("GET", f"/blobs/{BIG.digest}", *[wrong(len(BIG.raw))] * 9)
    with pytest.raises(ContentError):
        await pull(settings, servers)
    assert [len(server.asked("GET", f"/blobs/{BIG.digest}")) for server in servers] == [1, 1, 1]


async def test_a_mirror_that_dies_half_way(settings: Settings, servers: list[FakeRegistry]) -> None:
    """The next one is asked for what is missing, and for nothing else."""
    servers[1].script("GET", f"/blobs/{BIG.digest}", cut(100_000))
    servers[1].script("GET", "", honest, honest, honest, *[cut(0)] * 9)
    (notice,) = await pull(settings, servers)
    assert notice == f"The mirror {servers[1].address} is passed over: the connection was cut"
    (asked,) = servers[2].asked("GET", f"/blobs/{BIG.digest}")
    assert asked.headers["Range"].startswith("bytes=")
    assert servers[0].requests == []


async def test_a_mirror_without_the_layers(settings: Settings, servers: list[FakeRegistry]) -> None:
    """They come from the next, with one notice for all of them."""
    servers[1].script("GET", "/blobs/", *[status(404)] * 9)
    (notice,) = await pull(settings, servers)
    assert "is passed over: blob sha256:" in notice
    assert len(servers[2].asked("GET", "/blobs/")) == 3


@pytest.mark.parametrize("fault", [wrong(len(BIG.raw)), cut(100_000)], ids=["lies", "is cut"])
async def test_mirrors_behind_one_host_are_told_apart(settings: Settings, fault: Fault) -> None:
    """By their path, as the proxies of one Harbor or Nexus are; and the registry itself may be another."""
    async with FakeRegistry() as server:
        for path in ("one/app", "two/app", "own/app"):
            server.add(path, "latest", APP)
        mirrors = ",".join(f'{{location="{server.address}/{path}"}}' for path in ("one", "two"))
        config = settings.root.parent / "etc" / "containers" / "registries.conf"
        config.parent.mkdir(parents=True)
        config.write_text(
            f'[[registry]]\nprefix="n.example"\nlocation="{server.address}/own"\nmirror=[{mirrors}]\n'
        )
        for path in ("one", "two"):
            server.script("GET", f"/v2/{path}/app/blobs/{BIG.digest}", *[fault] * 20)
        async with Engine(replace(settings, config_dirs=(config.parents[1],))) as engine:
            assert (await engine.pull("n.example/app")).verified == "Yes"
        asked = [seen.path.split("/")[2] for seen in server.asked("GET", str(BIG.digest))]
        assert asked == ["one", "two", "own"]
