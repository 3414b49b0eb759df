"""The registry itself: scripts, what it remembers, its tokens, and addresses that expire."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import aiohttp
import pytest
from yarl import URL

from aiodocker_lite.testing import FakeRegistry, Fault, cut, honest, image, index, layer, status

APP = image(layer({"a": b"b"}))
ME = {"Authorization": "Basic bWU6c2VjcmV0"}
BLOB = f"/v2/app/blobs/{APP.layers[0].digest}"


@pytest.fixture
async def registry() -> AsyncIterator[FakeRegistry]:
    async with FakeRegistry() as registry:
        registry.add("app", "latest", index(APP))
        yield registry


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


async def test_faults_come_in_turn_to_what_they_are_for(
    registry: FakeRegistry, session: aiohttp.ClientSession
) -> None:
    """By method and path; everything else is honest, and so is all of it after the last one."""
    registry.script("GET", "/blobs/", status(500), honest, status(503))
    registry.script("", "latest", status(404))
    found = []
    for method, path in [
        ("HEAD", BLOB),
        *[("GET", BLOB)] * 4,
        *[("HEAD", "/v2/app/manifests/latest")] * 2,
        ("GET", "/v2/"),
        ("GET", "/v2/other/blobs/x"),
    ]:
        async with session.request(method, registry.url + path) as answer:
            found.append(answer.status)
    assert found == [200, 500, 200, 503, 200, 404, 200, 200, 404]
    assert len(registry.asked("GET", "/blobs/")) == 5
    registry.script("GET", "", status(500))
    registry.forget()
    assert not registry.requests
    assert not registry.exchanges
    async with session.get(registry.url + BLOB) as answer:
        assert await answer.read() == APP.layers[0].raw


async def test_an_exchange_has_the_answer_and_how_much_of_it_was_sent(
    registry: FakeRegistry, session: aiohttp.ClientSession
) -> None:
    """Of each request by itself, also where several have one path."""
    registry.script("GET", BLOB, cut(10), honest)
    with pytest.raises(aiohttp.ClientPayloadError):
        await (await session.get(registry.url + BLOB)).read()
    async with session.get(registry.url + BLOB, headers={"Range": "bytes=10-29"}) as answer:
        assert await answer.read() == APP.layers[0].raw[10:30]
    first, second = registry.exchanges
    assert (first.reply.status, first.sent) == (200, 10)
    assert (second.reply.status, second.sent, second.seen.headers["Range"]) == (206, 20, "bytes=10-29")
    assert registry.sent(BLOB) == 30
    assert registry.sent("/manifests/") == 0


async def test_a_token_opens_the_door(registry: FakeRegistry, session: aiohttp.ClientSession) -> None:
    """And a password where that is asked for."""
    registry.challenge_bearer(registry, user="me", password="secret")
    async with session.get(registry.url + BLOB) as answer:
        assert answer.status == 401
        assert answer.headers["WWW-Authenticate"] == f'Bearer realm="{registry.url}/token",service="fake"'
    async with session.get(f"{registry.url}/token") as answer:
        assert answer.status == 401
    async with session.get(f"{registry.url}/token", headers=ME) as answer:
        token = json.loads(await answer.read())["token"]
    async with session.get(registry.url + BLOB, headers={"Authorization": f"Bearer {token}"}) as answer:
        assert answer.status == 200
    registry.challenge_basic("me", "secret")
    async with session.get(registry.url + BLOB, headers=ME) as answer:
        assert answer.status == 200


async def test_a_signed_address_expires(registry: FakeRegistry, session: aiohttp.ClientSession) -> None:
    """After so many requests; the registry gives a new one each time, and storage takes no other."""
    async with FakeRegistry(host="127.0.0.2") as storage:
        registry.keep_blobs_at(storage, uses=2)
        addresses = []
        for _ in range(2):
            async with session.get(registry.url + BLOB) as answer:
                assert await answer.read() == APP.layers[0].raw
                addresses.append(answer.url)
        assert len({str(address) for address in addresses}) == 2
        found = []
        unknown = URL(storage.url + BLOB + "?signature=x")
        for address in (*addresses, *addresses, unknown):
            async with session.get(address) as answer:
                found.append(answer.status)
        assert found == [200, 200, 403, 403, 403]


@pytest.mark.parametrize(
    ("fault", "said"),
    [(lambda reply: reply.nothing, "nothing"), (lambda reply: None, "makes None of a reply")],
)
async def test_a_fault_that_raises_or_makes_no_reply_fails_the_test_at_its_end(
    fault: Fault, said: str
) -> None:
    """The client may have got an honest answer the second time, and all would look well."""

    async def meet() -> int:
        async with FakeRegistry() as registry, aiohttp.ClientSession() as session:
            registry.script("GET", "/v2/", fault)
            async with session.get(f"{registry.url}/v2/") as answer:
                return answer.status

    with pytest.raises((AttributeError, TypeError), match=said):
        await meet()
