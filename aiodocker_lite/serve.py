"""The store as a read-only registry: what another machine's `pull` asks for, and nothing that writes.

OCI distribution specification 1.1, "Pull" and "Content Discovery". It knows the store by three
callables, and asks them anew for every request.

Which image a path means: a full name (`quay.io/a/b`), else the repository on Docker Hub (with
or without `library/`), else the repository of this name on the one other registry that has it.
containerd names the registry it asks a mirror for in the query (`?ns=quay.io`); then no other
one is meant.

A blob is served under every repository that exists, whichever image it belongs to: layers are
shared by images, and whoever may ask here may ask for any name.
"""

from __future__ import annotations

import errno
import hashlib
import ipaddress
import os
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

from aiohttp import web
from anyio import CancelScope, to_thread

from aiodocker_lite.digest import Digest
from aiodocker_lite.errors import EngineError, InvalidManifest, InvalidOption, InvalidReference
from aiodocker_lite.reference import DOCKER_HUB, Reference

_GRACE: Final = 1.0
"""Seconds that answers on their way get to finish when the server stops."""
_CHUNK: Final = 1 << 18
_PAGE_MAX: Final = 10_000
_TAG: Final = re.compile(r"\w[\w.-]{0,127}", re.ASCII)
_PATH_COMPONENT: Final = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*")
_API_VERSION: Final = {"Docker-Distribution-Api-Version": "registry/2.0"}
_BLOB_HEADERS: Final = web.RequestKey("blob_headers", dict[str, str])


@dataclass(frozen=True, slots=True)
class Shelf:
    """What is served: plain blocking callables, called in threads."""

    names: Callable[[], Sequence[Reference]]
    """Every name in the store."""
    manifest: Callable[[Reference], tuple[str, bytes] | None]
    """Media type and raw bytes of what a name leads to, by tag or by digest."""
    blob: Callable[[Digest], Path | None]
    """The file of a whole blob."""


@asynccontextmanager
async def serve(shelf: Shelf, host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[tuple[str, int]]:
    """Serve while the block runs; yields the address, whose port was chosen if `port` was 0.

    Raises InvalidOption for an address that is not of this machine alone, or not free: what is
    here comes from private registries as well, and there is no password yet.
    """
    address = _loopback(host)
    runner = web.AppRunner(_application(shelf), access_log=None, shutdown_timeout=_GRACE)
    await runner.setup()
    try:
        site = web.TCPSite(runner, address, port)
        try:
            await site.start()
        except (OSError, OverflowError) as error:
            raise InvalidOption("port", _why_not(error, address, port)) from error
        yield address, site.port
    finally:
        with CancelScope(shield=True):
            await runner.cleanup()


def _loopback(host: str) -> str:
    if host == "localhost":
        return "127.0.0.1"
    try:
        if ipaddress.ip_address(host).is_loopback:
            return host
    except ValueError:
        pass
    raise InvalidOption("host", f"'{host}' is not a loopback address, such as 127.0.0.1")


def _why_not(error: OSError | OverflowError, address: str, port: int) -> str:
    if isinstance(error, OverflowError):
        return f"{port} is not a port"
    if error.errno == errno.EADDRINUSE:
        return f"{address}:{port} is already in use"
    return f"cannot listen on {address}:{port}: {os.strerror(error.errno or 0)}"


# --- answers -----------------------------------------------------------------------------------

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class _Refused(Exception):
    """An answer of the specification's form of errors."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


def _unknown_name(name: str, why: str = "there is no such repository here") -> _Refused:
    return _Refused(404, "NAME_UNKNOWN", f"{name}: {why}")


def _error(status: int, code: str, message: str, headers: dict[str, str] | None = None) -> web.Response:
    body = {"errors": [{"code": code, "message": message, "detail": None}]}
    return web.json_response(body, status=status, headers=headers)


@web.middleware
async def _specified(request: web.Request, handler: _Handler) -> web.StreamResponse:
    """Nothing leaves but what the specification has an answer for."""
    if request.method not in ("GET", "HEAD"):
        return _error(405, "UNSUPPORTED", "this registry is read-only", {"Allow": "GET, HEAD"})
    try:
        return await handler(request)
    except _Refused as refused:
        return _error(refused.status, refused.code, str(refused))
    except web.HTTPException as error:
        return _error(error.status, "UNSUPPORTED", f"{request.path} is nothing that this registry has")
    except EngineError as error:
        return _error(500, "UNKNOWN", str(error))


async def _finish(request: web.Request, response: web.StreamResponse) -> None:
    response.headers.update(_API_VERSION)
    # FileResponse makes an ETag of the time of the file; a blob has a better one.
    response.headers.update(request.get(_BLOB_HEADERS, {}))


def _application(shelf: Shelf) -> web.Application:
    registry = _Registry(shelf)
    application = web.Application(middlewares=[_specified])
    application.on_response_prepare.append(_finish)
    application.add_routes(
        [
            web.get("/v2/", registry.version),
            web.get("/v2", registry.version),
            web.get("/v2/_catalog", registry.catalog),
            web.get("/v2/{name:.+}/tags/list", registry.tags),
            web.get("/v2/{name:.+}/manifests/{reference}", registry.manifest),
            web.get("/v2/{name:.+}/blobs/{digest}", registry.blob),
        ]
    )
    return application


class _Registry:
    """The requests of the specification, answered from a shelf."""

    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf

    async def version(self, request: web.Request) -> web.Response:
        return web.json_response({})

    async def catalog(self, request: web.Request) -> web.Response:
        return _page(request, "repositories", catalog_of(await self._names()))

    async def tags(self, request: web.Request) -> web.Response:
        repository = await self._repository(request)
        tags = {name.tag for name in await self._names() if name.name == repository.name and name.tag}
        return _page(request, "tags", sorted(tags), {"name": request.match_info["name"]})

    async def manifest(self, request: web.Request) -> web.Response:
        text = request.match_info["reference"]
        repository = await self._repository(request)
        wanted = _digest(text) if ":" in text else None
        if wanted is None and not _TAG.fullmatch(text):
            raise _Refused(404, "MANIFEST_UNKNOWN", f"'{text}' is not a tag")
        reference = Reference(repository.registry, repository.repository, None if wanted else text, wanted)
        found = await to_thread.run_sync(self._shelf.manifest, reference)
        # By a digest nothing may be answered that does not have it, whatever the shelf means by it.
        if found is None or wanted not in (None, _digest_of(found[1], wanted)):
            raise _Refused(404, "MANIFEST_UNKNOWN", f"manifest unknown: {reference.familiar}")
        media_type, raw = found
        digest = wanted or Digest.of(raw)
        headers = _content_headers(digest, media_type)
        if _has(request, digest):
            return web.Response(status=304, headers=headers)
        return web.Response(body=raw, headers=headers)

    async def blob(self, request: web.Request) -> web.StreamResponse:
        await self._repository(request)
        digest = _digest(request.match_info["digest"])
        path = await to_thread.run_sync(self._shelf.blob, digest)
        if path is None:
            raise _Refused(404, "BLOB_UNKNOWN", f"blob unknown to registry: {digest}")
        headers = _content_headers(digest, "application/octet-stream")
        if _has(request, digest):
            return web.Response(status=304, headers=headers)
        request[_BLOB_HEADERS] = headers
        return web.FileResponse(path, chunk_size=_CHUNK, headers=headers)

    async def _names(self) -> Sequence[Reference]:
        return await to_thread.run_sync(self._shelf.names)

    async def _repository(self, request: web.Request) -> Reference:
        name = request.match_info["name"]
        known = {known.name: known for known in await self._names()}
        return find_repository(name, request.query.get("ns"), known)


# --- names -------------------------------------------------------------------------------------


def find_repository(path: str, registry: str | None, known: Mapping[str, Reference]) -> Reference:
    """The one of `known` (repositories by full name) that a path means; `registry` is a mirror's `ns`."""
    try:
        asked = Reference.parse(f"{registry}/{path}" if registry else path)
    except InvalidReference as error:
        raise _Refused(400, "NAME_INVALID", f"'{path}' is not a repository name: {error.reason}") from error
    if ":" in path.rpartition("/")[2] or "@" in path:
        raise _Refused(400, "NAME_INVALID", f"'{path}' is not a repository name")
    if asked.name in known:
        return known[asked.name]
    elsewhere = [] if registry else [name for name in known.values() if name.repository == path]
    if len(elsewhere) > 1:
        registries = ", ".join(sorted(name.registry for name in elsewhere))
        raise _unknown_name(path, f"there is one on each of {registries}; ask for one with its registry")
    if not elsewhere:
        raise _unknown_name(path)
    return elsewhere[0]


def catalog_of(names: Iterable[Reference]) -> list[str]:
    """For each repository the path that a client can ask for: its full name where that is a path.

    One on a registry with a port has a path only while its own name is nowhere else.
    """
    known = {name.name: name for name in names}
    paths = (_path_to(name, known) for name in known.values())
    return sorted(path for path in paths if path is not None)


def _path_to(name: Reference, known: Mapping[str, Reference]) -> str | None:
    full = name.familiar_name if name.registry == DOCKER_HUB else name.name
    for path in (full, name.repository):
        try:
            if _is_path(path) and find_repository(path, None, known) == name:
                return path
        except _Refused:
            continue
    return None


def _is_path(text: str) -> bool:
    """The specification's grammar of names, which has no port."""
    return all(_PATH_COMPONENT.fullmatch(part) for part in text.split("/"))


# --- bits of HTTP ------------------------------------------------------------------------------


def _digest(text: str) -> Digest:
    try:
        return Digest.parse(text)
    except InvalidManifest as error:
        raise _Refused(400, "DIGEST_INVALID", error.reason) from error


def _digest_of(raw: bytes, like: Digest | None) -> Digest:
    algorithm = like.algorithm if like else "sha256"
    return Digest(algorithm, hashlib.new(algorithm, raw).hexdigest())


def _content_headers(digest: Digest, media_type: str) -> dict[str, str]:
    return {
        "Content-Type": media_type,
        "Docker-Content-Digest": str(digest),
        "ETag": f'"{digest}"',
    }


def _has(request: web.Request, digest: Digest) -> bool:
    """The client has this content already (If-None-Match)."""
    return any(tag.value in ("*", str(digest)) for tag in request.if_none_match or ())


def _page(
    request: web.Request, key: str, everything: Sequence[str], more: dict[str, Any] | None = None
) -> web.Response:
    """What follows `last`, at most `n`; a Link leads on while there is more."""
    last = request.query.get("last", "")
    count = request.query.get("n")
    if count is not None and not (count.isascii() and count.isdigit()):
        raise _Refused(400, "PAGINATION_NUMBER_INVALID", f"'{count}' is not a number of results")
    limit = min(int(count[:9]), _PAGE_MAX) if count else _PAGE_MAX
    rest = [item for item in everything if item > last]
    page = rest[:limit]
    headers = {}
    if page and len(rest) > len(page):
        query = urlencode({**request.query, "n": limit, "last": page[-1]})
        headers["Link"] = f'<{request.path}?{query}>; rel="next"'
    return web.json_response({**(more or {}), key: page}, headers=headers)
