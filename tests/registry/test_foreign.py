"""Layers that registries may not distribute: never from elsewhere, or as a stranger if that is permitted."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from aiodocker_lite import Engine, Settings
from aiodocker_lite.errors import BlobNotFound, RegistryError, RegistryMisbehaved, RegistryUnreachable
from aiodocker_lite.manifest import Descriptor
from aiodocker_lite.reference import Reference
from aiodocker_lite.registry.client import HttpRegistry
from aiodocker_lite.testing.faults import status
from aiodocker_lite.testing.images import Blob, Image, image, layer
from aiodocker_lite.testing.registry import FakeRegistry
from tests.fakes.clients import NewClient

FOREIGN = (
    "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
    "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
)
LAYER = layer({"a": b"b" * 1000})


def with_foreign_layer(media_type: str, *urls: str) -> Image:
    """An image whose only layer is elsewhere."""
    app = image(LAYER)
    manifest = json.loads(app.manifest.raw)
    manifest["layers"][0] |= {"mediaType": media_type, "urls": list(urls)}
    return Image(Blob(app.manifest.media_type, json.dumps(manifest).encode()), app.config, (), app.platform)


@pytest.mark.parametrize("media_type", FOREIGN)
async def test_addresses_in_a_manifest_are_not_followed(
    tmp_path: Path, fake: FakeRegistry, other: FakeRegistry, media_type: str
) -> None:
    """R02: the registry is asked as for any layer, and nobody else; the sentence says why."""
    fake.add("app", "latest", with_foreign_layer(media_type, f"{other.url}/layer"))
    async with Engine(Settings(root=tmp_path)) as engine:
        with pytest.raises(BlobNotFound, match="may not be distributed by registries") as caught:
            await engine.pull(f"{fake.address}/app")
    assert "foreign_layers" in str(caught.value)
    assert other.requests == []


@pytest.mark.parametrize("media_type", FOREIGN)
async def test_a_registry_that_has_it_gives_it(
    tmp_path: Path, fake: FakeRegistry, other: FakeRegistry, media_type: str
) -> None:
    """Some are private, and may."""
    fake.add("base", "latest", image(LAYER))
    fake.add("app", "latest", with_foreign_layer(media_type, f"{other.url}/layer"))
    fake.lend("base", "app")
    async with Engine(Settings(root=tmp_path)) as engine:
        assert (await engine.pull(f"{fake.address}/app")).verified == "Yes"
    assert other.requests == []


async def test_where_it_is_permitted_a_stranger_asks(
    tmp_path: Path, fake: FakeRegistry, other: FakeRegistry
) -> None:
    """R02: without the registry's credentials, and a challenge there is not answered (CVE-2020-15157)."""
    fake.challenge_bearer(fake)
    other.add("base", "latest", image(LAYER))
    url = f"{other.url.replace('http://', 'http://user:secret@')}/v2/base/blobs/{LAYER.digest}"
    fake.add("app", "latest", with_foreign_layer(FOREIGN[0], "ftp://x/y", url))
    async with Engine(Settings(root=tmp_path, foreign_layers=True)) as engine:
        other.script("GET", "/blobs/", status(401, WWW_Authenticate=f'Bearer realm="{other.url}/token"'))
        with pytest.raises(RegistryUnreachable, match="it answered 401"):
            await engine.pull(f"{fake.address}/app")
        assert (await engine.pull(f"{fake.address}/app")).verified == "Yes"
    assert len(other.requests) == 2
    assert {seen.secret for seen in other.requests} == {None}


@pytest.mark.parametrize(
    "url",
    ["http://registry.example/x", "file:///etc/passwd", "ftp://x/y", "https://", "https:///x", "\0", "/x"],
)
async def test_only_https_is_followed(fake: FakeRegistry, client: NewClient, url: str) -> None:
    """An address that is none is one sentence."""
    blob = replace(LAYER.descriptor, urls=(url,))
    with pytest.raises(RegistryMisbehaved, match="no https address"):
        await read(client(), "registry.example/app", blob)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "169.254.169.254", "10.0.0.1", "[::1]"])
async def test_an_address_inside_this_network_is_not_followed(client: NewClient, host: str) -> None:
    """R03: a manifest of the internet cannot send us there."""
    blob = replace(LAYER.descriptor, urls=(f"https://{host}:1/x",))
    with pytest.raises(RegistryError, match="inside this network"):
        await read(client(), "registry.example/app", blob)


async def read(registry: HttpRegistry, name: str, blob: Descriptor) -> None:
    async with registry.open_foreign(Reference.parse(name), blob):
        pass
