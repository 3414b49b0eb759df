"""What a conductor asks of a registry: one method for each kind of request.

OCI distribution specification 1.1, "Pull". Bytes are passed on as they come: who asked for them
checks their digest.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from types import TracebackType
from typing import Protocol, Self

import anyio
from yarl import URL

from aiodocker_lite.digest import Digest
from aiodocker_lite.errors import (
    AccessDenied,
    DigestMismatch,
    ImageNotFound,
    InvalidManifest,
    LimitExceeded,
    LoginFailed,
    RegistryError,
    RegistryMisbehaved,
    RegistryUnavailable,
    SizeMismatch,
    UnsupportedMediaType,
)
from aiodocker_lite.manifest import DOCUMENT_MAX, INDEXES, MANIFESTS, Descriptor
from aiodocker_lite.reference import Reference
from aiodocker_lite.registry.answers import HTML, failure_of, media_type_of
from aiodocker_lite.registry.auth import Authorizer, CredentialsRefused, FindCredential, Place
from aiodocker_lite.registry.credentials import Credential
from aiodocker_lite.registry.hosts import base_url
from aiodocker_lite.registry.part import Part, extent_of
from aiodocker_lite.registry.wire import Answer, Wire
from aiodocker_lite.settings import Settings

_AUTH_ROUNDS = 2
_ACCEPT = {"Accept": ", ".join(INDEXES + MANIFESTS)}
_SCHEMA_1 = "application/vnd.docker.distribution.manifest.v1+"


class Registry(Protocol):
    """What a conductor needs of a source of images."""

    async def resolve(self, reference: Reference) -> Descriptor:
        """What a name stands for now: media type, digest and size of its manifest or index."""

    async def manifest(self, reference: Reference, promised: Descriptor) -> bytes:
        """The bytes of a manifest or index, unchecked, not many more than DOCUMENT_MAX."""

    async def blob(self, reference: Reference, blob: Descriptor) -> bytes:
        """The bytes of a small blob, unchecked, such as a configuration."""

    def open_blob(
        self, reference: Reference, blob: Descriptor, offset: int = 0
    ) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """The bytes of a blob from an offset on, unchecked, as they arrive."""


class HttpRegistry:
    """Every registry that speaks HTTP; an async context manager that owns the connections.

    All methods raise AccessDenied, ImageNotFound, RateLimited, RegistryUnavailable or RegistryMisbehaved,
    and what `credentials` raises.
    """

    def __init__(self, settings: Settings, *, credentials: FindCredential) -> None:
        self._settings = settings
        self._wire = Wire(settings)
        self._auth = Authorizer(self._wire, credentials)
        self._bases: dict[str, URL] = {}
        self._locks: dict[str, anyio.Lock] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._wire.__aexit__(kind, error, trace)

    # --- requests ----------------------------------------------------------------------------

    async def resolve(self, reference: Reference) -> Descriptor:
        """What a name stands for now; a digest in the name decides, and another answer is refused.

        Raises DigestMismatch, UnsupportedMediaType, LimitExceeded too.
        """
        path = f"manifests/{reference.target}"
        async with self._ask("HEAD", reference, path, _ACCEPT) as answer:
            # Some registries refuse HEAD with 405, others with 400 or 501.
            found = self._promise(reference, answer) if answer.status == 200 else None
            if answer.status not in (200, 400, 405, 501):
                raise await self._failure(reference, answer)
        return found or await self._resolve_by_reading(reference, path)

    async def manifest(self, reference: Reference, promised: Descriptor) -> bytes:
        """The bytes of a manifest or index. Raises LimitExceeded too."""
        async with self._ask("GET", reference, f"manifests/{promised.digest}", _ACCEPT) as answer:
            if answer.status != 200:
                raise await self._failure(reference.with_digest(promised.digest), answer)
            return await _read_document(answer, f"manifest {promised.digest.short}")

    async def blob(self, reference: Reference, blob: Descriptor) -> bytes:
        """The bytes of a small blob. Raises LimitExceeded, SizeMismatch too."""
        what = f"blob {blob.digest.short}"
        if blob.size > DOCUMENT_MAX:
            raise LimitExceeded(f"the size of {what}", DOCUMENT_MAX, blob.size)
        parts, size = [], 0
        async with self.open_blob(reference, blob) as chunks:
            async for chunk in chunks:
                parts.append(chunk)
                size += len(chunk)
                if size > blob.size:
                    raise SizeMismatch(what, blob.size, size)
        return b"".join(parts)

    @asynccontextmanager
    async def open_blob(
        self, reference: Reference, blob: Descriptor, offset: int = 0
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        """The bytes of a blob from an offset on, as they arrive. Raises SizeMismatch too."""
        path = f"blobs/{blob.digest}"
        async with AsyncExitStack() as stack:
            headers = {"Range": f"bytes={offset}-"} if offset else {}
            answer = await stack.enter_async_context(self._ask("GET", reference, path, headers))
            if answer.status == 416:
                # Not a registry that knows ranges: read it all and throw away what we have.
                await stack.aclose()
                answer = await stack.enter_async_context(self._ask("GET", reference, path, {}))
            if answer.status not in (200, 206):
                raise await self._failure(reference, answer, blob)
            start, end = extent_of(answer, blob, offset)
            yield Part(answer, skip=offset - start, size=end - offset)

    async def login(self, registry: str, username: str, password: str) -> None:
        """Show a user name and a password to a registry. Raises LoginFailed."""
        credential = Credential(username, password, "login")

        async def given(name: str) -> Credential:
            return credential

        auth = Authorizer(self._wire, given)
        try:
            url = await self._base(registry) / "v2" / ""
            async with self._authorized(auth, "GET", url, registry, "", {}, self._wire.small_total) as answer:
                if answer.status in (401, 403):
                    raise CredentialsRefused(credential.source, await answer.message())
                if answer.status != 200:
                    raise failure_of(registry, answer.status, answer.headers, await answer.message())
        except CredentialsRefused as error:
            raise LoginFailed(registry, error.detail or "the user name or the password is wrong") from None

    # --- asking ------------------------------------------------------------------------------

    @asynccontextmanager
    async def _ask(
        self, method: str, reference: Reference, path: str, headers: Mapping[str, str]
    ) -> AsyncIterator[Answer]:
        """Send a request about one repository and lend the answer, whatever its status."""
        # A blob may take as long as bytes arrive.
        total = None if path.startswith("blobs/") else self._wire.small_total
        registry, repository = reference.registry, reference.repository
        url = await self._base(registry) / "v2" / f"{repository}/{path}"
        asking = self._authorized(self._auth, method, url, registry, repository, headers, total)
        async with AsyncExitStack() as stack:
            try:
                answer = await stack.enter_async_context(asking)
            except CredentialsRefused as error:
                raise _denied(reference, error.source, error.detail) from None
            yield answer

    @asynccontextmanager
    async def _authorized(
        self,
        auth: Authorizer,
        method: str,
        url: URL,
        registry: str,
        repository: str,
        headers: Mapping[str, str],
        total: float | None,
    ) -> AsyncIterator[Answer]:
        """Send a request, again with an authorization where it is challenged. Raises CredentialsRefused."""

        async def authorize(hop: URL, at_home: bool) -> str | None:
            return await auth.header(Place(registry, repository, hop.origin(), at_home))

        for rounds_left in reversed(range(_AUTH_ROUNDS + 1)):
            async with self._wire.asking(
                method, url, registry=registry, headers=headers, authorize=authorize, total=total
            ) as answer:
                is_challenge = answer.status == 401 and "WWW-Authenticate" in answer.headers
                if not is_challenge or not rounds_left:
                    yield answer
                    return
                detail = await answer.message()
            place = Place(registry, repository, answer.url.origin(), answer.at_home)
            await auth.satisfy(place, answer, detail)

    async def _base(self, registry: str) -> URL:
        async with self._locks.setdefault(registry, anyio.Lock()):
            if registry not in self._bases:
                url = base_url(registry)
                if (
                    self._settings.insecure
                    and url.scheme == "https"
                    and await self._wire.speaks_plain_http(url / "v2" / "")
                ):
                    url = url.with_scheme("http")
                self._bases[registry] = url
            return self._bases[registry]

    # --- answers -----------------------------------------------------------------------------

    def _promise(self, reference: Reference, answer: Answer) -> Descriptor | None:
        """The descriptor that headers make; None where they do not say enough."""
        media_type = _manifest_type(reference, answer)
        length = answer.headers.get("Content-Length", "")
        digest = _promised_digest(reference, answer.headers)
        if digest is None or not length.isdecimal():
            return None
        size = int(length)
        if size > DOCUMENT_MAX:
            raise LimitExceeded(f"the size of the manifest for {reference}", DOCUMENT_MAX, size)
        return Descriptor(media_type, digest, size)

    async def _resolve_by_reading(self, reference: Reference, path: str) -> Descriptor:
        async with self._ask("GET", reference, path, _ACCEPT) as answer:
            if answer.status != 200:
                raise await self._failure(reference, answer)
            media_type = _manifest_type(reference, answer)
            raw = await _read_document(answer, f"manifest for {reference}")
        promised = _promised_digest(reference, answer.headers)
        digest = Digest.of(raw)
        if promised is not None and promised.algorithm != digest.algorithm:
            # Whoever parses it checks it against the digest it was asked for.
            digest = promised
        if promised is not None and promised != digest:
            raise DigestMismatch(f"manifest for {reference}", str(promised), str(digest))
        return Descriptor(media_type, digest, len(raw))

    async def _failure(
        self, reference: Reference, answer: Answer, blob: Descriptor | None = None
    ) -> RegistryError:
        """The error that an answer other than the one we want stands for."""
        message = await answer.message()
        if answer.status in (401, 403, 404, 410) and not answer.at_home:
            # A signed address that ran out: the registry gives a new one.
            return RegistryUnavailable(answer.sender, f"it answered {answer.status}")
        place = Place(reference.registry, reference.repository, answer.url.origin(), answer.at_home)
        source = self._auth.source(place)
        if answer.status in (401, 403):
            return _denied(reference, source or "anonymous", message)
        if answer.status != 404:
            error = failure_of(answer.sender, answer.status, answer.headers, message)
        elif blob is not None:
            error = ImageNotFound(str(reference), f"the registry has lost its blob {blob.digest}")
        else:
            error = ImageNotFound(str(reference), message or "manifest unknown")
        if source is not None and answer.status in (404, 429):
            # Who may see an image, and how many, depends on who asks.
            error.add_note(f"credentials used: {source}")
        return error


def _manifest_type(reference: Reference, answer: Answer) -> str:
    media_type = media_type_of(answer.headers)
    if media_type in HTML:
        raise RegistryMisbehaved(answer.sender, f"it sent '{media_type}' instead of a manifest")
    if media_type.startswith(_SCHEMA_1):
        raise UnsupportedMediaType(
            f"the manifest for {reference} (pushed by Docker before 1.10; push it again)", "schema 1"
        )
    return media_type


def _promised_digest(reference: Reference, headers: Mapping[str, str]) -> Digest | None:
    """The digest of a manifest: the one in the name, else the registry's. Raises DigestMismatch."""
    try:
        claimed = Digest.parse(headers.get("Docker-Content-Digest"))
    except InvalidManifest:
        claimed = None
    wanted = reference.digest
    if wanted is None:
        return claimed
    if claimed is not None and claimed.algorithm == wanted.algorithm and claimed != wanted:
        raise DigestMismatch(f"manifest for {reference}", str(wanted), str(claimed))
    return wanted


async def _read_document(answer: Answer, what: str) -> bytes:
    media_type = media_type_of(answer.headers)
    if media_type in HTML:
        raise RegistryMisbehaved(answer.sender, f"it sent '{media_type}' instead of a manifest")
    raw = await answer.read(DOCUMENT_MAX)
    if len(raw) > DOCUMENT_MAX:
        raise LimitExceeded(f"the size of {what}", DOCUMENT_MAX, len(raw))
    return raw


def _denied(reference: Reference, source: str, detail: str) -> AccessDenied:
    error = AccessDenied(str(reference), source)
    if detail:
        error.add_note(f"{reference.registry} says: {detail}")
    return error
