"""Requests on their way: redirects, TLS, closed ports, cut connections, and cancelling all of it."""

from __future__ import annotations

import gc
import socket
import ssl
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import anyio
import pytest

from aiodocker_lite.errors import RegistryError, RegistryMisbehaved, RegistryUnavailable, RegistryUnreachable
from aiodocker_lite.reference import Reference
from aiodocker_lite.registry.client import HttpRegistry
from aiodocker_lite.registry.credentials import Credential
from aiodocker_lite.settings import Settings
from aiodocker_lite.testing.faults import Fault, cut, honest, redirected, with_body
from aiodocker_lite.testing.images import Image
from aiodocker_lite.testing.messages import basic
from aiodocker_lite.testing.registry import FakeRegistry
from tests.fakes.clients import NewClient, knowing

ME = Credential("me", "s3cret", "a test")
ANYWHERE = "0.0.0.0"
"""Connects to this machine, and is no loopback name: such a registry is asked over https."""


async def read_layer(registry: HttpRegistry, fake: FakeRegistry, app: Image) -> bytes:
    async with registry.open_blob(fake.reference("app"), app.layers[0].descriptor) as chunks:
        return b"".join([chunk async for chunk in chunks])


# --- connections ---------------------------------------------------------------------------


async def test_one_host_gets_a_bounded_number_of_connections(fake: FakeRegistry, client: NewClient) -> None:
    """However many images are asked for at once, and a few more than layers may have."""
    registry = client(downloads=2)
    async with anyio.create_task_group() as tasks:
        for _ in range(50):
            tasks.start_soon(registry.resolve, fake.reference("app"))
    assert len(fake.requests) >= 50
    assert 2 < len({seen.peer for seen in fake.requests}) <= 6


# --- redirects -----------------------------------------------------------------------------


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
async def test_a_secret_does_not_follow_a_redirect(
    fake: FakeRegistry, other: FakeRegistry, app: Image, client: NewClient, code: int
) -> None:
    """R01: another port is another origin."""
    fake.challenge_basic("me", "s3cret")
    other.add("app", "latest", app)
    target = f"http://{other.address}/v2/app/blobs/{app.layers[0].digest}"
    fake.script("GET", "/blobs/", honest, redirected(target, code))
    assert await read_layer(client(ME), fake, app) == app.layers[0].raw
    assert fake.requests[-1].secret == basic("me", "s3cret")
    assert [seen.secret for seen in other.requests] == [None]
    assert not {"Cookie", "Proxy-Authorization"} & set(other.requests[0].headers)


async def test_the_same_port_under_another_name_is_another_origin(
    fake: FakeRegistry, app: Image, client: NewClient
) -> None:
    """R01: localhost is not 127.0.0.1, for a cookie or a password."""
    fake.challenge_basic("me", "s3cret")
    path = f"/v2/app/blobs/{app.layers[0].digest}"
    refused = redirected(f"{fake.url}{path}"), with_body(b"x", code=403)
    fake.script("GET", "/blobs/", honest, *refused * 6)
    with pytest.raises(RegistryUnavailable):
        await read_layer(client(ME), fake, app)
    assert fake.requests[-1].secret is None


async def test_a_secret_stays_on_a_redirect_at_home(
    fake: FakeRegistry, app: Image, client: NewClient
) -> None:
    """A relative address, and a whole one with the same origin."""
    fake.challenge_basic("me", "s3cret")
    path = f"/v2/app/blobs/{app.layers[0].digest}"
    there = redirected(path), redirected(f"http://{fake.address}{path}")
    fake.script("GET", "/blobs/", honest, *there)
    assert await read_layer(client(ME), fake, app) == app.layers[0].raw
    assert {seen.secret for seen in fake.requests[1:]} == {basic("me", "s3cret")}


async def test_a_range_follows_a_redirect(
    fake: FakeRegistry, other: FakeRegistry, app: Image, client: NewClient
) -> None:
    """Storage is asked for the missing bytes only."""
    other.add("app", "latest", app)
    fake.script("GET", "/blobs/", redirected(f"{other.url}/v2/app/blobs/{app.layers[0].digest}"))
    async with client().open_blob(fake.reference("app"), app.layers[0].descriptor, 5) as chunks:
        assert b"".join([chunk async for chunk in chunks]) == app.layers[0].raw[5:]
    assert other.requests[0].headers["Range"] == "bytes=5-"


@pytest.mark.parametrize("query", ["a=%2Fb%20c+d&e=%7E~&sig=x%3D%3d", "a=b;c&&d", "%41=%zz"])
async def test_a_signed_address_is_kept_to_the_letter(
    fake: FakeRegistry, other: FakeRegistry, app: Image, client: NewClient, query: str
) -> None:
    """A signature is of the address as it was written."""
    fake.script("GET", "/blobs/", *[redirected(f"{other.url}/s/%2e%2F~x?{query}")] * 6)
    with pytest.raises(RegistryUnavailable):
        await read_layer(client(), fake, app)
    assert other.requests[0].target == f"/s/%2e%2F~x?{query}"


@pytest.mark.parametrize(
    ("location", "reason"),
    [
        ("file:///etc/passwd", "'file:' address"),
        ("gopher://localhost:70/", "'gopher:'"),
        ("ftp://localhost/x", "'ftp:'"),
        ("http://192.0.2.1/x", "plain http at 192.0.2.1"),
        ("http://storage.example.com/x", "plain http at storage.example.com"),
        ("http://[::1", "no URL"),
        ("http://localhost:99999/", "no URL"),
    ],
)
async def test_a_redirect_that_no_registry_gives_is_refused(
    fake: FakeRegistry, app: Image, client: NewClient, location: str, reason: str
) -> None:
    """R21: before anything is sent there."""
    fake.script("GET", "/blobs/", redirected(location))
    with pytest.raises(RegistryMisbehaved, match=reason):
        await read_layer(client(), fake, app)


async def test_a_user_name_in_a_redirect_is_not_sent(
    fake: FakeRegistry, other: FakeRegistry, app: Image, client: NewClient
) -> None:
    """It would become an Authorization header."""
    fake.script("GET", "/blobs/", *[redirected(other.url.replace("://", "://me:pw@") + "/x")] * 6)
    with pytest.raises(RegistryUnavailable):
        await read_layer(client(), fake, app)
    assert other.requests[0].secret is None


async def test_a_circle_of_redirects_ends(fake: FakeRegistry, app: Image, client: NewClient) -> None:
    """R21: ten are followed, the eleventh is not."""
    fake.script("GET", "/blobs/", *[redirected("/v2/app/blobs/again")] * 50)
    with pytest.raises(RegistryMisbehaved, match="more than 10 times"):
        await read_layer(client(), fake, app)
    assert len(fake.requests) == 11


# --- TLS -----------------------------------------------------------------------------------


def anywhere(registry: FakeRegistry) -> Reference:
    return Reference.parse(f"{ANYWHERE}:{registry.port}/app")


async def test_a_certificate_nobody_trusts_is_refused(client: NewClient, tls: ssl.SSLContext) -> None:
    """R08: at once, in plain words, and not by plain http instead."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def shake_hands_once() -> None:
            # In a thread, for asyncio's debug mode reports a refused handshake of its own servers.
            connection, _ = listener.accept()
            with connection, suppress(OSError):
                tls.wrap_socket(connection, server_side=True).close()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(anyio.to_thread.run_sync, shake_hands_once)
            reference = Reference.parse(f"{ANYWHERE}:{listener.getsockname()[1]}/app")
            with pytest.raises(
                RegistryUnreachable,
                match=r"signed by itself.*/etc/docker/certs\.d/0\.0\.0\.0:\d+/ca\.crt.*--tls-verify=false",
            ):
                await client(ME).resolve(reference)
        listener.settimeout(0)
        with pytest.raises(BlockingIOError):
            listener.accept()


async def test_insecure_takes_any_certificate(app: Image, client: NewClient, tls: ssl.SSLContext) -> None:
    """Still over https."""
    async with FakeRegistry(tls=tls) as fake:
        fake.add("app", "latest", app)
        assert await client(insecure=True).resolve(anywhere(fake)) == app.top.descriptor


async def test_plain_http_needs_insecure(fake: FakeRegistry, app: Image, client: NewClient) -> None:
    """R08: without it the sentence says what would help; with it http is used where it is spoken."""
    with pytest.raises(RegistryUnreachable, match="plain http, not https; --tls-verify=false"):
        await client(ME).resolve(anywhere(fake))
    assert not fake.asked("HEAD", "")
    registry = client(insecure=True)
    async with anyio.create_task_group() as tasks:
        for _ in range(3):
            tasks.start_soon(registry.resolve, anywhere(fake))
    assert len(fake.asked("HEAD", "/manifests/")) == 3


async def test_other_failures_of_tls_do_not_lead_to_http(client: NewClient) -> None:
    """R08: whoever cuts the handshake does not get a password in the clear."""
    answers: list[bytes] = []

    async def hang_up(stream: anyio.abc.SocketStream) -> None:
        async with stream:
            answers.append(await stream.receive())

    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener:
        port = listener.extra(anyio.abc.SocketAttribute.local_port)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(listener.serve, hang_up)
            with pytest.raises(RegistryUnavailable):
                await client(ME, insecure=True).resolve(Reference.parse(f"{ANYWHERE}:{port}/app"))
            tasks.cancel_scope.cancel()
    assert answers
    assert all(answer[:1] == b"\x16" for answer in answers)  # a TLS handshake, and nothing else


async def test_https_does_not_redirect_to_http(
    other: FakeRegistry, app: Image, client: NewClient, tls: ssl.SSLContext
) -> None:
    """R21: not even to this machine, not even with --insecure."""
    async with FakeRegistry(tls=tls) as fake:
        fake.add("app", "latest", app)
        fake.script("HEAD", "/manifests/", redirected(f"{other.url}/x"))
        with pytest.raises(RegistryMisbehaved, match="redirects to plain http"):
            await client(insecure=True).resolve(anywhere(fake))
    assert other.requests == []


async def test_https_does_not_ask_for_a_token_over_http(
    other: FakeRegistry, app: Image, client: NewClient, tls: ssl.SSLContext
) -> None:
    """R03: the password would cross the network in the clear."""
    async with FakeRegistry(tls=tls) as fake:
        fake.add("app", "latest", app)
        fake.challenge_bearer(other)
        with pytest.raises(RegistryMisbehaved, match="token server speaks plain http"):
            await client(ME, insecure=True).resolve(anywhere(fake))
    assert other.requests == []


# --- nobody there --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("registry", "reason"),
    [
        ("localhost:1", "refused"),
        ("no-such-host.invalid", "host name is not known"),
        ("999.1.1.1", "host name is not known|not valid"),
        ("127.1:5000", "not valid|refused|not known"),
    ],
)
async def test_nobody_there_is_said_at_once(client: NewClient, registry: str, reason: str) -> None:
    """A closed port and an unknown host are not tried again."""
    with pytest.raises(RegistryUnreachable, match=reason) as caught:
        await client().resolve(Reference.parse(f"{registry}/app"))
    assert not caught.value.retryable


async def test_a_registry_that_was_there_may_come_back(app: Image, client: NewClient) -> None:
    """A refused connection during a pull is a restart: that is worth another try."""
    registry = client()
    async with FakeRegistry() as fake:
        fake.add("app", "latest", app)
        await registry.resolve(fake.reference("app"))
    with pytest.raises(RegistryUnavailable, match="refused") as caught:
        await registry.resolve(fake.reference("app"))
    assert caught.value.retryable


@pytest.mark.parametrize("greeting", [b"SSH-2.0-OpenSSH_9.2\r\n", b"HTTP/9 what\r\n\r\n"])
async def test_something_that_is_not_http_is_named(client: NewClient, greeting: bytes) -> None:
    """Another service on the port; nothing of the request is carried along in the error."""

    async def greet(stream: anyio.abc.SocketStream) -> None:
        async with stream:
            await stream.send(greeting)
            await stream.receive()

    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener:
        port = listener.extra(anyio.abc.SocketAttribute.local_port)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(listener.serve, greet)
            with pytest.raises(RegistryMisbehaved, match="not HTTP") as caught:
                await client(ME).resolve(Reference.parse(f"localhost:{port}/app"))
            tasks.cancel_scope.cancel()
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


@pytest.mark.parametrize(
    ("ending", "reason"),
    [(b"", "hung up before the connection was secure"), (b"\x15\x03\x01\0\x02\x02\x16", "alert")],
)
async def test_a_handshake_that_fails_is_named(client: NewClient, ending: bytes, reason: str) -> None:
    """R08: not even this machine is asked over http after that."""
    greetings = []

    async def end(stream: anyio.abc.SocketStream) -> None:
        async with stream:
            greetings.append(await stream.receive())
            if ending:
                await stream.send(ending)

    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener:
        port = listener.extra(anyio.abc.SocketAttribute.local_port)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(listener.serve, end)
            with pytest.raises(RegistryUnavailable, match=reason):
                await client(ME).resolve(Reference.parse(f"localhost:{port}/app"))
            tasks.cancel_scope.cancel()
    assert [greeting[:1] for greeting in greetings] == [b"\x16"] * len(greetings)


async def test_a_registry_that_says_nothing_is_given_up(client: NewClient) -> None:
    """It accepts connections and that is all: a silent firewall, a stopped process."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        with pytest.raises(RegistryUnavailable, match="there is no connection to it in time"):
            await client(idle_timeout=0.2).resolve(Reference.parse(f"localhost:{port}/app"))


# --- addresses of this network --------------------------------------------------------------

_ON_THE_INTERNET = """
import anyio, sys
from aiodocker_lite.errors import RegistryMisbehaved
from aiodocker_lite.reference import Reference
from aiodocker_lite.registry.client import HttpRegistry
from aiodocker_lite.registry.credentials import Credential
from aiodocker_lite.settings import Settings
from aiodocker_lite.settings import Settings
from aiodocker_lite.testing.images import image, layer
from aiodocker_lite.testing.faults import redirected
from aiodocker_lite.testing.registry import FakeRegistry
from tests.fakes.clients import knowing

async def main():
    app = image(layer({"a": b"b"}))
    settings, me = Settings(insecure=True), Credential("me", "s3cret", "a test")
    async with FakeRegistry(host="8.8.4.4") as public, FakeRegistry() as private:
        public.add("app", "latest", app)
        for host in ("127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "0.0.0.0", "2130706433", "0x7f.1", "named.example"):
            for case in ("token", "hop", "redirect"):
                if case == "token":
                    public.challenge = f'Bearer realm="http://{host}:{private.port}/token"'
                elif case == "hop":
                    public.challenge = f'Bearer realm="{public.url}/token"'
                    public.script("GET", "/token", redirected(f"http://{host}:{private.port}/token"))
                else:
                    public.challenge = None
                    public.script("HEAD", "/manifests/", redirected(f"http://{host}:{private.port}/x"))
                async with HttpRegistry(settings, credentials=knowing(me)) as registry:
                    try:
                        await registry.resolve(Reference.parse(f"8.8.4.4:{public.port}/app"))
                    except Exception as error:
                        print(case, host, type(error).__name__, error)
        public.challenge_bearer(public)
        async with HttpRegistry(settings, credentials=knowing(me)) as registry:
            await registry.resolve(Reference.parse(f"8.8.4.4:{public.port}/app"))
        print("requests:", len(private.requests))

anyio.run(main)
"""


@pytest.mark.root
def test_a_registry_of_the_internet_cannot_send_us_into_this_network(tmp_path: Path) -> None:
    """R03, R04, R21: as token server, by its redirect or by its own, by number or by name; the dialled address counts.

    In a network of its own, where this machine has an address of the internet.
    """
    (tmp_path / "hosts").write_text("127.0.0.1 localhost named.example\n")
    setup = (
        "ip link set lo up && ip address add 8.8.4.4/32 dev lo"
        f' && mount --bind {tmp_path}/hosts /etc/hosts && exec "$@"'
    )
    command = [
        "unshare",
        "--net",
        "--mount",
        "sh",
        "-ec",
        setup,
        "sh",
        sys.executable,
        "-c",
        _ON_THE_INTERNET,
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[2])
    assert done.returncode == 0, done.stderr
    *refusals, requests = done.stdout.splitlines()
    assert len(refusals) == 21, done.stdout
    assert all("RegistryMisbehaved" in line or "RegistryUnreachable" in line for line in refusals), (
        done.stdout
    )
    assert sum("inside this network" in line for line in refusals) >= 12, done.stdout
    assert requests == "requests: 0"


# --- cancelling ----------------------------------------------------------------------------

_TURNS_MAX = 120
_CANCELLED: list[Fault] = [
    honest,
    cut(0, "stall"),
    cut(1000, "stall"),
    cut(1000, "reset"),
    redirected("/v2/app/x"),
]


async def _is_faster_than(turns: int, registry: HttpRegistry, fake: FakeRegistry, app: Image) -> bool:
    """Read a layer and cancel that after so many turns; whether it came to an end before."""
    finished = False

    async def stop() -> None:
        for _ in range(turns):
            await anyio.lowlevel.checkpoint()
        both.cancel_scope.cancel()

    async def work() -> None:
        nonlocal finished
        with suppress(RegistryError):
            await read_layer(registry, fake, app)
        finished = True

    async with anyio.create_task_group() as both:
        both.start_soon(stop)
        both.start_soon(work)
    return finished


@pytest.mark.parametrize("fault", _CANCELLED, ids=["honest", "no body", "half", "reset", "redirect"])
async def test_a_cancelled_download_leaves_no_connection(
    fake: FakeRegistry, app: Image, fault: Fault
) -> None:
    """Cancel after 0, 1, 2, ... turns of the loop; warnings are errors, so nothing is left unclosed."""
    fake.challenge_bearer(fake)
    for turns in range(_TURNS_MAX):
        fake.script("GET", "/blobs/", honest, fault)
        async with HttpRegistry(Settings(), credentials=knowing(ME)) as registry:
            finished = await _is_faster_than(turns, registry, fake, app)
        await fake.wait_until_closed()
        fake.forget()
        if finished:
            break
    assert turns > 10
    gc.collect()


async def test_a_cancelled_download_gives_its_connection_up_at_once(
    fake: FakeRegistry, app: Image, client: NewClient
) -> None:
    """Not only when the client is closed: a slot of the registry is somebody's."""
    registry = client()
    fake.script("GET", "/blobs/", cut(1000, "stall"))
    reading = anyio.Event()

    async def read() -> None:
        async with registry.open_blob(fake.reference("app"), app.layers[0].descriptor) as chunks:
            async for _ in chunks:
                reading.set()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(read)
        await reading.wait()
        tasks.cancel_scope.cancel()
    await fake.wait_until_closed()


async def test_leaving_a_download_half_way_closes_its_connection(
    fake: FakeRegistry, app: Image, client: NewClient
) -> None:
    """The rest is not read to be polite: it may be gigabytes."""
    registry = client()
    fake.script("GET", "/blobs/", cut(200_000, "stall"))
    async with registry.open_blob(fake.reference("app"), app.layers[0].descriptor) as chunks:
        await anext(aiter(chunks))
    await fake.wait_until_closed()


async def test_a_connection_attempt_can_be_cancelled(client: NewClient) -> None:
    """aiohttp issue 5979: a cancellation must not be taken for a timeout."""
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        port = full.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)), anyio.move_on_after(0.2) as scope:
            await client().resolve(Reference.parse(f"127.0.0.1:{port}/app"))
    assert scope.cancelled_caught


async def test_an_html_page_at_a_redirect_is_named_with_its_host(
    fake: FakeRegistry, other: FakeRegistry, client: NewClient
) -> None:
    """R20: who sent it, and how we came there."""
    fake.script("HEAD", "/manifests/", redirected(f"{other.url}/login"))
    other.script("HEAD", "/login", with_body(b"<html>"))
    with pytest.raises(
        RegistryMisbehaved, match=rf"127.0.0.1:\d+ \(where {fake.address} sends us\).*'text/html'"
    ):
        await client().resolve(fake.reference("app"))
