"""A real server that is a registry, with a script of faults, and a memory of everything it was asked.

    async with FakeRegistry() as registry:
        registry.add("app", "latest", image(layer({"a": b"b"})))
        registry.script("GET", "/blobs/", cut(at=100), status(503))

The first request that matches gets the first fault, the next the second, and so on; then, and
for everything else, it is an honest registry.
"""

from __future__ import annotations

import json
import re
import socket
import ssl
import struct
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Self

import anyio
from aiohttp import web

from aiodocker_lite.digest import Digest
from aiodocker_lite.reference import Reference
from aiodocker_lite.testing.faults import Fault
from aiodocker_lite.testing.images import Image, Index
from aiodocker_lite.testing.messages import JSON, Exchange, Reply, Seen, basic, error, ranged

_PIECE = 1 << 16


@dataclass
class Tokens:
    """What a token server gives out, shared with the registry that believes in it."""

    user: str = ""
    password: str = ""
    """Whoever asks must be this user; empty: anybody may ask."""
    identity: str = ""
    """An identity token, for which a POST gets a token; empty: no POST is known here."""
    answer: Mapping[str, object] = field(default_factory=lambda: {"expires_in": 300})
    """Beside the token; a member of None is left out."""
    name: str = "token"
    prefix: str = "secret"
    """How the tokens of one server begin."""
    issued: set[str] = field(default_factory=set)
    personal: set[str] = field(default_factory=set)
    """Those that were given to somebody who showed a secret."""
    count: int = 0

    def issue(self, seen: Seen) -> Reply:
        if seen.method == "POST" and not self.identity:
            return error(405, "UNSUPPORTED", "no such method")
        if seen.method == "POST" and seen.form.get("refresh_token") != self.identity:
            return error(401, "UNAUTHORIZED", "invalid refresh token")
        if seen.method == "GET" and self.user and seen.secret != basic(self.user, self.password):
            return error(401, "UNAUTHORIZED", "incorrect username or password")
        self.count += 1
        token = f"{self.prefix}-{self.count}"
        self.issued.add(token)
        if seen.secret or seen.body:
            self.personal.add(token)
        document = {**self.answer, self.name: token}
        return Reply(200, json.dumps({k: v for k, v in document.items() if v is not None}).encode(), JSON)


class FakeRegistry:
    """An async context manager; listens on a free loopback port."""

    def __init__(self, *, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1") -> None:
        self.requests: list[Seen] = []
        self.exchanges: list[Exchange] = []
        """The same requests, with their answers and how much of these was sent."""
        self.wrong: list[Exception] = []
        """What faults have raised: the end of the registry raises the first, or a test would pass without its fault."""
        self.tokens = Tokens()
        self.challenge: str | None = None
        """WWW-Authenticate for whoever shows neither `tokens` nor `password`."""
        self.password: tuple[str, str] | None = None
        self._tls = tls
        self._host = host
        self._documents: dict[tuple[str, str], tuple[str, bytes]] = {}
        self._blobs: dict[tuple[str, str], bytes] = {}
        self._storage: FakeRegistry | None = None
        self._uses_left: Counter[str] = Counter()
        """How often an address that was signed is still good, by its signature."""
        self._script: list[tuple[str, str, Fault]] = []
        self._closing = anyio.Event()

    async def __aenter__(self) -> Self:
        self._server = web.Server(self._handle, access_log=None, handler_cancellation=True)
        self._runner = web.ServerRunner(self._server, shutdown_timeout=0)
        await self._runner.setup()
        site = web.TCPSite(self._runner, self._host, 0, ssl_context=self._tls)
        await site.start()
        self.port: int = self._runner.addresses[0][1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing.set()
        for connection in self._server.connections if self._tls else ():
            # TLS would wait for the other side's goodbye, and not be closed before the loop is.
            if connection.transport is not None:
                connection.transport.abort()
        with anyio.CancelScope(shield=True):
            await self._runner.cleanup()
        if self.wrong and error is None:
            raise self.wrong[0]

    @property
    def address(self) -> str:
        """What stands before the first slash of an image name."""
        return f"localhost:{self.port}"

    def reference(self, name: str) -> Reference:
        """The name of an image here."""
        return Reference.parse(f"{self.address}/{name}")

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://{self._host}:{self.port}"

    @property
    def open_connections(self) -> int:
        return len(self._server.connections)

    async def wait_until_closed(self) -> None:
        """Return when no client is connected any more; fails after a second."""
        with anyio.fail_after(1):
            while self.open_connections:
                await anyio.lowlevel.checkpoint()

    def add(self, repository: str, tag: str, each: Image | Index) -> None:
        """Have an image under a name, as a push would."""
        for document in each.documents:
            self._documents[repository, str(document.digest)] = (document.media_type, document.raw)
        self._documents[repository, tag] = (each.top.media_type, each.top.raw)
        for blob in each.blobs:
            self._blobs[repository, str(blob.digest)] = blob.raw

    def lend(self, repository: str, other: str) -> None:
        """Have the blobs of one repository in another, too."""
        self._blobs |= {
            (other, digest): raw for (name, digest), raw in self._blobs.items() if name == repository
        }

    def keep_blobs_at(self, storage: FakeRegistry, uses: int = 1) -> None:
        """Redirect requests for blobs to another server, which has the same ones from now on.

        Each to an address of its own, which is good for so many requests.
        """
        self._storage, self._uses, storage._blobs = storage, uses, self._blobs

    def script(self, method: str, part: str, *faults: Fault) -> None:
        """Requests with this method (or "" for any) and this in their path meet these faults in turn."""
        self._script += [(method, part, fault) for fault in faults]

    def forget(self) -> None:
        """Be honest from now on, and remember nothing."""
        self._script.clear()
        self.requests.clear()
        self.exchanges.clear()

    def challenge_basic(self, user: str, password: str) -> None:
        self.challenge, self.password = 'Basic realm="fake"', (user, password)

    def challenge_bearer(self, server: FakeRegistry, **tokens: object) -> None:
        """Want a token of the server at `/token` of another fake (or of this one)."""
        self.challenge = f'Bearer realm="{server.url}/token",service="fake"'
        self.tokens = server.tokens = Tokens(**tokens)  # type: ignore[arg-type]

    def asked(self, method: str, part: str) -> list[Seen]:
        """The requests with this method and this in their path."""
        return [seen for seen in self.requests if seen.method == method and part in seen.path]

    def sent(self, part: str) -> int:
        """Bytes of all bodies that were sent for paths with this in them."""
        return sum(exchange.sent for exchange in self.exchanges if part in exchange.seen.path)

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        peer = request.transport and request.transport.get_extra_info("peername")
        headers = request.headers.copy()
        query, body = dict(request.query), await request.read()
        seen = Seen(request.method, request.path, request.raw_path, query, headers, peer, body)
        self.requests.append(seen)
        reply = self._honest(seen)
        for position, (method, part, fault) in enumerate(self._script):
            if method in ("", seen.method) and part in seen.path:
                del self._script[position]
                reply = self._meet(fault, reply)
                break
        self.exchanges.append(exchange := Exchange(seen, reply))
        return await self._send(request, exchange)

    def _meet(self, fault: Fault, reply: Reply) -> Reply:
        try:
            made = fault(reply)
            if not isinstance(made, Reply):
                raise TypeError(f"the fault {fault!r} makes {made!r} of a reply")
        except Exception as wrong:
            self.wrong.append(wrong)
            raise
        return made

    def _honest(self, seen: Seen) -> Reply:
        if seen.path == "/token":
            return self.tokens.issue(seen)
        if not self._is_welcome(seen):
            refusal = error(401, "UNAUTHORIZED", "authentication required")
            return replace(refusal, headers={**JSON, "WWW-Authenticate": self.challenge or ""})
        if seen.path == "/v2/":
            return Reply(200, b"{}", JSON)
        match = re.fullmatch(r"/v2/(.+)/(manifests|blobs)/([^/]+)", seen.path)
        if match is None:
            return error(404, "NAME_UNKNOWN", "nothing here")
        repository, kind, name = match.groups()
        if kind == "manifests":
            return self._manifest(repository, name)
        blob = self._blobs.get((repository, name))
        if blob is None:
            return error(404, "BLOB_UNKNOWN", "blob unknown")
        if self._storage is not None:
            return self._storage.sign(seen.path, self._uses)
        if (signature := seen.query.get("signature")) is not None:
            if not self._uses_left[signature]:
                return error(403, "DENIED", "the address has expired")
            self._uses_left[signature] -= 1
        return ranged(blob, seen)

    def sign(self, path: str, uses: int) -> Reply:
        """A redirect to this server, good for so many requests."""
        signature = str(len(self._uses_left) + 1)
        self._uses_left[signature] = uses
        return Reply(307, b"", {"Location": f"{self.url}{path}?signature={signature}"})

    def _manifest(self, repository: str, name: str) -> Reply:
        if (repository, name) not in self._documents:
            return error(404, "MANIFEST_UNKNOWN", "manifest unknown")
        media_type, raw = self._documents[repository, name]
        return Reply(200, raw, {"Content-Type": media_type, "Docker-Content-Digest": str(Digest.of(raw))})

    def _is_welcome(self, seen: Seen) -> bool:
        if self.challenge is None:
            return True
        if self.password is not None:
            return seen.secret == basic(*self.password)
        return (seen.secret or "").removeprefix("Bearer ") in self.tokens.issued

    async def _send(self, request: web.BaseRequest, exchange: Exchange) -> web.StreamResponse:
        reply = exchange.reply
        await anyio.sleep(reply.delay)
        kind = _Unframed if reply.length == "close" else web.StreamResponse
        response = kind(status=reply.status, headers=reply.headers)
        if reply.at == -1:
            await self._end_badly(request, reply)
            return response
        if not isinstance(reply.length, str):
            response.content_length = len(reply.body) if reply.length is None else reply.length
        for name, value in reply.more:
            response.headers.add(name, value)
        if reply.length is not None:
            response.force_close()
        with suppress(ConnectionError):  # the client has had enough
            await response.prepare(request)
            if request.method == "HEAD":
                return response
            await self._send_body(response, exchange)
            if reply.at is None:
                await response.write_eof()
            else:
                await self._end_badly(request, reply)
        return response

    async def _send_body(self, response: web.StreamResponse, exchange: Exchange) -> None:
        reply = exchange.reply
        body = memoryview(reply.body)[: reply.at]
        step = 1 if reply.pace else max(len(body), 1)
        for start in range(0, len(body), step):
            await anyio.sleep(reply.pace)
            # Before it is written: whoever has read it may ask at once for what comes behind.
            exchange.sent += step
            await response.write(bytes(body[start : start + step]))
        for start in range(0, reply.filler, _PIECE):
            size = min(_PIECE, reply.filler - start)
            exchange.sent += size
            await response.write(bytes(size))

    async def _end_badly(self, request: web.BaseRequest, reply: Reply) -> None:
        transport = request.transport
        if transport is None:
            return
        if reply.ending == "stall":
            await self._closing.wait()
        if reply.ending == "reset":
            # With this a close sends RST, not FIN.
            linger = struct.pack("ii", 1, 0)
            transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        transport.close()


class _Unframed(web.StreamResponse):
    """A body without a length and without chunks: it ends where the connection does."""

    _length_check = False
