"""One request on its way: connections, redirects, and failures in plain words.

Secrets are attached hop by hop, by a callable that is told where the hop goes; so none follows a
redirect to another origin (distribution specification, "Redirects"; CVE-2026-48978 and its kin).
"""

from __future__ import annotations

import base64
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

import aiohttp
import anyio
from aiohttp.connector import AddrInfoType
from multidict import CIMultiDictProxy
from yarl import URL

from aiodocker_lite.errors import RegistryMisbehaved, RegistryUnavailable
from aiodocker_lite.registry.answers import ERROR_MAX, explain, message_of, speaks_plain_http
from aiodocker_lite.registry.hosts import is_loopback, is_public
from aiodocker_lite.settings import Settings

REDIRECTS = {301, 302, 303, 307, 308}
_HOPS_MAX = 10
_CONNECT_MAX = 30.0
_HEADER_MAX = 32 * 1024
_BUFFER = 256 * 1024
"""Bytes of a body that are kept before the socket is left alone; more costs memory and saves no time."""
_TRANSPORT_ERRORS = (aiohttp.ClientError, TimeoutError, OSError)

Authorize = Callable[[URL, bool], Awaitable[str | None]]
"""The Authorization header for a URL; the flag says that no other origin was visited before."""


class _NotPublic(OSError):
    """An address that strangers may not send us to."""


class _Response(aiohttp.ClientResponse):
    """Remembers who sent it, for a short body gives its connection back before anybody can ask."""

    from_public = False

    async def start(self, connection: aiohttp.connector.Connection) -> aiohttp.ClientResponse:
        peer = connection.transport.get_extra_info("peername") if connection.transport else None
        self.from_public = peer is not None and is_public(peer[0])
        return await super().start(connection)


class Body:
    """The bytes of a body in pieces as large as they come; iterate once.

    A plain iterator and not a generator: one that is left half-way has nothing to clean up.
    """

    def __init__(self, content: aiohttp.StreamReader, sender: str) -> None:
        self._content = content
        self._sender = sender

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        try:
            chunk = await self._content.readany()
        except _TRANSPORT_ERRORS as error:
            raise explain(error, self._sender, known=True) from error
        if not chunk:
            raise StopAsyncIteration
        return chunk


@dataclass(frozen=True, slots=True)
class Answer:
    """The last answer of a chain of redirects."""

    status: int
    headers: CIMultiDictProxy[str]
    url: URL
    at_home: bool
    """Nobody but the origin that was asked first had a hand in it."""
    sender: str
    """Who answered, for messages."""
    from_public: bool
    """It came over the internet; such a host may not send us to an address of this network."""
    authorization: str | None = field(repr=False)
    body: Body = field(repr=False)
    form: Mapping[str, str] | None = field(default=None, repr=False)
    """What was sent, where a form was."""

    async def read(self, limit: int) -> bytes:
        """The body, and one piece more than `limit` bytes of it at most."""
        parts, size = [], 0
        async for chunk in self.body:
            parts.append(chunk)
            size += len(chunk)
            if size > limit:
                break
        return b"".join(parts)

    async def message(self) -> str:
        """What the body says about an error, if anything; a broken body says nothing more.

        Some repeat what they were told in confidence: that is left out.
        """
        with suppress(RegistryUnavailable):
            return message_of(
                await self.read(ERROR_MAX), _secrets_in(self.authorization or "", self.form or {})
            )
        return ""


class Wire:
    """The connections of one engine; an async context manager that closes them."""

    def __init__(self, settings: Settings) -> None:
        self.small_total = 4 * settings.idle_timeout
        """Seconds that anything but a blob may take in all."""
        self._settings = settings
        self._sessions: dict[bool, aiohttp.ClientSession] = {}
        self._known: set[URL] = set()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with anyio.CancelScope(shield=True):
            for session in self._sessions.values():
                await session.close()
        self._sessions.clear()

    @asynccontextmanager
    async def asking(
        self,
        method: str,
        start: URL,
        *,
        registry: str,
        headers: Mapping[str, str],
        authorize: Authorize,
        form: Mapping[str, str] | None = None,
        public_only: bool = False,
        total: float | None = None,
    ) -> AsyncIterator[Answer]:
        """Send a request, follow redirects, lend the answer; its connection is free or closed after.

        `registry` is for messages; a `form` goes to no other origin; `public_only` refuses addresses
        of this machine and network; `total` is the time limit of each hop in seconds. Raises
        RegistryUnavailable, RegistryMisbehaved.
        """
        url, at_home = start, True
        for _ in range(_HOPS_MAX + 1):
            authorization = await authorize(url, at_home)
            secret = {"Authorization": authorization} if authorization else {}
            sender = registry if at_home else f"{url.host} (where {registry} sends us)"
            response = await self._hop(method, url, {**headers, **secret}, sender, public_only, total, form)
            try:
                if response.status not in REDIRECTS or "Location" not in response.headers:
                    body = Body(response.content, sender)
                    public = public_only or response.from_public
                    yield Answer(
                        response.status,
                        response.headers,
                        url,
                        at_home,
                        sender,
                        public,
                        authorization,
                        body,
                        form,
                    )
                    return
            finally:
                # Closes the connection unless the body was read to its end.
                response.release()
            target = self._target(url, response.headers["Location"], registry)
            if target.origin() != url.origin():
                if form is not None:
                    raise RegistryMisbehaved(
                        registry, f"it sends us to {target.host} with what is for itself"
                    )
                at_home = False
                public_only = public_only or response.from_public
            url = target
        raise RegistryMisbehaved(registry, f"it redirects more than {_HOPS_MAX} times")

    async def speaks_plain_http(self, url: URL) -> bool:
        """Whether a server that was asked over https shows that it only knows http.

        Raises RegistryUnavailable where it shows nothing, above all after any other failure of TLS.
        """
        try:
            response = await self._request("GET", url, {}, False, self._settings.idle_timeout)
        except _TRANSPORT_ERRORS as error:
            refused = isinstance(error, aiohttp.ClientConnectorError) and isinstance(
                error.os_error, ConnectionRefusedError
            )
            if speaks_plain_http(error) or (refused and url.explicit_port is None):
                return True
            raise explain(error, url.host or "", known=False) from error
        response.release()
        return False

    def _target(self, url: URL, location: str, registry: str) -> URL:
        """Where a redirect leads. Raises RegistryMisbehaved where it may not."""
        try:
            # A signed URL must stay as it was signed, to the letter.
            clean = location.isascii() and location.isprintable() and " " not in location
            target = url.join(URL(location, encoded=clean)).with_user(None)
            host = target.origin().host or ""
        except ValueError as error:
            raise RegistryMisbehaved(registry, "it redirects to something that is no URL") from error
        if target.scheme not in ("http", "https"):
            raise RegistryMisbehaved(registry, f"it redirects to a '{target.scheme}:' address")
        if target.scheme == "http" and not self.permits_http(url, host):
            raise RegistryMisbehaved(registry, f"it redirects to plain http at {host}")
        return target

    def permits_http(self, referrer: URL, host: str) -> bool:
        """Plain http: never named by a https page, and else only on this machine or with --insecure."""
        return referrer.scheme == "http" and (self._settings.insecure or is_loopback(host))

    async def _hop(
        self,
        method: str,
        url: URL,
        headers: Mapping[str, str],
        sender: str,
        public_only: bool,
        total: float | None,
        form: Mapping[str, str] | None,
    ) -> _Response:
        known = url.origin() in self._known
        try:
            response = await self._request(method, url, headers, public_only, total, form)
        except aiohttp.ClientResponseError as error:
            # Not `from error`: it carries the request's headers.
            failure = explain(error, sender, known=known)
        except _TRANSPORT_ERRORS as error:
            if isinstance(getattr(error, "os_error", None), _NotPublic):
                raise RegistryMisbehaved(
                    sender, "it is inside this network, where a registry of the internet may not send us"
                ) from error
            raise explain(error, sender, known=known) from error
        else:
            self._known.add(url.origin())
            return response
        raise failure

    async def _request(
        self,
        method: str,
        url: URL,
        headers: Mapping[str, str],
        public_only: bool,
        total: float | None,
        form: Mapping[str, str] | None = None,
    ) -> _Response:
        idle = self._settings.idle_timeout
        timeout = aiohttp.ClientTimeout(
            total=total, connect=None, sock_connect=min(idle, _CONNECT_MAX), sock_read=idle
        )
        response = await self._session(public_only).request(
            method, url, headers=headers, data=form, timeout=timeout, allow_redirects=False
        )
        assert isinstance(response, _Response)
        return response

    def _session(self, public_only: bool) -> aiohttp.ClientSession:
        """Two sets of connections: what was checked when it was dialled is not mixed with what was not."""
        if public_only not in self._sessions:
            connector = aiohttp.TCPConnector(
                limit=0,  # how much is asked at once is for those to decide who ask
                ssl=not self._settings.insecure,
                socket_factory=_public_socket if public_only else None,
            )
            self._sessions[public_only] = aiohttp.ClientSession(
                connector=connector,
                response_class=_Response,
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,  # a blob is the bytes that have the digest
                read_bufsize=_BUFFER,
                max_line_size=_HEADER_MAX,  # signed URLs are long
                max_field_size=_HEADER_MAX,
                headers={"User-Agent": "aiodocker-lite", "Accept-Encoding": "identity"},
            )
        return self._sessions[public_only]


def _secrets_in(authorization: str, form: Mapping[str, str]) -> Iterator[str]:
    """The secrets of a request, in all their forms that are worth a look."""
    scheme, _, value = authorization.partition(" ")
    password = base64.b64decode(value).decode().partition(":")[2] if scheme == "Basic" else ""
    yield from filter(None, (value, password, form.get("refresh_token")))


def _public_socket(info: AddrInfoType) -> socket.socket:
    """A socket for the address that is about to be dialled: no name can say one thing and be another."""
    family, kind, protocol, _, address = info
    if not is_public(str(address[0])):
        raise _NotPublic("the address is not public")
    return socket.socket(family, kind, protocol)
