"""Challenges, tokens, and who gets to see a secret."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from aiodocker_lite.errors import (
    AccessDenied,
    ImageNotFound,
    LoginFailed,
    RateLimited,
    RegistryError,
    RegistryMisbehaved,
    RegistryUnavailable,
)
from aiodocker_lite.fetch.blob import Write, fetch_blob
from aiodocker_lite.fetch.retries import Retries
from aiodocker_lite.registry.auth import Authorizer, Challenge, Place, choose, parse_challenges
from aiodocker_lite.registry.client import HttpRegistry
from aiodocker_lite.registry.credentials import Credential
from aiodocker_lite.registry.wire import Wire
from aiodocker_lite.settings import Settings
from aiodocker_lite.testing.faults import (
    cut,
    encoded,
    honest,
    redirected,
    status,
    together,
    with_body,
    with_headers,
)
from aiodocker_lite.testing.images import Image
from aiodocker_lite.testing.messages import basic
from aiodocker_lite.testing.registry import FakeRegistry, Tokens
from tests.fakes.clients import NewClient, knowing

ME = Credential("me", "s3cret", "a test")


@pytest.mark.parametrize(
    ("headers", "challenges"),
    [
        (["Basic"], [Challenge("basic")]),
        (['bAsIc realm="x"'], [Challenge("basic", {"realm": "x"})]),
        (
            ['Bearer realm="https://a/token",service="s",scope="repository:a/b:pull,push"'],
            [
                Challenge(
                    "bearer", {"realm": "https://a/token", "service": "s", "scope": "repository:a/b:pull,push"}
                )
            ],
        ),
        (['Bearer  Realm = "a" ,  SERVICE=s'], [Challenge("bearer", {"realm": "a", "service": "s"})]),
        (
            ['Basic realm="a, b", Bearer realm="c"', "Negotiate"],
            [Challenge("basic", {"realm": "a, b"}), Challenge("bearer", {"realm": "c"}), Challenge("negotiate")],
        ),
        (["Bearer realm=https://a/token,service=s"], [Challenge("bearer", {"realm": "https://a/token", "service": "s"})]),
        ([r'Basic realm="say \"hi\""'], [Challenge("basic", {"realm": 'say "hi"'})]),
        (['Bearer realm="a",realm="b"'], [Challenge("bearer", {"realm": "a"})]),
        (['Bearer realm="never closed'], [Challenge("bearer")]),
        (["", ",,,", "==="], []),
        ([], []),
    ],
)  # fmt: skip
def test_challenges_are_read_as_the_standard_says(headers: list[str], challenges: list[Challenge]) -> None:
    """R06: several headers, several challenges in one, commas in quotes, schemes in any case."""
    assert parse_challenges(headers) == challenges


@given(st.lists(st.text(max_size=100) | st.from_regex(r'(Bearer |realm="|,|\\|"|=){0,30}'), max_size=3))
def test_no_header_breaks_the_parser(headers: list[str]) -> None:
    """R06: what cannot be read is left out."""
    choose(parse_challenges(headers))


def test_a_hostile_header_costs_no_time() -> None:
    """As long a header as is let in, of the kind that makes regular expressions run for ever."""
    begun = time.monotonic()
    for piece in ('a="\\', 'a=b ,"', '"\\"', "a = ", ', ,"', "a", "a,"):
        parse_challenges(["Bearer " + piece * (32_000 // len(piece))])
    assert time.monotonic() - begun < 2


def test_bearer_is_chosen_before_basic_if_it_names_a_realm() -> None:
    """R06: a token registry that also offers Basic; a realm that is missing."""
    both = [Challenge("basic"), Challenge("bearer", {"realm": "x"})]
    assert choose(both).scheme == "bearer"
    assert choose([Challenge("basic"), Challenge("bearer")]).scheme == "basic"
    assert choose([Challenge("bearer"), Challenge("negotiate")]).scheme == ""


async def read_layer(registry: HttpRegistry, fake: FakeRegistry, app: Image) -> bytes:
    async with registry.open_blob(fake.reference("app"), app.layers[0].descriptor) as chunks:
        return b"".join([chunk async for chunk in chunks])


async def test_layers_that_ask_at_once_share_one_token(
    fake: FakeRegistry, other: FakeRegistry, app: Image, client: NewClient
) -> None:
    """R24: ten layers, ten challenges, one request for a token."""
    fake.challenge_bearer(other)
    registry = client()
    async with anyio.create_task_group() as tasks:
        for _ in range(10):
            tasks.start_soon(read_layer, registry, fake, app)
    assert len(other.asked("GET", "/token")) == 1
    assert other.requests[0].query == {"service": "fake", "scope": "repository:app:pull"}
    assert other.requests[0].secret is None


async def test_a_token_is_kept_for_the_next_request(
    fake: FakeRegistry, other: FakeRegistry, app: Image, client: NewClient
) -> None:
    """One challenge for a whole pull, all of it on one connection."""
    fake.challenge_bearer(other)
    registry = client()
    promised = await registry.resolve(fake.reference("app"))
    await registry.manifest(fake.reference("app"), promised)
    assert await read_layer(registry, fake, app) == app.layers[0].raw
    assert [seen.secret for seen in fake.requests] == [None, *["Bearer secret-1"] * 3]
    assert len({seen.peer for seen in fake.requests}) == 1


async def test_a_token_that_ends_during_a_pull_is_replaced(
    fake: FakeRegistry, other: FakeRegistry, app: Image, client: NewClient
) -> None:
    """R24: all that notice share the new one."""
    fake.challenge_bearer(other)
    registry = client()
    await registry.resolve(fake.reference("app"))
    other.tokens.issued.clear()
    async with anyio.create_task_group() as tasks:
        for _ in range(5):
            tasks.start_soon(read_layer, registry, fake, app)
    assert len(other.asked("GET", "/token")) == 2


@pytest.mark.parametrize(
    ("expires_in", "age", "count"),
    [
        (300, 200, 1),
        (300, 280, 2),
        (0, 50, 1),
        (None, 50, 1),
        (10**18, 3000, 1),
        (10**18, 3600, 2),
        (90, 89, 2),
    ],
)
async def test_a_token_is_replaced_before_it_ends(
    fake: FakeRegistry, expires_in: int | None, age: float, count: int
) -> None:
    """R07: by our own clock, at a minute at least and an hour at most; all that wait share the new one."""
    fake.challenge_bearer(fake, answer={"expires_in": expires_in})
    now = 1000.0
    async with Wire(Settings()) as wire:
        auth = Authorizer(wire, knowing(None), clock=lambda: now)
        place = await authorized(fake, auth, wire)
        now += age
        async with anyio.create_task_group() as tasks:
            for _ in range(5):
                tasks.start_soon(auth.header, place)
        assert await auth.header(place) == f"Bearer secret-{count}"
    assert fake.tokens.count == count


async def authorized(fake: FakeRegistry, auth: Authorizer, wire: Wire) -> Place:
    """Have the challenge of a registry answered; returns the place."""
    place = Place(fake.address, "app", URL(fake.url), at_home=True)

    async def authorize(url: URL, at_home: bool) -> str | None:
        return None

    url = URL(f"{fake.url}/v2/")
    async with wire.asking("GET", url, registry=fake.address, headers={}, authorize=authorize) as answer:
        await auth.satisfy(place, answer, "")
    return place


@pytest.mark.parametrize(
    ("date", "age", "count"),
    [
        ("Wed, 25 Nov 2026 00:00:00 GMT", 250, 1),
        ("Wed, 25 Nov 2026 00:03:20 GMT", 80, 1),
        ("Wed, 25 Nov 2026 00:03:20 GMT", 120, 2),
        ("Tue, 24 Nov 2026 00:00:00 GMT", 250, 1),
        ("Fri, 25 Nov 2050 00:00:00 GMT", 50, 1),
        ("never", 250, 1),
    ],
)
async def test_a_token_out_of_a_cache_ends_sooner(
    fake: FakeRegistry, date: str, age: float, count: int
) -> None:
    """R07: `issued_at` counts by the clock of the server that says it, so that no clock need be ours."""
    fake.challenge_bearer(fake, answer={"expires_in": 300, "issued_at": "2026-11-25T00:00:00.123456789Z"})
    fake.script("GET", "/token", with_headers(Date=date))
    now = 1000.0
    async with Wire(Settings()) as wire:
        auth = Authorizer(wire, knowing(None), clock=lambda: now)
        place = await authorized(fake, auth, wire)
        now += age
        await auth.header(place)
    assert fake.tokens.count == count


@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"expires_in": 0},
        {"expires_in": -1},
        {"expires_in": 10**18},
        {"expires_in": 1e300},
        {"expires_in": 10**400},
        {"expires_in": float("nan")},
        {"expires_in": True},
        {"expires_in": "300"},
        {"expires_in": []},
        {"issued_at": "1970-01-01T00:00:00Z", "expires_in": 60},
        {"issued_at": "9999-12-31T23:59:59.999999999+14:00", "expires_in": 60},
        {"issued_at": "1970-01-01", "expires_in": 60},
        {"issued_at": ["x"], "expires_in": 60},
        {"token": ""},
        {"access_token": ""},
    ],
    ids=repr,
)
@pytest.mark.parametrize("name", ["token", "access_token"])
async def test_tokens_of_every_kind_are_accepted(
    fake: FakeRegistry, app: Image, client: NewClient, answer: dict[str, object], name: str
) -> None:
    """R07: either name, and a lifetime that makes no sense or none at all."""
    fake.challenge_bearer(fake, answer=answer, name=name)
    assert await client().resolve(fake.reference("app")) == app.top.descriptor


@pytest.mark.parametrize(
    ("body", "media_type", "reason"),
    [
        (b"<html>please log in</html>", "text/html", "it gives 'text/html' instead of a token"),
        (b"[]", "application/json", "instead of a token"),
        (b"{}", "application/json", "no token"),
        (b'{"token": "", "access_token": null}', "application/json", "no token"),
        (b'{"token": 5}', "application/json", "no token"),
        (rb'{"token": "a\r\nX-Injected: 1"}', "application/json", "no token"),
        (b'{"token": "' + b"x" * 70_000 + b'"}', "application/json", "larger than 65536 bytes"),
    ],
)
async def test_what_is_no_token_is_refused(
    fake: FakeRegistry, other: FakeRegistry, client: NewClient, body: bytes, media_type: str, reason: str
) -> None:
    """R07, R20: the sentence names what came instead."""
    fake.challenge_bearer(other)
    other.script("GET", "/token", with_body(body, media_type))
    with pytest.raises(RegistryMisbehaved, match=reason):
        await client().resolve(fake.reference("app"))


async def test_a_registry_that_never_has_enough_is_given_up(
    fake: FakeRegistry, other: FakeRegistry, client: NewClient
) -> None:
    """R06: two rounds, then the answer is no."""
    fake.challenge_bearer(other)
    fake.tokens = Tokens()
    with pytest.raises(AccessDenied):
        await client(ME).resolve(fake.reference("app"))
    assert len(fake.requests) <= 3
    assert len(other.requests) <= 2


@pytest.mark.parametrize(
    ("credential", "source"),
    [
        (None, "anonymous"),
        (Credential("", "", "anonymous (helpers)"), r"anonymous \(helpers\)"),
        (Credential("me", "wrong", "~/x auths['y']"), r"~/x auths\['y'\]"),
    ],
)
@pytest.mark.parametrize("scheme", ["basic", "bearer"])
async def test_a_refusal_names_the_credentials_that_were_used(
    fake: FakeRegistry, client: NewClient, credential: Credential | None, source: str, scheme: str
) -> None:
    """The user sees at once which of his passwords is wrong; nobody else sees the password."""
    if scheme == "basic":
        fake.challenge_basic("me", "s3cret")
    else:
        fake.challenge_bearer(fake, user="me", password="s3cret")
    with pytest.raises(AccessDenied, match=rf"credentials used: {source}\)") as caught:
        await client(credential).resolve(fake.reference("app"))
    assert "wrong" not in repr(caught.value)


async def test_basic_is_sent_after_a_challenge_and_then_at_once(
    fake: FakeRegistry, app: Image, client: NewClient
) -> None:
    """Never before the registry asks for it."""
    fake.challenge_basic("me", "s3cret")
    registry = client(ME)
    await registry.resolve(fake.reference("app"))
    assert await read_layer(registry, fake, app) == app.layers[0].raw
    mine = basic("me", "s3cret")
    assert [seen.secret for seen in fake.requests] == [None, mine, mine]


@pytest.mark.parametrize(
    ("realm", "reason"),
    [
        ("http://auth.example.com/token", "plain http"),
        ("http://169.254.169.254/token", "plain http"),
        ("ftp://localhost/token", "'ftp:' address"),
        ("file:///etc/passwd", "'file:' address"),
        ("gopher://localhost:70/x", "'gopher:' address"),
        ("https://me:pw@localhost/token", "user name in its URL"),
        ("/token", "no valid URL"),
        ("https://", "no valid URL"),
        ("https://[::1", "no valid URL"),
    ],
)
async def test_a_token_server_no_secret_may_go_to_is_refused(
    fake: FakeRegistry, client: NewClient, realm: str, reason: str
) -> None:
    """R03: before anything is sent."""
    fake.challenge = f'Bearer realm="{realm}"'
    with pytest.raises(RegistryMisbehaved, match=reason):
        await client(ME).resolve(fake.reference("app"))


async def test_a_token_that_was_compressed_on_the_way_is_read(fake: FakeRegistry, client: NewClient) -> None:
    """R22: by a cache that was not asked to; up to the same limit, and not when it was cut."""
    fake.challenge_bearer(fake)
    fake.script("GET", "/token", encoded())
    await client().resolve(fake.reference("app"))
    fake.script("GET", "/token", encoded(30))
    with pytest.raises(RegistryUnavailable, match="encoding of what it sent is damaged"):
        await client().resolve(fake.reference("app"))
    fake.script("GET", "/token", together(with_body(bytes(5_000_000)), encoded()))
    with pytest.raises(RegistryMisbehaved, match="larger than 65536 bytes"):
        await client().resolve(fake.reference("app"))


async def test_a_redirected_token_request_takes_no_password_along(
    fake: FakeRegistry, other: FakeRegistry, client: NewClient
) -> None:
    """R04: another origin is asked without it, and gives what it gives to anybody."""
    fake.challenge_bearer(fake)
    fake.script("GET", "/token", redirected(f"{other.url}/token"))
    other.tokens = fake.tokens
    await client(ME).resolve(fake.reference("app"))
    assert fake.asked("GET", "/token")[0].secret == basic("me", "s3cret")
    assert [seen.secret for seen in other.requests] == [None]


async def test_a_challenge_from_elsewhere_gets_an_anonymous_token(
    fake: FakeRegistry, other: FakeRegistry, app: Image, client: NewClient
) -> None:
    """R05: the storage behind a registry wants a token of its own; our password is not its business."""
    fake.challenge_basic("me", "s3cret")
    other.add("app", "latest", app)
    other.challenge_bearer(other)
    target = f"{other.url}/v2/app/blobs/{app.layers[0].digest}"
    fake.script("GET", "/blobs/", honest, redirected(target), redirected(target))
    assert await read_layer(client(ME), fake, app) == app.layers[0].raw
    assert [seen.secret for seen in other.asked("GET", "/token")] == [None]
    assert [seen.secret for seen in other.asked("GET", "/blobs/")] == [None, "Bearer secret-1"]


async def test_basic_from_elsewhere_gets_nothing(
    fake: FakeRegistry, other: FakeRegistry, app: Image, client: NewClient
) -> None:
    """R02, R05: a redirect to a host that asks for our password."""
    fake.challenge_basic("me", "s3cret")
    other.challenge_basic("me", "s3cret")
    fake.script("GET", "/blobs/", honest, redirected(f"{other.url}/x"))
    sentence = (
        rf"^cannot reach 127\.0\.0\.1:{other.port} \(where .* sends us\): it wants credentials, and those of"
    )
    with pytest.raises(RegistryError, match=sentence):
        await read_layer(client(ME), fake, app)
    assert [seen.secret for seen in other.requests] == [None]


async def test_a_way_back_over_another_host_is_not_home(
    fake: FakeRegistry, other: FakeRegistry, app: Image, client: NewClient
) -> None:
    """R01: after another origin had a hand in it, even the registry itself is asked as by anybody."""
    fake.challenge_basic("me", "s3cret")
    path = f"/v2/app/blobs/{app.layers[0].digest}"
    fake.script("GET", "/blobs/", honest, redirected(f"{other.url}{path}"))
    other.script("GET", "/blobs/", redirected(f"http://{fake.address}{path}"))
    with pytest.raises(RegistryError):
        await read_layer(client(ME), fake, app)
    assert fake.requests[-1].secret is None


async def test_a_token_server_without_patience_is_a_rate_limit(
    fake: FakeRegistry, other: FakeRegistry, client: NewClient
) -> None:
    """429 of the token server is as good as the registry's."""
    fake.challenge_bearer(other)
    other.script("GET", "/token", status(429, Retry_After="9"))
    with pytest.raises(RateLimited, match="scripted 429") as caught:
        await client().resolve(fake.reference("app"))
    assert caught.value.retry_after == 9


@pytest.mark.parametrize("code", [401, 403])
async def test_a_token_server_that_refuses_is_named(
    fake: FakeRegistry, other: FakeRegistry, client: NewClient, code: int
) -> None:
    """Not the registry says so."""
    fake.challenge_bearer(other)
    other.script("GET", "/token", status(code), status(code))
    server = f"127.0.0.1:{other.port} (the token server of {fake.address})"
    with pytest.raises(AccessDenied) as caught:
        await client(ME).resolve(fake.reference("app"))
    assert caught.value.__notes__[0] == f"{server} says: fault: scripted {code}"
    with pytest.raises(LoginFailed, match=f"scripted {code}, says {re.escape(server)}$"):
        await client().login(fake.address, "me", "wrong")


@pytest.mark.parametrize(
    ("realm", "sentence"),
    [
        ("https://127.0.0.1:1/token", "cannot reach 127.0.0.1:1 (the token server of {}): connection refused"),
        ("ftp://auth.example/token", "{} does not answer like a registry: its token server auth.example has a 'ftp:' address"),
        ("https://me@auth.example/", "{} does not answer like a registry: its token server auth.example has a user name in its URL"),
    ],
)  # fmt: skip
async def test_a_token_server_that_is_none_is_named(
    fake: FakeRegistry, client: NewClient, realm: str, sentence: str
) -> None:
    """With the registry that sends us there."""
    fake.challenge = f'Bearer realm="{realm}"'
    with pytest.raises(RegistryError) as caught:
        await client().resolve(fake.reference("app"))
    assert str(caught.value) == sentence.format(fake.address)


# --- tokens instead of passwords -----------------------------------------------------------

IDENTITY = Credential("", "", "a helper", identity_token="id-t0ken")


async def test_an_identity_token_is_exchanged_for_tokens(
    fake: FakeRegistry, other: FakeRegistry, app: Image, client: NewClient
) -> None:
    """OAuth2, by POST, in the body and nowhere else; one for the manifest and all layers."""
    fake.challenge_bearer(other, identity="id-t0ken", name="access_token")
    registry = client(IDENTITY)
    await registry.resolve(fake.reference("app"))
    assert await read_layer(registry, fake, app) == app.layers[0].raw
    (asked,) = other.requests
    assert (asked.method, asked.target, asked.secret) == ("POST", "/token", None)
    assert asked.form == {
        "grant_type": "refresh_token",
        "service": "fake",
        "client_id": "aiodocker-lite",
        "scope": "repository:app:pull",
        "refresh_token": "id-t0ken",
    }
    assert [seen.secret for seen in fake.requests] == [None, *["Bearer secret-1"] * 2]


@pytest.mark.parametrize("code", [400, 401, 404, 405])
@pytest.mark.parametrize("user", ["", "me"])
async def test_a_token_server_without_oauth_is_asked_as_with_a_password(
    fake: FakeRegistry, other: FakeRegistry, app: Image, client: NewClient, code: int, user: str
) -> None:
    """As containerd does: the identity token stands for the password."""
    fake.challenge_bearer(other)
    other.script("POST", "/token", status(code))
    credential = Credential(user, "", "a helper", identity_token="id-t0ken")
    assert await client(credential).resolve(fake.reference("app")) == app.top.descriptor
    assert [seen.method for seen in other.requests] == ["POST", "GET"]
    assert other.requests[1].secret == basic(user, "id-t0ken")
    assert other.requests[1].query.get("account") == (user or None)


@pytest.mark.parametrize(("code", "error"), [(403, AccessDenied), (429, RateLimited), (503, RegistryError)])
async def test_other_answers_to_an_identity_token_are_final(
    fake: FakeRegistry, other: FakeRegistry, client: NewClient, code: int, error: type[RegistryError]
) -> None:
    """No second way is tried where the first was understood."""
    fake.challenge_bearer(other)
    other.script("POST", "/token", status(code))
    with pytest.raises(error):
        await client(IDENTITY).resolve(fake.reference("app"))
    assert [seen.method for seen in other.requests] == ["POST"]


async def test_an_identity_token_that_ran_out_is_named(fake: FakeRegistry, client: NewClient) -> None:
    """By the helper or the file that has it; the token itself is not shown."""
    fake.challenge_bearer(fake, user="me", password="s3cret", identity="another")
    with pytest.raises(AccessDenied, match=r"credentials used: a helper\)") as caught:
        await client(IDENTITY).resolve(fake.reference("app"))
    assert "id-t0ken" not in repr(caught.value) + str(caught.value.__notes__)


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
async def test_an_identity_token_stays_with_the_server_it_is_for(
    fake: FakeRegistry, other: FakeRegistry, client: NewClient, code: int
) -> None:
    """R04: a redirect would carry the body along. At home it is said again."""
    fake.challenge_bearer(fake, identity="id-t0ken")
    fake.script("POST", "/token", redirected("/token", code), redirected(f"{other.url}/token", code))
    with pytest.raises(RegistryMisbehaved, match=r"it sends us to 127\.0\.0\.1 with what is for itself"):
        await client(IDENTITY).resolve(fake.reference("app"))
    assert [seen.form["refresh_token"] for seen in fake.asked("POST", "/token")] == ["id-t0ken"] * 2
    assert not other.requests


async def test_a_registry_token_is_shown_as_it_is(
    fake: FakeRegistry, other: FakeRegistry, app: Image, client: NewClient
) -> None:
    """To the registry, after its challenge; no token server is asked."""
    fake.challenge_bearer(other)
    fake.tokens.issued.add("r3g")
    registry = client(Credential("", "", "a file", registry_token="r3g"))
    assert await registry.resolve(fake.reference("app")) == app.top.descriptor
    assert [seen.secret for seen in fake.requests] == [None, "Bearer r3g"]
    fake.tokens.issued.clear()
    with pytest.raises(AccessDenied, match=r"credentials used: a file\)"):
        await registry.resolve(fake.reference("app"))
    assert len(fake.requests) <= 4
    assert not other.requests


@pytest.mark.parametrize("token", ["identity_token", "registry_token"])
async def test_a_token_is_no_password(fake: FakeRegistry, client: NewClient, token: str) -> None:
    """A registry that wants Basic gets none of it, and the sentence says why."""
    fake.challenge_basic("me", "s3cret")
    with pytest.raises(AccessDenied, match=r"credentials used: a file\)") as caught:
        await client(Credential("", "", "a file", **{token: "t0ken"})).resolve(fake.reference("app"))
    assert "a user name and a password are wanted, not a token" in caught.value.__notes__[0]
    assert [seen.secret for seen in fake.requests] == [None]


# --- whose credential ----------------------------------------------------------------------


async def test_each_repository_asks_for_its_own_credential(fake: FakeRegistry, app: Image) -> None:
    """Namespaces: who may read one may not be known to the other."""
    fake.add("team/app", "latest", app)
    fake.challenge_basic("team", "pw")
    asked = []

    async def find(name: str) -> Credential | None:
        asked.append(name)
        return Credential("team", "pw", "a test") if "/team/" in name else None

    async with HttpRegistry(Settings(), credentials=find) as registry:
        assert await registry.resolve(fake.reference("team/app")) == app.top.descriptor
        with pytest.raises(AccessDenied, match="anonymous"):
            await registry.resolve(fake.reference("app"))
    assert asked == [f"{fake.address}/team/app", f"{fake.address}/app"]


@pytest.mark.parametrize(
    ("code", "error", "notes"),
    [(404, ImageNotFound, ["credentials used: a test"]), (429, RateLimited, ["credentials used: a test"])],
)
async def test_a_registry_that_hides_or_counts_depends_on_who_asks(
    fake: FakeRegistry, client: NewClient, code: int, error: type[RegistryError], notes: list[str]
) -> None:
    """So the source is named there too; a registry that never asked who we are leaves nothing to say."""
    fake.script("HEAD", "/manifests/", status(code))
    with pytest.raises(error) as caught:
        await client(ME).resolve(fake.reference("app"))
    assert not hasattr(caught.value, "__notes__")
    fake.challenge_basic("me", "s3cret")
    fake.script("HEAD", "/manifests/", honest, status(code))
    with pytest.raises(error) as caught:
        await client(ME).resolve(fake.reference("app"))
    assert caught.value.__notes__ == notes


async def test_a_layer_that_is_resumed_after_its_token_ended_gets_a_new_one(
    fake: FakeRegistry, other: FakeRegistry, app: Image, client: NewClient
) -> None:
    """R24: a cut, a refusal in the middle, one new token, and every byte once."""
    fake.challenge_bearer(other)
    fake.script("GET", "/blobs/", cut(at=100_000))
    registry, blob, got = client(), app.layers[0].descriptor, bytearray()
    await registry.resolve(fake.reference("app"))

    @asynccontextmanager
    async def writing_at(offset: int) -> AsyncIterator[Write]:
        async def write(chunk: bytes) -> None:
            got.extend(chunk)

        yield write

    await fetch_blob(
        blob,
        [(0, blob.size)],
        partial(registry.open_blob, fake.reference("app"), blob),
        writing_at,
        retries=Retries([0.0], 60),
        on_retry=lambda error, pause: other.tokens.issued.clear(),
    )
    assert bytes(got) == app.layers[0].raw
    shown = [(seen.secret, seen.headers.get("Range")) for seen in fake.asked("GET", "/blobs/")]
    assert shown == [
        ("Bearer secret-1", None),
        ("Bearer secret-1", "bytes=100000-"),
        ("Bearer secret-2", "bytes=100000-"),
    ]
    assert len(other.requests) == 2


# --- login ---------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["none", "basic", "bearer"])
async def test_login_accepts_the_right_password(fake: FakeRegistry, client: NewClient, scheme: str) -> None:
    """Basic, Bearer, and a registry that asks for nothing."""
    if scheme == "basic":
        fake.challenge_basic("me", "s3cret")
    elif scheme == "bearer":
        fake.challenge_bearer(fake, user="me", password="s3cret")
    await client().login(fake.address, "me", "s3cret")
    assert fake.requests[-1].path == "/v2/"


@pytest.mark.parametrize("scheme", ["basic", "bearer", "forbidden", "html"])
async def test_login_refuses_the_wrong_one(fake: FakeRegistry, client: NewClient, scheme: str) -> None:
    """With the registry's own words where it has some, and without the password."""
    if scheme == "basic":
        fake.challenge_basic("me", "s3cret")
    elif scheme == "bearer":
        fake.challenge_bearer(fake, user="me", password="s3cret")
    else:
        fake.script("GET", "/v2/", status(403) if scheme == "forbidden" else with_body(b"<html>", code=401))
    with pytest.raises(LoginFailed, match=fake.address) as caught:
        await client().login(fake.address, "me", "hunter2")
    assert "hunter2" not in repr([caught.value, caught.value.__cause__])


async def test_secrets_are_in_no_log_and_no_repr(
    fake: FakeRegistry, other: FakeRegistry, app: Image, client: NewClient, caplog: pytest.LogCaptureFixture
) -> None:
    """R26: not with everything logged that can be, and in nothing that an error leads to."""
    caplog.set_level(logging.DEBUG)
    fake.challenge_bearer(other, user="me", password="s3cret")
    registry = client(ME)
    assert await read_layer(registry, fake, app) == app.layers[0].raw
    fake.script("HEAD", "/manifests/", with_headers(Content_Type="text/html"))
    with pytest.raises(RegistryMisbehaved) as caught:
        await registry.resolve(fake.reference("app"))
    shown = caplog.text + repr(vars(registry)) + repr(caught.value) + repr(caught.value.__cause__)
    for secret in ("s3cret", "secret-1", basic("me", "s3cret").split()[1]):
        assert secret not in shown
