"""Mirrors: asked in order, passed over when they fail, and never believed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from aiodocker_lite.errors import (
    AccessDenied,
    ImageNotFound,
    RateLimited,
    RegistryError,
    RegistryMisbehaved,
    RegistryUnavailable,
    RegistryUnreachable,
)
from aiodocker_lite.reference import Reference
from aiodocker_lite.registry.auth import FindCredential
from aiodocker_lite.registry.client import HttpRegistry
from aiodocker_lite.registry.credentials import Credential
from aiodocker_lite.settings import Settings
from aiodocker_lite.testing.faults import Fault, cut, redirected, status, with_body, with_headers
from aiodocker_lite.testing.images import Image, image, layer, noise
from aiodocker_lite.testing.messages import basic
from aiodocker_lite.testing.registry import FakeRegistry
from tests.fakes.clients import NewClient
from tests.fakes.processes import free_port

OTHER = image(layer({"other": noise(1000)}))


@dataclass
class Scene:
    """A registry with two mirrors, and what a client of them is told."""

    itself: FakeRegistry
    first: FakeRegistry
    second: FakeRegistry
    directory: Path
    told: list[str] = field(default_factory=list)

    def write(self, *mirrors: str) -> None:
        """Have these mirrors in `registries.conf`."""
        listed = ",".join(f'{{location="{mirror}"}}' for mirror in mirrors)
        path = self.directory / "containers" / "registries.conf"
        path.parent.mkdir(exist_ok=True)
        path.write_text(f'[[registry]]\nlocation="{self.itself.address}"\nmirror=[{listed}]\n')

    async def read(self, client: HttpRegistry, app: Image, name: str = "app") -> list[bytes]:
        """All that a pull asks for."""
        reference = self.itself.reference(name)
        promised = await client.resolve(reference, self.told.append)
        manifest = await client.manifest(reference, promised, self.told.append)
        config = await client.blob(reference, app.config.descriptor, self.told.append)
        blob = app.layers[0].descriptor
        async with client.open_blob(reference, blob, tell=self.told.append) as chunks:
            return [manifest, config, b"".join([chunk async for chunk in chunks])]


def parts_of(app: Image) -> list[bytes]:
    return [app.manifest.raw, app.config.raw, app.layers[0].raw]


@pytest.fixture
async def scene(app: Image, tmp_path: Path) -> AsyncIterator[Scene]:
    """Everybody has the image."""
    async with AsyncExitStack() as stack:
        servers = [await stack.enter_async_context(FakeRegistry()) for _ in range(3)]
        for server in servers:
            server.add("app", "latest", app)
        scene = Scene(servers[0], servers[1], servers[2], tmp_path)
        scene.write(scene.first.address, scene.second.address)
        yield scene


async def test_the_first_mirror_is_asked_and_nobody_else(scene: Scene, app: Image, client: NewClient) -> None:
    """As long as it answers."""
    assert await scene.read(client(config_dirs=(scene.directory,)), app) == parts_of(app)
    assert len(scene.first.requests) == 4
    assert scene.second.requests == scene.itself.requests == []
    assert scene.told == []


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (status(404), "manifest unknown"),
        (status(401), "denied"),
        (status(403), "denied"),
        (status(500), "it answered 500"),
        (status(429), "Too Many Requests"),
        (cut(0), "the connection was cut"),
        (cut(0, "stall"), "it stopped answering"),
        (with_body(b"<html>"), "'text/html'"),
        (redirected("file:///etc/passwd"), "to a 'file:' address"),
    ],
)
async def test_a_mirror_that_fails_is_passed_over(
    scene: Scene, app: Image, client: NewClient, fault: Fault, reason: str
) -> None:
    """With one sentence to the user; the next one does."""
    scene.first.script("", "/v2/app", *[fault] * 100)
    registry = client(config_dirs=(scene.directory,), idle_timeout=0.3)
    assert await scene.read(registry, app) == parts_of(app)
    assert {seen.method for seen in scene.second.requests} >= {"GET"}
    assert scene.itself.requests == []
    assert scene.told[0].startswith(f"The mirror {scene.first.address} is passed over: ")
    assert reason in scene.told[0]
    assert len(scene.told) <= 2  # a blob that is missing is another thing than a name


async def test_a_mirror_that_is_not_there_is_asked_once(scene: Scene, app: Image, client: NewClient) -> None:
    """A silent host costs its time limit once, and not for every layer."""
    port = free_port()
    scene.write(f"localhost:{port}", scene.second.address)
    assert await scene.read(client(config_dirs=(scene.directory,)), app) == parts_of(app)
    assert scene.told == [f"The mirror localhost:{port} is passed over: connection refused"]


@pytest.mark.parametrize(("what", "count"), [("manifests/sha256", 3), ("blobs/", 1)])
async def test_what_one_mirror_lacks_comes_from_the_next(
    scene: Scene, app: Image, client: NewClient, what: str, count: int
) -> None:
    """Blob by blob; one that lacks the manifest is not asked for the blobs first."""
    scene.first.script("GET", what, status(404))
    assert await scene.read(client(config_dirs=(scene.directory,)), app) == parts_of(app)
    assert len(scene.second.requests) == count
    assert len(scene.first.requests) == (2 if count == 3 else 4)


@pytest.mark.parametrize("what", ["/manifests/sha256", "/blobs/"])
async def test_a_mirror_cannot_lie(scene: Scene, app: Image, client: NewClient, what: str) -> None:
    """Another manifest, another configuration: seen by the digest, and fetched elsewhere."""
    size = len(app.manifest.raw if "manifests" in what else app.config.raw)
    scene.first.script("GET", what, with_body(b"x" * size, app.manifest.media_type))
    assert await scene.read(client(config_dirs=(scene.directory,)), app) == parts_of(app)
    assert "wrong content" in scene.told[0]


async def test_a_mirror_may_not_promise_another_digest(scene: Scene, app: Image, client: NewClient) -> None:
    """R09: a digest in the name is the name."""
    scene.first.script("HEAD", "/manifests/", with_headers(Docker_Content_Digest=str(OTHER.top.digest)))
    registry = client(config_dirs=(scene.directory,))
    assert await registry.resolve(scene.itself.reference(f"app@{app.top.digest}")) == app.top.descriptor


async def test_a_mirror_that_is_blamed_is_asked_last(scene: Scene, app: Image, client: NewClient) -> None:
    """Whoever hashed the bytes of a layer says so; when everybody has been blamed, that is that."""
    registry, blob = client(config_dirs=(scene.directory,)), app.layers[0].descriptor

    async def sender() -> list[int]:
        for server in (scene.first, scene.second, scene.itself):
            server.forget()
        async with registry.open_blob(scene.itself.reference("app"), blob) as chunks:
            [chunk async for chunk in chunks]
        return [len(server.requests) for server in (scene.first, scene.second, scene.itself)]

    assert await sender() == [1, 0, 0]
    assert registry.blame(blob)
    assert await sender() == [0, 1, 0]
    assert registry.blame(blob)
    assert await sender() == [0, 0, 1]
    assert not registry.blame(blob)


async def test_a_mirror_that_breaks_off_is_asked_last(scene: Scene, app: Image, client: NewClient) -> None:
    """The rest of a layer comes from the next one."""
    registry, blob = client(config_dirs=(scene.directory,)), app.layers[0].descriptor
    scene.first.script("GET", "/blobs/", cut(1000))
    with pytest.raises(RegistryUnavailable):
        async with registry.open_blob(scene.itself.reference("app"), blob, tell=scene.told.append) as chunks:
            [chunk async for chunk in chunks]
    async with registry.open_blob(scene.itself.reference("app"), blob, 1000) as chunks:
        assert b"".join([chunk async for chunk in chunks]) == app.layers[0].raw[1000:]
    assert len(scene.second.requests) == 1
    assert "passed over: the connection was cut" in scene.told[0]


async def test_an_error_names_everybody_who_was_asked(scene: Scene, client: NewClient) -> None:
    """The registry's own answer is the error, and the mirrors' are its notes."""
    port = free_port()
    scene.write(f"localhost:{port}", scene.second.address)
    with pytest.raises(ImageNotFound, match=f"{scene.itself.address}/nothing:latest not found") as caught:
        await client(config_dirs=(scene.directory,)).resolve(scene.itself.reference("nothing"))
    assert caught.value.__notes__ == [
        f"also asked: localhost:{port} (connection refused)",
        f"also asked: {scene.second.address} (manifest unknown)",
    ]


@pytest.mark.parametrize(
    ("mirror", "itself", "kind"),
    [
        (status(503), status(404), ImageNotFound),
        (status(503), status(403), AccessDenied),
        (status(404), status(503), RegistryUnavailable),
        (status(404), status(429), RateLimited),
        (status(503), with_body(b"<html>"), RegistryMisbehaved),
    ],
)
async def test_whose_error_it_is(
    scene: Scene, client: NewClient, mirror: Fault, itself: Fault, kind: type[RegistryError]
) -> None:
    """The registry's, unless only a mirror may do better next time."""
    scene.write(scene.first.address)
    scene.first.script("", "/v2/", *[mirror] * 9)
    scene.itself.script("", "/v2/", *[itself] * 9)
    with pytest.raises(kind) as caught:
        await client(config_dirs=(scene.directory,)).resolve(scene.itself.reference("app"))
    assert len([note for note in caught.value.__notes__ if note.startswith("also asked: ")]) == 1


async def test_a_mirror_that_may_come_back_is_worth_another_try(scene: Scene, client: NewClient) -> None:
    """Behind a wall, where the registry itself is out of reach for good."""
    gone = f"localhost:{free_port()}"
    path = scene.directory / "containers" / "registries.conf"
    path.write_text(f'[[registry]]\nlocation="{gone}"\nmirror=[{{location="{scene.first.address}"}}]\n')
    scene.first.script("HEAD", "", status(503))
    registry, reference = client(config_dirs=(scene.directory,)), Reference.parse(f"{gone}/app")
    with pytest.raises(RegistryUnavailable, match=f"{scene.first.address} failed: it answered 503") as caught:
        await registry.resolve(reference)
    assert caught.value.retryable
    assert caught.value.__notes__ == [f"also asked: {gone} (connection refused)"]
    await registry.resolve(reference)


def having(known: Mapping[str, Credential]) -> FindCredential:
    """What has these credentials, by registry."""

    async def find(name: str) -> Credential | None:
        return known.get(name.partition("/")[0])

    return find


async def test_a_mirror_gets_its_own_credentials_only(scene: Scene, app: Image, tmp_path: Path) -> None:
    """R05: and the registry gets its own, after a mirror has asked for some."""
    scene.first.challenge_basic("mirror", "of-mirror")
    scene.itself.challenge_basic("me", "of-registry")
    scene.write(scene.first.address)
    known = {
        scene.itself.address: Credential("me", "of-registry", "a test"),
        scene.first.address: Credential("mirror", "of-mirror", "a test"),
    }
    scene.first.script("GET", "/blobs/", *[status(404)] * 2)

    async with HttpRegistry(Settings(config_dirs=(tmp_path,)), credentials=having(known)) as registry:
        await scene.read(registry, app)
    assert {seen.secret for seen in scene.first.requests} == {None, basic("mirror", "of-mirror")}
    assert {seen.secret for seen in scene.itself.requests} == {None, basic("me", "of-registry")}


async def test_a_mirror_without_credentials_gets_none(scene: Scene, app: Image, tmp_path: Path) -> None:
    """R05: whatever it asks for."""
    scene.first.challenge_basic("mirror", "of-mirror")
    scene.second.challenge_bearer(scene.second)
    known = {scene.itself.address: Credential("me", "of-registry", "a test")}

    async with HttpRegistry(Settings(config_dirs=(tmp_path,)), credentials=having(known)) as registry:
        await scene.read(registry, app)
    assert {seen.secret for seen in scene.first.requests} == {None}
    assert basic("me", "of-registry") not in {seen.secret for seen in scene.second.requests}


# --- containerd's files ------------------------------------------------------------------------


def write_hosts(scene: Scene, text: str) -> None:
    (scene.directory / "containers" / "registries.conf").unlink()
    path = scene.directory / "containerd" / "certs.d" / scene.itself.address / "hosts.toml"
    path.parent.mkdir(parents=True)
    path.write_text(text)


async def test_a_mirror_that_may_not_resolve_is_asked_for_content_only(
    scene: Scene, app: Image, client: NewClient
) -> None:
    """And it is told which registry it stands for."""
    write_hosts(scene, f'[host."{scene.first.url}"]\ncapabilities = ["pull"]\n')
    assert await scene.read(client(config_dirs=(scene.directory,)), app) == parts_of(app)
    assert [seen.method for seen in scene.itself.requests] == ["HEAD"]
    assert [seen.method for seen in scene.first.requests] == ["GET"] * 3
    assert {seen.query["ns"] for seen in scene.first.requests} == {scene.itself.address}
    assert {len(seen.query) for seen in scene.itself.requests} == {0}


async def test_where_nobody_may_resolve_a_tag_is_refused(scene: Scene, app: Image, client: NewClient) -> None:
    """And a digest is not."""
    write_hosts(scene, f'server = "{scene.itself.url}"\ncapabilities = ["pull"]\n')
    registry = client(config_dirs=(scene.directory,))
    with pytest.raises(RegistryUnreachable, match=r"hosts\.toml has no host that may resolve a tag"):
        await registry.resolve(scene.itself.reference("app"))
    assert await registry.resolve(scene.itself.reference(f"app@{app.top.digest}")) == app.top.descriptor


async def test_headers_are_for_their_host_only(
    scene: Scene, other: FakeRegistry, app: Image, client: NewClient
) -> None:
    """R01: they are as good as credentials."""
    write_hosts(
        scene,
        f'[host."{scene.first.url}"]\n[host."{scene.first.url}".header]\nAuthorization = "Basic s3cret"\n',
    )
    other.add("app", "latest", app)
    target = f"{other.url}/v2/app/blobs/{app.layers[0].digest}"
    scene.first.script("GET", f"/blobs/{app.layers[0].digest}", redirected(target))
    scene.first.script("GET", f"/blobs/{app.config.digest}", status(404))
    assert await scene.read(client(config_dirs=(scene.directory,)), app) == parts_of(app)
    assert {seen.secret for seen in scene.first.requests} == {"Basic s3cret"}
    assert [seen.secret for seen in other.requests + scene.itself.requests] == [None, None]


async def test_the_root_of_the_api_may_be_anywhere(scene: Scene, app: Image, client: NewClient) -> None:
    """`override_path`: the path is what the file says and nothing more."""
    write_hosts(scene, f'[host."{scene.first.url}/v2/proxy/x"]\noverride_path = true\n')
    scene.first.add("proxy/x/app", "latest", app)
    assert await scene.read(client(config_dirs=(scene.directory,)), app) == parts_of(app)
    assert len(scene.first.requests) == 4
