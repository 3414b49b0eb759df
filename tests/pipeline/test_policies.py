"""When an image is pulled and when it is not, how many requests that costs, and how many pulls are left."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import pytest

from aiodocker_lite import Engine
from aiodocker_lite.errors import InvalidManifest, InvalidOption, NoSuchImage, PlatformNotFound, RegistryError
from aiodocker_lite.events import Event, ImageReady, Quota
from aiodocker_lite.manifest import OCI_INDEX
from aiodocker_lite.options import PullPolicy
from aiodocker_lite.testing.faults import with_headers
from aiodocker_lite.testing.images import Blob, Image, Index, image, layer
from aiodocker_lite.testing.registry import FakeRegistry

OLD, NEW = image(layer({"a": b"old"})), image(layer({"a": b"new"}))


@pytest.fixture
async def registry() -> AsyncIterator[FakeRegistry]:
    """It has `app`, and wants a token for it."""
    async with FakeRegistry() as registry:
        registry.challenge_bearer(registry)
        registry.add("app", "latest", OLD)
        yield registry


@pytest.mark.parametrize("policy", ["always", "missing"])
async def test_an_image_that_is_not_here_is_pulled(
    engine: Engine, registry: FakeRegistry, policy: PullPolicy
) -> None:
    """Whatever the policy, but for one."""
    found = await engine.find_or_pull(f"{registry.address}/app", pull=policy)
    assert found.id == OLD.config.digest


async def test_never_asks_nobody(engine: Engine, registry: FakeRegistry) -> None:
    """What is here is enough, or is called missing; also where it is another platform's."""
    name = f"{registry.address}/app"
    with pytest.raises(NoSuchImage):
        await engine.find_or_pull(name, pull="never")
    assert registry.requests == []
    pulled = await engine.pull(name)
    registry.forget()
    assert (await engine.find_or_pull(name, pull="never")).id == pulled.id
    with pytest.raises(PlatformNotFound, match="no matching manifest for linux/s390x"):
        await engine.find_or_pull(name, pull="never", platform="linux/s390x")
    assert registry.requests == []


@pytest.mark.parametrize(
    ("policy", "expected", "requests"), [("always", NEW, None), ("missing", OLD, 0), ("never", OLD, 0)]
)
async def test_a_tag_that_moved(
    engine: Engine, registry: FakeRegistry, policy: PullPolicy, expected: Image, requests: int | None
) -> None:
    """Only `always` sees it."""
    name = f"{registry.address}/app"
    await engine.pull(name)
    registry.add("app", "latest", NEW)
    registry.forget()
    found = await engine.find_or_pull(name, pull=policy)
    assert found.id == expected.config.digest
    assert requests is None or len(registry.requests) == requests


@pytest.mark.parametrize("always", [False, True], ids=["pull", "always"])
async def test_an_image_that_is_up_to_date_costs_one_request(
    engine: Engine, registry: FakeRegistry, always: bool
) -> None:
    """A HEAD, which Docker Hub does not count; the token is from before."""
    name = f"{registry.address}/app"
    await engine.pull(name)
    registry.forget()
    events: list[Event] = []
    if always:
        await engine.find_or_pull(name, pull="always", progress=events.append)
    else:
        await engine.pull(name, progress=events.append)
    assert [(seen.method, seen.path) for seen in registry.requests] == [("HEAD", "/v2/app/manifests/latest")]
    assert [type(event) for event in events] == [ImageReady]


async def test_an_id_is_no_name_to_ask_for(engine: Engine, registry: FakeRegistry) -> None:
    """With `always` too: no registry knows it."""
    pulled = await engine.pull(f"{registry.address}/app")
    registry.forget()
    for text in (str(pulled.id), pulled.id.short):
        assert (await engine.find_or_pull(text, pull="always")).id == pulled.id
    assert registry.requests == []


async def test_a_registry_that_is_away_is_an_error_only_where_it_is_asked(
    engine: Engine, registry: FakeRegistry
) -> None:
    """As in docker, `always` means it."""
    name = f"{registry.address}/app"
    await engine.pull(name)
    await registry.__aexit__(None, None, None)
    await engine.find_or_pull(name)
    with pytest.raises(RegistryError):
        await engine.find_or_pull(name, pull="always")


@pytest.mark.parametrize("policy", ["newer", "", None])
async def test_another_policy_is_refused(engine: Engine, policy: object) -> None:
    """Before anything is looked for."""
    with pytest.raises(InvalidOption, match='"always", "missing" or "never"'):
        await engine.find_or_pull("app", pull=policy)  # type: ignore[arg-type]
    with pytest.raises(InvalidOption, match='"always", "missing" or "never"'):
        await engine.run("app", pull=policy)  # type: ignore[arg-type]


async def test_the_pulls_that_are_left_are_told(engine: Engine, registry: FakeRegistry) -> None:
    """From the answer to HEAD, whether the image is new or not; nothing where nothing is said."""
    name = f"{registry.address}/app"
    for left in (84, 83):
        quota = with_headers(RateLimit_Limit="100;w=21600", RateLimit_Remaining=f"{left};w=21600")
        registry.script("HEAD", "/manifests/", *([with_headers()] if left == 84 else []), quota)
        events: list[Event] = []
        await engine.pull(name, progress=events.append)
        assert [e for e in events if isinstance(e, Quota)] == [Quota(registry.address, left, 100, 21600)]
    events = []
    await engine.pull(name, progress=events.append)
    assert [type(event) for event in events] == [ImageReady]


@pytest.mark.parametrize("depth", [3, 4])
async def test_an_index_leads_to_another_but_not_for_ever(
    engine: Engine, registry: FakeRegistry, depth: int
) -> None:
    """R25: three in a row are followed."""
    top = OLD.manifest
    for _ in range(depth):
        document = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [top.descriptor.to_json()]}
        top = Blob(OCI_INDEX, json.dumps(document).encode())
        registry.add("app", "latest", Index(top, ()))
    if depth == 3:
        assert (await engine.pull(f"{registry.address}/app")).id == OLD.config.digest
    else:
        with pytest.raises(InvalidManifest, match="it is an index in an index in an index"):
            await engine.pull(f"{registry.address}/app")
