"""Answers of the specification's form: errors, headers of content, pages."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, Final
from urllib.parse import urlencode

from aiohttp import web

from aiodocker_lite.digest import Digest
from aiodocker_lite.errors import InvalidManifest

_PAGE_MAX: Final = 10_000


class Refused(Exception):
    """An answer of the specification's form of errors."""

    def __init__(self, status: int, code: str, message: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.headers = headers


def unknown_name(name: str, why: str = "there is no such repository here") -> Refused:
    return Refused(404, "NAME_UNKNOWN", f"{name}: {why}")


def refusal(status: int, code: str, message: str, headers: dict[str, str] | None = None) -> web.Response:
    body = {"errors": [{"code": code, "message": message, "detail": None}]}
    return web.json_response(body, status=status, headers=headers)


def parse_digest(text: str) -> Digest:
    try:
        return Digest.parse(text)
    except InvalidManifest as error:
        raise Refused(400, "DIGEST_INVALID", error.reason) from error


def digest_of(raw: bytes, like: Digest | None) -> Digest:
    algorithm = like.algorithm if like else "sha256"
    return Digest(algorithm, hashlib.new(algorithm, raw).hexdigest())


def content_headers(digest: Digest, media_type: str) -> dict[str, str]:
    return {
        "Content-Type": media_type,
        "Docker-Content-Digest": str(digest),
        "ETag": f'"{digest}"',
    }


def has_already(request: web.Request, digest: Digest) -> bool:
    """The client has this content already (If-None-Match)."""
    return any(tag.value in ("*", str(digest)) for tag in request.if_none_match or ())


def page(
    request: web.Request, key: str, everything: Sequence[str], more: dict[str, Any] | None = None
) -> web.Response:
    """What follows `last`, at most `n`; a Link leads on while there is more."""
    last = request.query.get("last", "")
    count = request.query.get("n")
    if count is not None and not (count.isascii() and count.isdigit()):
        raise Refused(400, "PAGINATION_NUMBER_INVALID", f"'{count}' is not a number of results")
    limit = min(int(count[:9]), _PAGE_MAX) if count else _PAGE_MAX
    rest = [item for item in everything if item > last]
    part = rest[:limit]
    headers = {}
    if part and len(rest) > len(part):
        query = urlencode({**request.query, "n": limit, "last": part[-1]})
        headers["Link"] = f'<{request.path}?{query}>; rel="next"'
    return web.json_response({**(more or {}), key: part}, headers=headers)
