"""What a conductor asks of a registry: one method for each kind of request.

OCI distribution specification 1.1, "Pull". Bytes are passed on as they come: who asked for them
checks their digest.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from types import TracebackType
from typing import Self

from yarl import URL

from aiodocker_lite.digest import Digest
from aiodocker_lite.errors import (
    DigestMismatch,
    LimitExceeded,
    LoginFailed,
    RegistryError,
    RegistryUnavailable,
    RegistryUnreachable,
    SizeMismatch,
)
from aiodocker_lite.events import Quota
from aiodocker_lite.manifest import DOCUMENT_MAX, INDEXES, MANIFESTS, Descriptor
from aiodocker_lite.reference import Reference
from aiodocker_lite.registry.addresses import base_url, is_loopback
from aiodocker_lite.registry.answers import content_range_of, failure_of, quota_of
from aiodocker_lite.registry.auth import CredentialsRefused, FindCredential
from aiodocker_lite.registry.credentials import Credential
from aiodocker_lite.registry.documents import manifest_type, promise, promised_digest, read_document
from aiodocker_lite.registry.failover import Failover, Tell
from aiodocker_lite.registry.foreign import open_foreign
from aiodocker_lite.registry.hosts import Endpoint, Hosts
from aiodocker_lite.registry.part import Part, extent_of, range_header
from aiodocker_lite.registry.requests import GONE, Requests
from aiodocker_lite.registry.wire import Answer, Wire
from aiodocker_lite.settings import Settings
from aiodocker_lite.verify import verify

_RENEWALS = 5
"""More than one, for some addresses are good for one request, and aiohttp repeats one that was hung up on."""
_ACCEPT = {"Accept": ", ".join(INDEXES + MANIFESTS)}


def _nobody_listens(text: str) -> None:
    """Notices of a client that nobody watches."""


class HttpRegistry:
    """Every registry that speaks HTTP, and their mirrors; an async context manager that owns the connections.

    All methods raise AccessDenied, ImageNotFound, RateLimited, RegistryUnavailable or RegistryMisbehaved,
    what `credentials` raises, and UnusableConfig and RegistryBlocked because of files about registries; a
    `tell` is told which mirrors are passed over.
    """

    def __init__(self, settings: Settings, *, credentials: FindCredential) -> None:
        self._hosts = Hosts(settings)
        self._wire = Wire(settings, self._hosts)
        self._requests = Requests(self._wire, credentials)
        self._failover = Failover()
        self._sources: dict[Digest, Endpoint] = {}
        self._quotas: dict[str, Quota | None] = {}
        self._wrong_ranges: Counter[tuple[URL, Digest]] = Counter()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._wire.__aexit__(kind, error, trace)

    # --- requests ----------------------------------------------------------------------------

    async def resolve(self, reference: Reference, tell: Tell = _nobody_listens) -> Descriptor:
        """What a name stands for now; a digest in the name decides, and another answer is refused.

        Raises DigestMismatch, UnsupportedMediaType, LimitExceeded too.
        """
        path = f"manifests/{reference.target}"

        async def resolve_at(place: Endpoint) -> Descriptor:
            async with self._requests.ask("HEAD", place, reference, path, _ACCEPT) as answer:
                self._quotas[reference.registry] = quota_of(place.registry, answer.headers)
                # Some registries refuse HEAD with 405, others with 400 or 501; and an answer to it cannot say why
                # somebody is denied something.
                found = promise(reference, answer) if answer.status == 200 else None
                if answer.status not in (200, 400, 403, 405, 501):
                    raise await self._requests.failure(place, reference, answer)
            return found or await self._resolve_by_reading(place, reference, path)

        places = [
            place
            for place in self._hosts.endpoints(reference)
            if (place.pulls if reference.digest else place.resolves)
        ]
        if not places:
            raise RegistryUnreachable(reference.registry, "hosts.toml has no host that may resolve a tag")
        return await self._failover.ask(places, resolve_at, tell)

    async def manifest(
        self, reference: Reference, promised: Descriptor, tell: Tell = _nobody_listens
    ) -> bytes:
        """The bytes of a manifest or index. Raises LimitExceeded too."""
        what = f"manifest {promised.digest.short}"

        async def read_at(place: Endpoint) -> bytes:
            path = f"manifests/{promised.digest}"
            async with self._requests.ask("GET", place, reference, path, _ACCEPT) as answer:
                if answer.status != 200:
                    raise await self._requests.failure(place, reference.with_digest(promised.digest), answer)
                raw = await read_document(answer, what)
            if place.is_mirror:
                verify(what, raw, promised.digest, promised.size)
            return raw

        return await self._failover.ask(self._sources_of(reference), read_at, tell)

    async def blob(self, reference: Reference, blob: Descriptor, tell: Tell = _nobody_listens) -> bytes:
        """The bytes of a small blob. Raises LimitExceeded, SizeMismatch too."""
        what = f"blob {blob.digest.short}"
        if blob.size > DOCUMENT_MAX:
            raise LimitExceeded(f"the size of the {what}", DOCUMENT_MAX, blob.size)

        async def read_at(place: Endpoint) -> bytes:
            parts, size = [], 0
            async with AsyncExitStack() as stack:
                async for chunk in await self._open_at(stack, place, reference, blob, (0, blob.size)):
                    parts.append(chunk)
                    size += len(chunk)
                    if size > blob.size:
                        raise SizeMismatch(what, blob.size, size)
            raw = b"".join(parts)
            if place.is_mirror:
                verify(what, raw, blob.digest, blob.size)
            return raw

        return await self._failover.ask(self._sources_of(reference), read_at, tell)

    @asynccontextmanager
    async def open_blob(
        self,
        reference: Reference,
        blob: Descriptor,
        offset: int = 0,
        end: int | None = None,
        *,
        tell: Tell = _nobody_listens,
    ) -> AsyncIterator[Part]:
        """The bytes of a blob from an offset on, as they arrive. Raises SizeMismatch too."""
        extent = offset, blob.size if end is None else end
        async with AsyncExitStack() as stack:

            async def open_at(place: Endpoint) -> Part:
                async with AsyncExitStack() as opening:
                    part = await self._open_at(opening, place, reference, blob, extent)
                    stack.push_async_exit(opening.pop_all())
                    self._sources[blob.digest] = place
                    return part

            part = await self._failover.ask(self._sources_of(reference), open_at, tell)
            try:
                yield part
            except RegistryError as error:
                self._failover.rest(self._sources[blob.digest], error, tell)
                raise

    @asynccontextmanager
    async def open_foreign(
        self, reference: Reference, blob: Descriptor, offset: int = 0, end: int | None = None
    ) -> AsyncIterator[Part]:
        """The bytes of a layer from where its manifest says, without credentials."""
        from_here = is_loopback(base_url(reference.registry).host or "")
        extent = offset, blob.size if end is None else end
        async with open_foreign(self._wire, blob, extent, from_here=from_here) as part:
            yield part

    def quota(self, registry: str) -> Quota | None:
        """What was said when a name was resolved there last."""
        return self._quotas.get(registry)

    def blame(self, blob: Descriptor) -> bool:
        """The bytes of a blob were wrong: a mirror that sent them is asked last from now on."""
        place = self._sources.get(blob.digest)
        return place is not None and self._failover.distrust(place)

    async def login(self, registry: str, username: str, password: str) -> None:
        """Show a user name and a password to a registry. Raises LoginFailed."""
        credential = Credential(username, password, "login")
        place = self._hosts.itself(registry)

        async def given(name: str) -> Credential:
            return credential

        try:
            async with Requests(self._wire, given).greet(place) as answer:
                if answer.status in (401, 403):
                    raise CredentialsRefused(credential.source, await answer.message())
                if answer.status != 200:
                    raise failure_of(registry, answer.status, answer.headers, await answer.message())
        except CredentialsRefused as error:
            said = error.detail or "the user name or the password is wrong"
            by = f", says {error.server}" if error.server else ""
            raise LoginFailed(registry, said + by) from None

    # --- asking ------------------------------------------------------------------------------

    def _sources_of(self, reference: Reference) -> list[Endpoint]:
        """Who is asked for content by its digest."""
        places = [place for place in self._hosts.endpoints(reference) if place.pulls]
        if not places:
            raise RegistryUnreachable(reference.registry, "hosts.toml has no host that may be pulled from")
        return places

    async def _open_at(
        self,
        stack: AsyncExitStack,
        place: Endpoint,
        reference: Reference,
        blob: Descriptor,
        extent: tuple[int, int],
    ) -> Part:
        offset, end = extent
        path, headers = f"blobs/{blob.digest}", range_header(offset, end, blob.size)
        answer = await stack.enter_async_context(self._requests.ask("GET", place, reference, path, headers))
        for _ in range(_RENEWALS):
            if answer.status not in GONE or answer.at_home:
                break
            # A signed address that ran out: the registry gives a new one.
            await stack.aclose()
            answer = await stack.enter_async_context(
                self._requests.ask("GET", place, reference, path, headers)
            )
        if (
            answer.status == 416
            or (answer.status == 206 and _is_of_other_bytes(answer, blob))
            or self._is_wrong_again(place, answer, blob, extent)
        ):
            # Not a registry that knows ranges: read it all and throw away what we have.
            await stack.aclose()
            answer = await stack.enter_async_context(self._requests.ask("GET", place, reference, path, {}))
        if answer.status not in (200, 206):
            raise await self._requests.failure(place, reference, answer, blob)
        if _is_of_other_bytes(answer, blob):
            answer = answer.as_stored()
        start, end = extent_of(answer, blob, offset, end)
        return Part(answer, skip=offset - start, start=offset, end=end)

    def _is_wrong_again(
        self, place: Endpoint, answer: Answer, blob: Descriptor, extent: tuple[int, int]
    ) -> bool:
        """A range that was not asked for, for the second time: it knows no ranges, though it says so."""
        if answer.status != 206:
            return False
        try:
            extent_of(answer, blob, *extent)
        except RegistryUnavailable:
            self._wrong_ranges[place.root, blob.digest] += 1
        else:
            self._wrong_ranges[place.root, blob.digest] = 0
        return self._wrong_ranges[place.root, blob.digest] > 1

    async def _resolve_by_reading(self, place: Endpoint, reference: Reference, path: str) -> Descriptor:
        async with self._requests.ask("GET", place, reference, path, _ACCEPT) as answer:
            if answer.status != 200:
                raise await self._requests.failure(place, reference, answer)
            media_type = manifest_type(reference, answer)
            raw = await read_document(answer, f"manifest for {reference}")
        promised = promised_digest(reference, answer.headers)
        digest = Digest.of(raw)
        if promised is not None and promised.algorithm != digest.algorithm:
            # Whoever parses it checks it against the digest it was asked for.
            digest = promised
        if promised is not None and promised != digest:
            raise DigestMismatch(f"manifest for {reference}", str(promised), str(digest))
        return Descriptor(media_type, digest, len(raw))


def _is_of_other_bytes(answer: Answer, blob: Descriptor) -> bool:
    """Not the blob, but a compressed form of it; what has the blob's size only has the wrong label (R22)."""
    if answer.status == 206:
        extent = content_range_of(answer.headers)
        return answer.is_encoded and (extent is None or extent[2] != blob.size)
    return answer.is_encoded and answer.headers.get("Content-Length") != str(blob.size)
