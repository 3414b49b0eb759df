"""One request on its way: connections, redirects, and failures in plain words.

Secrets are attached hop by hop, by a callable that is told where the hop goes; so none follows a
redirect to another origin (distribution specification, "Redirects"; CVE-2026-48978 and its kin).
"""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Self

import aiohttp
from multidict import CIMultiDictProxy
from yarl import URL

from aiodocker_lite.errors import RegistryMisbehaved, RegistryUnavailable
from aiodocker_lite.registry.addresses import authority_of, is_loopback
from aiodocker_lite.registry.answers import ERROR_MAX, message_of
from aiodocker_lite.registry.connections import Connections, NotPublic, Response
from aiodocker_lite.registry.encoding import Decoded, can_undo, encoding_of
from aiodocker_lite.registry.failures import ProxyFailed, explain, speaks_plain_http
from aiodocker_lite.registry.hosts import Hosts
from aiodocker_lite.registry.trust import Trust
from aiodocker_lite.settings import Settings

REDIRECTS = {301, 302, 303, 307, 308}
_HOPS_MAX = 10
_TRANSPORT_ERRORS = (aiohttp.ClientError, ProxyFailed, TimeoutError, OSError)

Authorize = Callable[[URL, bool], Awaitable[str | None]]
"""The Authorization header for a URL; the flag says that no other origin was visited before."""


class Body:
    """The bytes of a body in pieces as large as they come; iterate once.

    A plain iterator and not a generator: one that is left half-way has nothing to clean up.
    """

    def __init__(self, content: aiohttp.StreamReader, sender: str, url: URL) -> None:
        self._content = content
        self._sender = sender
        self._url = url

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        try:
            chunk = await self._content.readany()
        except _TRANSPORT_ERRORS as error:
            raise explain(error, self._sender, self._url, known=True) from error
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
    body: AsyncIterator[bytes] = field(repr=False)
    form: Mapping[str, str] | None = field(default=None, repr=False)
    """What was sent, where a form was."""

    @property
    def is_encoded(self) -> bool:
        """Somebody on the way has compressed it, though nobody asked for that."""
        return bool(encoding_of(self.headers))

    def as_stored(self) -> Answer:
        """The same answer without the encoding, where it is one that can be undone."""
        encoding = encoding_of(self.headers)
        if not can_undo(encoding):
            return self
        headers = self.headers.copy()
        for name in ("Content-Encoding", "Content-Length"):
            headers.popall(name, None)
        return replace(
            self, headers=CIMultiDictProxy(headers), body=Decoded(self.body, encoding, self.sender)
        )

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
            body = await self.as_stored().read(ERROR_MAX)
            return message_of(body, _secrets_in(self.authorization or "", self.form or {}))
        return ""


class Wire:
    """The requests of one engine; an async context manager that closes their connections."""

    def __init__(self, settings: Settings, hosts: Hosts | None = None) -> None:
        self.small_total = 4 * settings.idle_timeout
        """Seconds that anything but a blob may take in all."""
        self._hosts = hosts or Hosts(settings)
        self._connections = Connections(settings)
        self._trusts: dict[URL, Trust] = {}
        """By origin: who was asked, and what was expected of them."""
        self._known: set[URL] = set()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._connections.close()

    @asynccontextmanager
    async def asking(
        self,
        method: str,
        start: URL,
        *,
        registry: str,
        headers: Mapping[str, str],
        authorize: Authorize,
        trust: Trust | None = None,
        referrer: URL | None = None,
        own_headers: Iterable[tuple[str, str]] = (),
        form: Mapping[str, str] | None = None,
        public_only: bool = False,
        total: float | None = None,
    ) -> AsyncIterator[Answer]:
        """Send a request, follow redirects, lend the answer; its connection is free or closed after.

        `registry` is for messages; `trust` is what is known about the host, else it is what is known
        in general and what the `referrer` brings along; `own_headers` and a `form` go to no other
        origin; `public_only` refuses addresses of this machine and network; `total` is the time limit
        of each hop in seconds. Raises RegistryUnavailable, RegistryMisbehaved, UnusableConfig.
        """
        url, at_home = start, True
        trust = trust or self._trust(url, referrer)
        for _ in range(_HOPS_MAX + 1):
            authorization = await authorize(url, at_home)
            secret = {"Authorization": authorization} if authorization else {}
            sent = {**headers, **(dict(own_headers) if at_home else {}), **secret}
            sender = registry if at_home else f"{authority_of(url)} (where {registry} sends us)"
            response = await self._hop(method, url, sent, sender, trust, public_only, total, form)
            public = public_only or response.from_public
            try:
                if response.status not in REDIRECTS or "Location" not in response.headers:
                    body = Body(response.content, sender, url)
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
                at_home, public_only, trust = False, public, self._trust(target, url)
            url = target
        raise RegistryMisbehaved(registry, f"it redirects more than {_HOPS_MAX} times")

    async def speaks_plain_http(self, url: URL, trust: Trust) -> bool:
        """Whether a server that was asked over https shows that it only knows http.

        Raises RegistryUnavailable where it shows nothing, above all after any other failure of TLS.
        """
        try:
            response = await self._connections.request(
                "GET", url, {}, trust, public_only=False, total=self.small_total
            )
        except _TRANSPORT_ERRORS as error:
            refused = isinstance(error, aiohttp.ClientConnectorError) and isinstance(
                error.os_error, ConnectionRefusedError
            )
            if speaks_plain_http(error) or (refused and url.explicit_port is None):
                return True
            proxy = self._connections.proxy_for(url)
            failure = explain(
                error, authority_of(url), url, known=False, certified=bool(trust.pairs), proxy=proxy
            )
        else:
            response.release()
            return False
        raise failure

    def permits_http(self, referrer: URL, host: str) -> bool:
        """Plain http: never named by a https page, and else only on this machine or where it is configured."""
        permitted = self._trusts.get(referrer.origin(), Trust()).plain_http
        return referrer.scheme == "http" and (permitted or is_loopback(host))

    def _trust(self, url: URL, referrer: URL | None) -> Trust:
        own = self._hosts.trust_of(authority_of(url))
        sender = self._trusts.get(referrer.origin()) if referrer else None
        return sender.and_for(own) if sender else own

    def _target(self, url: URL, location: str, registry: str) -> URL:
        """Where a redirect leads. Raises RegistryMisbehaved where it may not."""
        try:
            # A signed URL must stay as it was signed, to the letter.
            clean = location.isascii() and location.isprintable() and " " not in location
            target = url.join(URL(location, encoded=clean))
            if target.scheme not in ("http", "https"):
                raise RegistryMisbehaved(registry, f"it redirects to a '{target.scheme}:' address")
            target = target.with_user(None)
            host = target.origin().host or ""
        except ValueError as error:
            raise RegistryMisbehaved(registry, "it redirects to something that is no URL") from error
        if target.scheme == "http" and not self.permits_http(url, host):
            raise RegistryMisbehaved(registry, f"it redirects to plain http at {host}")
        return target

    async def _hop(
        self,
        method: str,
        url: URL,
        headers: Mapping[str, str],
        sender: str,
        trust: Trust,
        public_only: bool,
        total: float | None,
        form: Mapping[str, str] | None,
    ) -> Response:
        known = url.origin() in self._known
        self._trusts[url.origin()] = trust
        try:
            response = await self._connections.request(
                method, url, headers, trust, public_only=public_only, total=total, form=form
            )
        except _TRANSPORT_ERRORS as error:
            if isinstance(getattr(error, "os_error", error), NotPublic):
                raise RegistryMisbehaved(
                    sender, "it is inside this network, where a registry of the internet may not send us"
                ) from error
            proxy = self._connections.proxy_for(url)
            failure = explain(error, sender, url, known=known, certified=bool(trust.pairs), proxy=proxy)
        else:
            self._known.add(url.origin())
            return response
        # Not `from error`: it may carry the request's headers, or the URL of a proxy with its password.
        raise failure


def _secrets_in(authorization: str, form: Mapping[str, str]) -> Iterator[str]:
    """The secrets of a request, in all their forms that are worth a look."""
    scheme, _, value = authorization.partition(" ")
    password = base64.b64decode(value).decode().partition(":")[2] if scheme == "Basic" else ""
    yield from filter(None, (value, password, form.get("refresh_token")))
