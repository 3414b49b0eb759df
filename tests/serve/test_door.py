"""Who is served and who is not, how much at once, and what is kept of it."""

from __future__ import annotations

import re
import ssl
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest
from aiohttp import ClientConnectionError, ClientSession, TCPConnector
from yarl import URL

from aiodocker_lite.errors import InvalidOption
from aiodocker_lite.reference import Reference
from aiodocker_lite.serve.connections import Bounds
from aiodocker_lite.serve.registry import Shelf
from aiodocker_lite.serve.server import serve
from aiodocker_lite.testing.messages import basic
from tests.fakes.certificates import Authority

TOKEN, PASSWORD = "t0ken-t0ken", "correct: horse"
BLOB = f"sha256:{'a' * 64}"
SIZE = 32 << 20


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    """One name, and one blob that is larger than what sockets buffer."""
    path = tmp_path / "blob"
    with path.open("wb") as file:
        file.truncate(SIZE)
    return Shelf(
        names=lambda: [Reference.parse("alpine")],
        manifest=lambda asked: ("application/json", b"{}"),
        blob=lambda digest: path if str(digest) == BLOB else None,
    )


@pytest.fixture
def secrets(tmp_path: Path) -> dict[str, Path]:
    """A token and a user."""
    (tmp_path / "tokens").write_text(f"# of the fleet\nold\n{TOKEN}\n")
    (tmp_path / "users").write_text(f"alice:{PASSWORD}\n")
    return {"token_file": tmp_path / "tokens", "password_file": tmp_path / "users"}


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Who signs certificates."""
    return Authority.make(tmp_path_factory.mktemp("authority"))


@asynccontextmanager
async def session_at(address: tuple[str, int]) -> AsyncIterator[ClientSession]:
    async with ClientSession("http://{}:{}".format(*address)) as session:
        yield session


# --- secrets -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shown", "status"),
    [
        (None, 401),
        (f"Bearer {TOKEN}", 200),
        ("bearer old", 200),
        ("Bearer wrong", 401),
        (f"Bearer {TOKEN}x", 401),
        ("Bearer # of the fleet", 401),
        ("Bearer ", 401),
        (basic("alice", PASSWORD), 200),
        (basic("anybody", TOKEN), 200),
        (basic("alice", "wrong"), 401),
        (basic("bob", PASSWORD), 401),
        (basic("", ""), 401),
        ("Basic %%%", 401),
        ("Digest x", 401),
    ],
)  # fmt: skip
async def test_only_who_has_a_secret_is_served(
    shown: str | None, status: int, shelf: Shelf, secrets: dict[str, Path]
) -> None:
    """On every path, also one that leads nowhere, so that nobody learns what is here."""
    headers = {} if shown is None else {"Authorization": shown}
    async with serve(shelf, **secrets) as address, session_at(address) as session:  # type: ignore[arg-type]
        for path in ("/v2/", "/metrics", "/v2/alpine/tags/list", "/v2/alpine/manifests/latest"):
            async with session.get(path, headers=headers) as answer:
                assert answer.status == status
                assert ("WWW-Authenticate" in answer.headers) == (status == 401)
        async with session.get("/v2/nothing", headers=headers) as answer:
            assert answer.status == (404 if status == 200 else 401)


async def test_tls_and_a_token_open_it_to_other_machines(
    shelf: Shelf, secrets: dict[str, Path], authority: Authority
) -> None:
    """With the certificate that was given; plain http gets nothing."""
    cert, key = authority.issue("registry")
    context = ssl.create_default_context(cafile=authority.certificate)
    async with (
        serve(shelf, "0.0.0.0", tls_cert=cert, tls_key=key, token_file=secrets["token_file"]) as (_, port),
        ClientSession(connector=TCPConnector(ssl=context)) as session,
    ):
        headers = {"Authorization": f"Bearer {TOKEN}"}
        async with session.get(f"https://127.0.0.1:{port}/v2/", headers=headers) as answer:
            assert answer.status == 200
        async with session.get(f"https://127.0.0.1:{port}/v2/alpine/blobs/{BLOB}", headers=headers) as answer:
            assert len(await answer.read()) == SIZE
        with pytest.raises(ClientConnectionError):
            await session.get(f"http://127.0.0.1:{port}/v2/", headers=headers)


async def test_everybody_is_served_only_where_that_was_said(
    shelf: Shelf, secrets: dict[str, Path], authority: Authority
) -> None:
    """TLS alone, or a secret alone, is not enough."""
    cert, key = authority.issue("registry")
    for half in ({"tls_cert": cert, "tls_key": key}, secrets):
        with pytest.raises(InvalidOption, match=r"0\.0\.0\.0 is not a loopback address; .* needs tls-cert"):
            async with serve(shelf, "0.0.0.0", **half):  # type: ignore[arg-type]
                pass
    async with (
        serve(shelf, "0.0.0.0", insecure=True) as (_, port),
        session_at(("127.0.0.1", port)) as session,
        session.get("/v2/") as answer,
    ):
        assert answer.status == 200


@pytest.mark.parametrize(
    ("option", "content", "sentence"),
    [
        ("token_file", None, "No such file"),
        ("token_file", "# nothing\n\n", "there is nothing in"),
        ("password_file", "alice\n", "is not USER:PASSWORD"),
        ("password_file", "alice:\n", "is not USER:PASSWORD"),
        ("password_file", "alice:$2y$05$abc\n", "the password of 'alice' is hashed"),
        ("tls_cert", "x", "it needs tls-key"),
        ("tls_key", "x", "it needs tls-cert"),
    ],
)
async def test_files_that_are_of_no_use(
    option: str, content: str | None, sentence: str, shelf: Shelf, tmp_path: Path
) -> None:
    """Said before anything is served, and without what is in them."""
    path = tmp_path / "file"
    if content is not None:
        path.write_text(content)
    with pytest.raises(InvalidOption, match=sentence) as caught:
        async with serve(shelf, **{option: path}):  # type: ignore[arg-type]
            pass
    assert "$2y$" not in str(caught.value)


async def test_a_certificate_that_is_none(shelf: Shelf, tmp_path: Path) -> None:
    """One sentence with both files."""
    path = tmp_path / "file"
    path.write_text("no certificate")
    with pytest.raises(InvalidOption, match="are no certificate and its key"):
        async with serve(shelf, tls_cert=path, tls_key=path):
            pass


# --- bounds ------------------------------------------------------------------------------------


@pytest.mark.parametrize("bounds", [Bounds(per_client=2), Bounds(connections=2)])
async def test_one_connection_too_many_is_turned_away(bounds: Bounds, shelf: Shelf) -> None:
    """429, which clients try again after; a place that is left is free."""
    async with serve(shelf, bounds=bounds) as (host, port):
        first, second, third = [await anyio.connect_tcp(host, port) for _ in range(3)]
        for connection in (first, second):
            await connection.send(b"GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n")
            assert (await connection.receive()).startswith(b"HTTP/1.1 200 OK")
        assert (await third.receive()).startswith(b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 1\r\n")
        await first.aclose()
        async with session_at((host, port)) as session:
            answer = await eventually(lambda: session.get("/metrics"))
            assert "aiodocker_lite_serve_turned_away_total" in answer
        for connection in (second, third):
            await connection.aclose()


async def eventually(ask: Callable[[], object]) -> str:
    """The server may not have seen yet that a connection was closed."""
    with anyio.fail_after(5):
        while True:
            async with ask() as answer:  # type: ignore[attr-defined]
                if answer.status == 200:
                    return str(await answer.text())
            await anyio.lowlevel.checkpoint()


@pytest.mark.parametrize("head", [b"", b"GET /v2/ HTTP/1.1\r\nHost: x\r\nX-Slow: "])
async def test_who_says_nothing_is_closed(head: bytes, shelf: Shelf) -> None:
    """Or never comes to an end of it, however often a byte comes."""
    async with serve(shelf, bounds=Bounds(idle=0.3)) as (host, port):
        connection = await anyio.connect_tcp(host, port)
        await connection.send(head)
        with anyio.fail_after(5), pytest.raises((anyio.EndOfStream, anyio.BrokenResourceError)):
            await connection.receive()
        await connection.aclose()


async def test_who_does_not_read_is_closed(shelf: Shelf) -> None:
    """After the idle time, with what the buffers took."""
    lines: list[str] = []
    logged = anyio.Event()

    def log(line: str) -> None:
        lines.append(line)
        logged.set()

    async with serve(shelf, bounds=Bounds(idle=0.3), access_log=log) as (host, port):
        connection = await anyio.connect_tcp(host, port)
        await connection.send(f"GET /v2/alpine/blobs/{BLOB} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        with anyio.fail_after(5):
            await logged.wait()
        await connection.aclose()
    assert int(lines[0].rpartition(" ")[2]) < SIZE


@pytest.mark.parametrize("head", ["GET /v2/{} HTTP/1.1\r\n\r\n", "GET /v2/ HTTP/1.1\r\nX: {}\r\n\r\n"])
async def test_a_head_that_is_too_long_is_refused(head: str, shelf: Shelf) -> None:
    """Before all of it is in memory."""
    async with serve(shelf) as (host, port):
        connection = await anyio.connect_tcp(host, port)
        await connection.send(head.format("x" * 10_000).encode())
        assert (await connection.receive()).startswith(b"HTTP/1.")
        await connection.aclose()


async def test_answers_finish_when_the_server_stops(shelf: Shelf) -> None:
    """Nobody new is let in meanwhile; without answers it stops at once."""
    stopping = anyio.Event()
    async with anyio.create_task_group() as tasks, ClientSession() as session:
        bodies = []

        async def run(*, task_status: anyio.abc.TaskStatus[tuple[str, int]]) -> None:
            async with serve(shelf, drain=20) as address:
                task_status.started(address)
                await stopping.wait()

        host, port = await tasks.start(run)
        async with session.get(f"http://{host}:{port}/v2/alpine/blobs/{BLOB}") as answer:
            await answer.content.readexactly(1)
            stopping.set()
            with anyio.fail_after(5):
                while True:
                    try:
                        await (await anyio.connect_tcp(host, port)).aclose()
                    except OSError:
                        break
            bodies.append(await answer.read())
    assert len(bodies[0]) == SIZE - 1

    began = time.monotonic()
    async with serve(shelf, drain=20):
        pass
    assert time.monotonic() - began < 5


# --- what is kept ------------------------------------------------------------------------------


async def test_the_log_has_a_line_for_each_request(shelf: Shelf, secrets: dict[str, Path]) -> None:
    """The common log format; nothing secret in it, and nothing that makes a second line."""
    lines: list[str] = []
    async with serve(shelf, **secrets, access_log=lines.append) as address, session_at(address) as session:  # type: ignore[arg-type]
        for path, auth in (
            (f"/v2/alpine/blobs/{BLOB}?ns=docker.io&token=hidden", basic("alice", PASSWORD)),
            ("/v2/", basic(TOKEN, TOKEN)),
            ("/v2/a%0Ab%22c", basic("alice", "wrong")),
        ):
            async with session.get(URL(path, encoded=True), headers={"Authorization": auth}) as answer:
                await answer.read()
    when = r"\[\d\d/\w{3}/\d{4}:\d\d:\d\d:\d\d \+0000\]"
    assert re.fullmatch(
        rf'127\.0\.0\.1 - alice {when} "GET /v2/alpine/blobs/{BLOB} HTTP/1\.1" 200 {SIZE}', lines[0]
    )
    assert re.fullmatch(rf'127\.0\.0\.1 - - {when} "GET /v2/ HTTP/1\.1" 200 2', lines[1])
    assert re.fullmatch(rf'127\.0\.0\.1 - - {when} "GET /v2/a%0Ab%22c HTTP/1\.1" 401 \d+', lines[2])
    assert len(lines) == 3


async def test_a_log_that_cannot_be_written_stops_nobody(shelf: Shelf) -> None:
    """It is counted."""

    def full(line: str) -> None:
        raise OSError(28, "No space left on device")

    async with serve(shelf, access_log=full) as address, session_at(address) as session:
        await (await session.get("/v2/")).read()
        async with session.get("/metrics") as answer:
            assert "aiodocker_lite_serve_unlogged_total 1" in (await answer.text()).splitlines()


async def test_numbers_are_kept(shelf: Shelf) -> None:
    """In the form that Prometheus reads: requests by kind and status, bytes, seconds, and what goes on."""
    async with serve(shelf) as address, session_at(address) as session:
        for path in ("/v2/", f"/v2/alpine/blobs/{BLOB}", "/v2/alpine/manifests/latest", "/v2/gone/tags/list"):
            await (await session.get(path)).read()
        await (await session.head(f"/v2/alpine/blobs/{BLOB}")).read()
        async with session.get("/metrics") as answer:
            assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
            lines = (await answer.text()).splitlines()
    for line in (
        'requests_total{kind="blob",status="200"} 2',
        'requests_total{kind="manifest",status="200"} 1',
        'requests_total{kind="tags",status="404"} 1',
        f'sent_bytes_total{{kind="blob"}} {SIZE}',
        'request_seconds_count{kind="blob"} 2',
        "in_flight 1",
        "connections 1",
        "partial_blobs_total 0",
    ):
        assert f"aiodocker_lite_serve_{line}" in lines
    metrics = [line for line in lines if not line.startswith("#")]
    assert all(float(line.rpartition(" ")[2]) >= 0 for line in metrics)
