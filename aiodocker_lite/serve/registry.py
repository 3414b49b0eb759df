"""The requests of the specification, answered from a shelf."""

from __future__ import annotations

import os
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from aiohttp import web
from anyio import to_thread

from aiodocker_lite.digest import Digest
from aiodocker_lite.reference import Reference
from aiodocker_lite.serve.answers import (
    Refused,
    content_headers,
    digest_of,
    has_already,
    page,
    parse_digest,
)
from aiodocker_lite.serve.blob import Source, send
from aiodocker_lite.serve.counts import Counts
from aiodocker_lite.serve.names import catalog_of, find_repository, parse_path

_TAG: Final = re.compile(r"\w[\w.-]{0,127}", re.ASCII)


class Part(Protocol):
    """A blob that is being pulled."""

    @property
    def size(self) -> int: ...

    def opened(self) -> int: ...

    async def beyond(self, have: int) -> int: ...


async def _nothing(digest: Digest) -> None:
    return None


@dataclass(frozen=True, slots=True)
class Shelf:
    """What is served; all but `part` are plain blocking callables, called in threads."""

    names: Callable[[], Sequence[Reference]]
    """Every name in the store."""
    manifest: Callable[[Reference], tuple[str, bytes] | None]
    """Media type and raw bytes of what a name leads to by its tag, or of what has a digest."""
    blob: Callable[[Digest], Path | None]
    """The file of a whole blob."""
    part: Callable[[Digest], Awaitable[Part | None]] = _nothing
    """A blob that is on its way."""


class Registry:
    """A registry that can only be read."""

    def __init__(self, shelf: Shelf, counts: Counts, idle: float) -> None:
        self._shelf = shelf
        self._counts = counts
        self._idle = idle

    async def version(self, request: web.Request) -> web.Response:
        return web.json_response({})

    async def metrics(self, request: web.Request) -> web.Response:
        return web.Response(text=self._counts.text(), headers={"Content-Type": "text/plain; version=0.0.4"})

    async def catalog(self, request: web.Request) -> web.Response:
        return page(request, "repositories", catalog_of(await self._names()))

    async def tags(self, request: web.Request) -> web.Response:
        repository = await self._repository(request)
        tags = {name.tag for name in await self._names() if name.name == repository.name and name.tag}
        return page(request, "tags", sorted(tags), {"name": request.match_info["name"]})

    async def manifest(self, request: web.Request) -> web.Response:
        text = request.match_info["reference"]
        wanted = parse_digest(text) if ":" in text else None
        if wanted is not None:
            named = _asked(request)
        elif _TAG.fullmatch(text):
            named = await self._repository(request)
        else:
            raise Refused(404, "MANIFEST_UNKNOWN", f"'{text}' is not a tag")
        reference = Reference(named.registry, named.repository, None if wanted else text, wanted)
        found = await to_thread.run_sync(self._shelf.manifest, reference)
        # By a digest nothing may be answered that does not have it, whatever the shelf means by it.
        if found is None or wanted not in (None, digest_of(found[1], wanted)):
            raise Refused(404, "MANIFEST_UNKNOWN", f"manifest unknown: {reference.familiar}")
        media_type, raw = found
        digest = wanted or Digest.of(raw)
        headers = content_headers(digest, media_type)
        if has_already(request, digest):
            return web.Response(status=304, headers=headers)
        return web.Response(body=raw, headers=headers)

    async def blob(self, request: web.Request) -> web.StreamResponse:
        _asked(request)
        digest = parse_digest(request.match_info["digest"])
        source = await self._whole(digest) or await self._part(digest) or await self._whole(digest)
        if source is None:
            raise Refused(404, "BLOB_UNKNOWN", f"blob unknown to registry: {digest}")
        try:
            if has_already(request, digest):
                headers = content_headers(digest, "application/octet-stream")
                return web.Response(status=304, headers=headers)
            return await send(request, digest, source, self._counts, self._idle)
        finally:
            os.close(source.fd)

    async def _whole(self, digest: Digest) -> Source | None:
        def opened() -> Source | None:
            path = self._shelf.blob(digest)
            if path is None:
                return None
            try:
                fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            except FileNotFoundError:
                return None
            return Source(fd, os.fstat(fd).st_size)

        return await to_thread.run_sync(opened)

    async def _part(self, digest: Digest) -> Source | None:
        part = await self._shelf.part(digest)
        return None if part is None else Source(part.opened(), part.size, part.beyond)

    async def _names(self) -> Sequence[Reference]:
        return await to_thread.run_sync(self._shelf.names)

    async def _repository(self, request: web.Request) -> Reference:
        known = {known.name: known for known in await self._names()}
        return find_repository(request.match_info["name"], request.query.get("ns"), known)


def _asked(request: web.Request) -> Reference:
    """What has a digest is here under every name: layers are shared, and an image on its way has none yet."""
    return parse_path(request.match_info["name"], request.query.get("ns"))
