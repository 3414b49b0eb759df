"""Docker, podman, containerd and we ourselves pull through a mirror that knows what they ask for by their own names for it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from anyio import to_thread

from aiodocker_lite import Engine, Limits, Settings
from aiodocker_lite.testing.images import image, layer, write_layout
from tests.fakes.archives import podman_store
from tests.fakes.docker import containerd, dockerd

APP = image(layer({"a": b"a"}), layer({"b": b"b"}))
HUB, ELSEWHERE = "docker.io/library/app:1", "quay.invalid/team/app:1"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """The store of the mirror."""
    return Settings(root=tmp_path / "store", limits=Limits(free_bytes=0))


@pytest.fixture
async def mirror(settings: Settings, tmp_path: Path) -> AsyncIterator[str]:
    """Its address; it has one image of Docker Hub and one of a registry that does not exist."""
    layout = write_layout(tmp_path / "layout", {"app:1": APP})
    async with Engine(settings) as engine:
        (found,) = (await engine.load(layout))[:1]
        for name in (HUB, ELSEWHERE):
            await engine.tag(str(found.name), name)
        async with engine.serve() as (host, port):
            yield f"{host}:{port}"


async def test_docker(mirror: str, tmp_path: Path) -> None:
    """`registry-mirrors`, which is for Docker Hub alone."""

    def pull() -> str | None:
        with dockerd(tmp_path, f"--registry-mirror=http://{mirror}") as docker:
            done = docker.run("pull", "-q", "app:1")
            assert done.returncode == 0, done.stderr
            return docker("image", "inspect", "-f", "{{.Id}}", "app:1")

    assert await to_thread.run_sync(pull) == str(APP.config.digest)


async def test_podman(mirror: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mirror in registries.conf, whose path has the registry in it."""
    conf = tmp_path / "registries.conf"
    conf.write_text(
        f'[[registry]]\nlocation="quay.invalid"\n[[registry.mirror]]\nlocation="{mirror}/quay.invalid"\ninsecure=true\n'
    )
    monkeypatch.setenv("CONTAINERS_REGISTRIES_CONF", str(conf))
    with podman_store() as podman:
        pulled = await to_thread.run_sync(partial(podman, "pull", "-q", ELSEWHERE))
    assert pulled.decode().strip() == APP.config.digest.hex


@pytest.mark.parametrize("name", [HUB, ELSEWHERE])
async def test_containerd(mirror: str, name: str, tmp_path: Path) -> None:
    """hosts.toml; it says in the query which registry it means."""
    directory = tmp_path / "certs.d" / name.partition("/")[0]
    directory.mkdir(parents=True)
    (directory / "hosts.toml").write_text(f'[host."http://{mirror}"]\ncapabilities = ["pull", "resolve"]\n')

    def pull() -> str | None:
        with containerd(tmp_path) as ctr:
            done = ctr.run("images", "pull", "--snapshotter=native", f"--hosts-dir={directory.parent}", name)
            assert done.returncode == 0, done.stderr
            return ctr("images", "ls", f"name=={name}")

    assert str(APP.top.digest) in (await to_thread.run_sync(pull) or "")


@pytest.mark.parametrize("name", [HUB, ELSEWHERE])
async def test_we_ourselves(mirror: str, name: str, settings: Settings, tmp_path: Path) -> None:
    """hosts.toml, as containerd reads it."""
    directory = tmp_path / "etc" / "containerd" / "certs.d" / name.partition("/")[0]
    directory.mkdir(parents=True)
    (directory / "hosts.toml").write_text(f'[host."http://{mirror}"]\ncapabilities = ["pull", "resolve"]\n')
    peer = replace(settings, root=tmp_path / "peer", config_dirs=(tmp_path / "etc",))
    async with Engine(peer) as engine:
        assert (await engine.pull(name)).id == APP.config.digest
