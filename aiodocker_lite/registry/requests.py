"""A request to one place, until it is answered: its scheme, its authorization, and what an answer means."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager

import anyio
from yarl import URL

from aiodocker_lite.errors import (
    AccessDenied,
    BlobNotFound,
    ImageNotFound,
    RegistryError,
    RegistryUnavailable,
    RegistryUnreachable,
)
from aiodocker_lite.manifest import Descriptor
from aiodocker_lite.reference import Reference
from aiodocker_lite.registry.addresses import is_loopback
from aiodocker_lite.registry.answers import failure_of
from aiodocker_lite.registry.auth import Authorizer, CredentialsRefused, FindCredential, Place
from aiodocker_lite.registry.hosts import Endpoint
from aiodocker_lite.registry.wire import Answer, Wire

GONE = (401, 403, 404, 410)
"""What an address of a blob answers that was good for a while, or for one request."""
_AUTH_ROUNDS = 2


class Requests:
    """Sends requests with the credentials of those that are asked."""

    def __init__(self, wire: Wire, credentials: FindCredential) -> None:
        self._wire = wire
        self._auth = Authorizer(wire, credentials)
        self._roots: dict[URL, URL] = {}
        self._locks: dict[URL, anyio.Lock] = {}

    @asynccontextmanager
    async def ask(
        self, method: str, place: Endpoint, reference: Reference, path: str, headers: Mapping[str, str]
    ) -> AsyncIterator[Answer]:
        """Send a request about one repository and lend the answer, whatever its status."""
        # A blob may take as long as bytes arrive.
        total = None if path.startswith("blobs/") else self._wire.small_total
        url = await self._root(place) / f"{place.repository}/{path}"
        if place.namespace:
            url = url.with_query(ns=place.namespace)
        asking = self._authorized(method, url, place, headers, total)
        async with AsyncExitStack() as stack:
            try:
                answer = await stack.enter_async_context(asking)
            except CredentialsRefused as error:
                raise _denied(place, reference, error.source, error.detail, error.server) from None
            yield answer

    @asynccontextmanager
    async def greet(self, place: Endpoint) -> AsyncIterator[Answer]:
        """Ask for the root of the API, which shows whether a credential is good. Raises CredentialsRefused."""
        url = await self._root(place) / ""
        async with self._authorized("GET", url, place, {}, self._wire.small_total) as answer:
            yield answer

    @asynccontextmanager
    async def _authorized(
        self,
        method: str,
        url: URL,
        place: Endpoint,
        headers: Mapping[str, str],
        total: float | None,
    ) -> AsyncIterator[Answer]:
        """Send a request, again with an authorization where it is challenged. Raises CredentialsRefused."""

        def at(origin: URL, at_home: bool) -> Place:
            return Place(place.registry, place.repository, origin, at_home)

        async def authorize(hop: URL, at_home: bool) -> str | None:
            return await self._auth.header(at(hop.origin(), at_home))

        for rounds_left in reversed(range(_AUTH_ROUNDS + 1)):
            async with self._wire.asking(
                method,
                url,
                registry=place.registry,
                headers=headers,
                authorize=authorize,
                trust=place.trust,
                own_headers=place.headers,
                total=total,
            ) as answer:
                is_challenge = answer.status == 401 and "WWW-Authenticate" in answer.headers
                if not is_challenge or not rounds_left:
                    yield answer
                    return
                detail = await answer.message()
            try:
                await self._auth.satisfy(at(answer.url.origin(), answer.at_home), answer, detail)
            except CredentialsRefused:
                if answer.at_home:
                    raise
                raise RegistryUnreachable(
                    answer.sender, "it wants credentials, and those of the registry are not for it"
                ) from None

    async def _root(self, place: Endpoint) -> URL:
        """The root of the API at a place, with the scheme that is spoken there.

        Plain http is spoken where it is permitted and https is not understood, and never after
        any other failure of TLS (R08).
        """
        root = place.root
        may_be_plain = place.trust.plain_http or is_loopback(root.host or "")
        if root.scheme == "http" or not may_be_plain:
            return root
        async with self._locks.setdefault(root, anyio.Lock()):
            if root not in self._roots:
                is_plain = await self._wire.speaks_plain_http(root / "", place.trust)
                self._roots[root] = root.with_scheme("http") if is_plain else root
            return self._roots[root]

    async def failure(
        self, place: Endpoint, reference: Reference, answer: Answer, blob: Descriptor | None = None
    ) -> RegistryError:
        """The error that an answer other than the one we want stands for."""
        message = await answer.message()
        if answer.status in GONE and not answer.at_home:
            # For a blob that was a new address already.
            kind = RegistryUnavailable if blob is None else RegistryUnreachable
            return kind(answer.sender, f"it answered {answer.status}")
        asked = Place(place.registry, place.repository, answer.url.origin(), answer.at_home)
        source = self._auth.source(asked)
        if answer.status in (401, 403):
            return _denied(place, reference, source or "anonymous", message)
        if blob is not None and blob.is_foreign and answer.status == 404:
            reason = f"layer {blob.digest.short} may not be distributed by registries"
            return BlobNotFound(
                str(reference), f"{reason}; Settings.foreign_layers permits to fetch it elsewhere"
            )
        if answer.status != 404:
            error = failure_of(answer.sender, answer.status, answer.headers, message)
        elif blob is not None:
            error = BlobNotFound(str(reference), f"blob {blob.digest} is not there")
        else:
            error = ImageNotFound(str(reference), message or "manifest unknown")
        if source is not None and answer.status in (404, 429):
            # Who may see an image, and how many, depends on who asks.
            error.add_note(f"credentials used: {source}")
        return error


def _denied(
    place: Endpoint, reference: Reference, source: str, detail: str, server: str = ""
) -> AccessDenied:
    error = AccessDenied(str(reference), source)
    if detail or server:
        error.add_note(f"{server or place.registry} says: {detail or 'no'}")
    return error
