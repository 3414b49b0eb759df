"""What an answer means, or the lack of one: statuses, ranges, pauses, messages. Pure functions.

OCI distribution specification 1.1, "Error Codes"; RFC 9110 for Retry-After and Content-Range.
"""

from __future__ import annotations

import json
import os
import re
import ssl
import time
from collections.abc import Iterable, Mapping
from email.utils import parsedate_to_datetime
from http import HTTPStatus

import aiohttp

from aiodocker_lite.errors import (
    RateLimited,
    RegistryError,
    RegistryMisbehaved,
    RegistryUnavailable,
    RegistryUnreachable,
)

ERROR_MAX = 64 * 1024
"""Bytes of an error's body that are read."""
HTML = ("text/html", "application/xhtml+xml")
"""What a login page or a captive portal sends."""
_PAUSE_MAX = 60.0
_MESSAGE_MAX = 300
_RANGE = re.compile(r"bytes (\d{1,19})-(\d{1,19})/(\d{1,19}|\*)")
_SECONDS = re.compile(r"\d+(?:\.\d+)?")
_PLAIN_HTTP = {"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE"}


def media_type_of(headers: Mapping[str, str]) -> str:
    """Content-Type without its parameters, in lower case; empty if there is none."""
    return headers.get("Content-Type", "").partition(";")[0].strip().lower()


def content_range_of(headers: Mapping[str, str]) -> tuple[int, int, int | None] | None:
    """First byte, byte after the last, and total if known; None if absent or not understood."""
    match = _RANGE.fullmatch(headers.get("Content-Range", "").strip())
    if match is None:
        return None
    first, last, total = match.groups()
    return int(first), int(last) + 1, None if total == "*" else int(total)


def pause_of(headers: Mapping[str, str]) -> float | None:
    """Retry-After in seconds, at most a minute; None where it is absent or makes no sense."""
    text = headers.get("Retry-After", "").strip()
    if _SECONDS.fullmatch(text):
        return min(float(text), _PAUSE_MAX)
    try:
        pause = parsedate_to_datetime(text).timestamp() - time.time()
    except (ValueError, OverflowError, OSError):
        return None
    return min(max(pause, 0.0), _PAUSE_MAX)


def message_of(body: bytes, secrets: Iterable[str] = ()) -> str:
    """What the body of an error says: `code: message` of each error in it; empty if it is no JSON.

    `secrets` are not repeated.
    """
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return ""
    if not isinstance(document, dict):
        return ""
    errors = document.get("errors")
    if not isinstance(errors, list):
        # Token servers: {"details": "..."}; some proxies: {"message": "..."}.
        errors = [{"message": document.get("details") or document.get("message")}]
    found = [_sentence(error) for error in errors if isinstance(error, dict)]
    text = "; ".join(filter(None, found))
    for secret in secrets:
        text = text.replace(secret, "***")
    return text[:_MESSAGE_MAX]


def _sentence(error: Mapping[str, object]) -> str:
    code, message = error.get("code"), error.get("message")
    parts = [code.lower() if isinstance(code, str) else "", message if isinstance(message, str) else ""]
    return ": ".join(filter(None, parts))


def failure_of(registry: str, status: int, headers: Mapping[str, str], message: str) -> RegistryError:
    """The error for a status that means the same whatever was asked for."""
    said = message or _phrase(status)
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return RateLimited(registry, said, pause_of(headers))
    if status == HTTPStatus.REQUEST_TIMEOUT or status >= 500:
        return RegistryUnavailable(registry, f"it answered {status} ({said})", pause_of(headers))
    return RegistryMisbehaved(registry, f"it answered {status} ({said})")


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "a status that is not in any book"


def explain(error: BaseException, registry: str, *, known: bool) -> RegistryError:
    """What went wrong on the way, in plain words.

    `known` says that this host answered before: then a refused connection is a restart and worth
    another try, and otherwise a name that is wrong.
    """
    gone = RegistryUnavailable if known else RegistryUnreachable
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        reason = getattr(error.certificate_error, "verify_message", "") or "it does not match the name"
        return RegistryUnreachable(registry, f"its certificate is not trusted: {reason}")
    if isinstance(error, aiohttp.ClientConnectorSSLError):
        if speaks_plain_http(error):
            return RegistryUnreachable(
                registry, "it answers with plain http, not https; --insecure permits that"
            )
        return RegistryUnavailable(registry, f"no secure connection: {_tls_reason(error)}")
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return gone(registry, "the host name is not known")
    if isinstance(error, aiohttp.ClientConnectorError):
        number = error.os_error.errno
        return gone(
            registry, os.strerror(number).lower() if number else "no connection to any of its addresses"
        )
    if isinstance(error, aiohttp.ConnectionTimeoutError):
        return gone(registry, "it does not accept a connection in time")
    if isinstance(error, TimeoutError):
        return RegistryUnavailable(registry, "it stopped answering")
    if isinstance(error, aiohttp.InvalidURL):
        return RegistryUnreachable(registry, "the name or address is not valid")
    if isinstance(error, aiohttp.ClientResponseError):
        return RegistryMisbehaved(registry, "what it sends is not HTTP")
    return RegistryUnavailable(registry, "the connection was cut")


def speaks_plain_http(error: BaseException) -> bool:
    """The handshake failed because the other side does not speak TLS at all."""
    return (
        isinstance(error, aiohttp.ClientConnectorSSLError)
        and isinstance(error.os_error, ssl.SSLError)
        and error.os_error.reason in _PLAIN_HTTP
    )


def _tls_reason(error: aiohttp.ClientConnectorSSLError) -> str:
    reason = getattr(error.os_error, "reason", None)
    return str(reason).replace("_", " ").lower() if reason else "the handshake failed"
