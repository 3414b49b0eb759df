"""The same configuration means the same to podman's library (by skopeo) and to containerd."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import anyio
import pytest

from aiodocker_lite.emit import containerd_hosts
from aiodocker_lite.errors import EngineError
from aiodocker_lite.registry.client import HttpRegistry
from aiodocker_lite.testing.faults import status
from aiodocker_lite.testing.images import Image, image, layer
from aiodocker_lite.testing.registry import FakeRegistry
from tests.fakes.clients import NewClient
from tests.fakes.processes import SERVERS, program

Servers = dict[str, FakeRegistry]
Asked = list[tuple[str, str, str]]


@pytest.fixture
def app(tmp_path: Path) -> Image:
    """Another one for each test, or containerd would have it already."""
    return image(layer({"etc/data": str(tmp_path).encode()}))


@pytest.fixture
async def servers(app: Image) -> AsyncIterator[Servers]:
    """Two with the image under several names; `down` answers with 503, and `empty` has nothing."""
    async with AsyncExitStack() as stack:
        servers = {
            name: await stack.enter_async_context(FakeRegistry()) for name in ("one", "two", "down", "empty")
        }
        for server in (servers["one"], servers["two"]):
            for repository in ("app", "team/app", "copies/app", "copies/team/app"):
                server.add(repository, "latest", app)
        servers["down"].script("", "/manifests/", *[status(503)] * 99)
        servers["down"].script("", "/blobs/", *[status(503)] * 99)
        yield servers


def asked_of(servers: Servers) -> Asked:
    """Who was asked for manifests and blobs, in order: server, path and namespace; each once."""
    found: dict[tuple[str, str, str], None] = {}
    for name, server in servers.items():
        for seen in server.requests:
            if "/manifests/" in seen.path or "/blobs/" in seen.path:
                found[name, seen.path, seen.query.get("ns", "")] = None
    return sorted(found)


async def ours(registry: HttpRegistry, servers: Servers, name: str, app: Image) -> Asked:
    """What we ask, and then forget that we did."""
    reference = servers["one"].reference(name)
    try:
        promised = await registry.resolve(reference)
        await registry.manifest(reference, promised)
        await registry.blob(reference, app.config.descriptor)
        async with registry.open_blob(reference, app.layers[0].descriptor) as chunks:
            [chunk async for chunk in chunks]
    except EngineError:
        pass
    asked = asked_of(servers)
    for server in servers.values():
        server.requests.clear()
    return asked


def with_success(asked: Asked) -> Asked:
    """containerd asks for every blob where there was nothing before, and we remember that."""
    return [each for each in asked if each[0] in ("one", "two") or "/manifests/latest" in each[1]]


def without_tags(asked: Asked) -> Asked:
    """skopeo reads a manifest by its tag, and we by the digest that the tag stands for."""
    return sorted({(server, path.rpartition("/manifests/")[0] or path, ns) for server, path, ns in asked})


@pytest.mark.parametrize("name", ["app", "team/app", "app@{digest}"])
@pytest.mark.parametrize(
    "config",
    [
        '[[registry]]\nlocation="{one}"\ninsecure=true\n',
        '[[registry]]\nlocation="{one}"\ninsecure=true\nmirror=[{{location="{two}",insecure=true}}]\n',
        '[[registry]]\nlocation="{one}"\ninsecure=true\nmirror=[{{location="{empty}",insecure=true}},{{location="{two}/copies",insecure=true}}]\n',
        '[[registry]]\nlocation="{one}"\ninsecure=true\nmirror=[{{location="{down}",insecure=true}},{{location="{empty}",insecure=true}}]\n',
        '[[registry]]\nprefix="{one}/team"\nlocation="{two}/copies/team"\ninsecure=true\n[[registry]]\nlocation="{one}"\ninsecure=true\n',
        '[[registry]]\nlocation="{one}"\ninsecure=true\nmirror-by-digest-only=true\nmirror=[{{location="{two}",insecure=true}}]\n',
        '[[registry]]\nlocation="{one}"\ninsecure=true\nmirror=[{{location="{two}",insecure=true,pull-from-mirror="digest-only"}}]\n',
        '[[registry]]\nlocation="{one}"\ninsecure=true\nmirror=[{{location="{two}",insecure=true,pull-from-mirror="tag-only"}}]\n',
        '[[registry]]\nlocation="{one}"\ninsecure=true\n[[registry]]\nprefix="{one}/team"\nlocation="{one}/team"\nblocked=true\n',
        '[[registry]]\nprefix="{one}/app"\nlocation="{one}/app"\nblocked=true\n[[registry]]\nlocation="{one}"\ninsecure=true\n',
    ],
)  # fmt: skip
async def test_registries_conf_is_podman_s(
    servers: Servers, app: Image, client: NewClient, tmp_path: Path, config: str, name: str
) -> None:
    """Every server, repository and blob that skopeo asks for is asked for by us, and no other."""
    addresses = {label: server.address for label, server in servers.items()}
    path = tmp_path / "containers" / "registries.conf"
    path.parent.mkdir()
    path.write_text(config.format(**addresses))
    name = name.format(digest=app.top.digest)
    mine = await ours(client(config_dirs=(tmp_path,)), servers, name, app)
    (tmp_path / "none").mkdir()
    command = [program("skopeo"), "--insecure-policy", f"--registries-conf={path}", "copy", "--retry-times=0"]
    source = (
        f"docker://{servers['one'].reference(name).name}{'@' + str(app.top.digest) if '@' in name else ''}"
    )
    environ = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    await anyio.run_process([*command, source, f"dir:{tmp_path}/none"], check=False, env=environ)
    assert without_tags(asked_of(servers)) == without_tags(mine)


@pytest.fixture(scope="module")
def containerd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    """A containerd of our own, as the beginning of a `ctr` command."""
    directory = tmp_path_factory.mktemp("containerd")
    plugins = ["io.containerd.grpc.v1.cri", "io.containerd.internal.v1.opt"]
    (directory / "config.toml").write_text(
        f'version = 2\nroot = "{directory}/root"\nstate = "{directory}/state"\n'
        f'disabled_plugins = {json.dumps(plugins)}\n[grpc]\naddress = "{directory}/sock"\n'
    )
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(
            [program("containerd"), "--config", str(directory / "config.toml")], stdout=log, stderr=log
        )
    SERVERS.add(process.pid)
    ctr = [program("ctr"), "--address", f"{directory}/sock"]
    try:
        for _ in range(100):
            if subprocess.run([*ctr, "version"], capture_output=True, check=False).returncode == 0:
                break
        yield ctr
    finally:
        process.terminate()
        process.wait()
        SERVERS.discard(process.pid)


@pytest.mark.root
@pytest.mark.parametrize(
    "config",
    [
        'server = "http://{one}"\n[host]\n',
        '[host."http://{two}"]\n',
        '[host."http://{two}"]\ncapabilities = ["pull", "resolve"]\n[host."http://{empty}"]\n',
        '[host."http://{two}"]\ncapabilities = ["pull"]\n',
        '[host."http://{empty}"]\n[host."http://{down}"]\n[host."http://{two}"]\n',
        'server = "http://{two}"\n[host."http://{empty}"]\n',
        '[host."http://{two}/v2/copies"]\noverride_path = true\n',
        'capabilities = ["pull"]\n[host]\n',
        'server = "http://{one}"\ncapabilities = ["pull"]\n[host]\n',
    ],
)
@pytest.mark.parametrize("directory", ["{host}", "{host_}", "_default"])
async def test_hosts_toml_is_containerd_s(
    servers: Servers,
    app: Image,
    client: NewClient,
    tmp_path: Path,
    containerd: list[str],
    config: str,
    directory: str,
) -> None:
    """Every server, path and namespace that containerd asks is asked by us, and no other."""
    addresses = {label: server.address for label, server in servers.items()}
    host = servers["one"].address
    root = tmp_path / "containerd" / "certs.d"
    path = root / directory.format(host=host, host_=host.replace(":", "_") + "_")
    path.mkdir(parents=True)
    (path / "hosts.toml").write_text(config.format(**addresses))
    mine = await ours(client(config_dirs=(tmp_path,)), servers, "app", app)
    fetch = [*containerd, "--namespace", tmp_path.name, "content", "fetch", "--hosts-dir", str(root)]
    await anyio.run_process([*fetch, f"{host}/app:latest"], check=False)
    assert with_success(asked_of(servers)) == with_success(mine)


@pytest.mark.root
@pytest.mark.parametrize(("resolve", "name"), [(False, "latest"), (False, "digest"), (True, "latest")])
async def test_containerd_follows_the_hosts_we_emit(
    servers: Servers, app: Image, tmp_path: Path, containerd: list[str], resolve: bool, name: str
) -> None:
    """The mirror gives all that has a digest; the registry is asked for a tag only where the mirror may not say."""
    one, two = servers["one"], servers["two"]
    for path, text in containerd_hosts([one.address], f"http://{two.address}", resolve=resolve).items():
        (tmp_path / path).parent.mkdir()
        (tmp_path / path).write_text(text)
    fetch = [*containerd, "--namespace", tmp_path.name, "content", "fetch", "--hosts-dir", str(tmp_path)]
    target = f"@{app.top.digest}" if name == "digest" else ":latest"
    await anyio.run_process([*fetch, f"{one.address}/app{target}"])
    at_one = {path for server, path, _ in asked_of(servers) if server == "one"}
    assert at_one == (set() if resolve or name == "digest" else {"/v2/app/manifests/latest"})
    assert any("/blobs/" in path for server, path, _ in asked_of(servers) if server == "two")
