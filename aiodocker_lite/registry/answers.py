"""What an answer means: statuses, ranges, pauses, messages. Pure functions.

OCI distribution specification 1.1, "Error Codes"; RFC 9110 for Retry-After and Content-Range.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterable, Mapping
from email.utils import parsedate_to_datetime
from http import HTTPStatus

from aiodocker_lite.errors import (
    RateLimited,
    RegistryError,
    RegistryMisbehaved,
    RegistryUnavailable,
)
from aiodocker_lite.events import Quota

ERROR_MAX = 64 * 1024
"""Bytes of an error's body that are read."""
HTML = ("text/html", "application/xhtml+xml")
"""What a login page or a captive portal sends."""
_PAUSE_MAX = 60.0
_RESET_MAX = 86_400.0
_EPOCH_MIN = 1e9
"""Seconds from here on are a time, not a duration."""
_MESSAGE_MAX = 300
_RANGE = re.compile(r"bytes (\d{1,19})-(\d{1,19})/(\d{1,19}|\*)")
_QUOTA = re.compile(r"(\d{1,9})\s*;\s*w=(\d{1,9})")
_SECONDS = re.compile(r"\d+(?:\.\d+)?")


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
    pause = _retry_after(headers)
    return None if pause is None else min(pause, _PAUSE_MAX)


def _retry_after(headers: Mapping[str, str]) -> float | None:
    text = headers.get("Retry-After", "").strip()
    if _SECONDS.fullmatch(text):
        return float(text)
    try:
        pause = parsedate_to_datetime(text).timestamp() - time.time()
    except (ValueError, OverflowError, OSError):
        return None
    return max(pause, 0.0)


def reset_of(headers: Mapping[str, str]) -> float | None:
    """Seconds until a rate limit starts anew, as ``RateLimit-Reset: 30`` or as a time; None where that is unsaid."""
    text = headers.get("RateLimit-Reset", "").partition(";")[0].strip()
    if not _SECONDS.fullmatch(text):
        return None
    seconds = float(text)
    return max(seconds - time.time(), 0.0) if seconds >= _EPOCH_MIN else seconds


def _wait_of(headers: Mapping[str, str], quota: Quota | None) -> float | None:
    """How long nothing is answered but 429; None where nobody knows, or it is more than a day."""
    wait = _retry_after(headers)
    if wait is None and (wait := reset_of(headers)) is None and quota is not None and quota.left == 0:
        wait = quota.renewal
    return wait if wait is not None and wait <= _RESET_MAX else None


def quota_of(registry: str, headers: Mapping[str, str]) -> Quota | None:
    """How many pulls are left, as Docker Hub says it: ``ratelimit-remaining: 76;w=21600``; None if unsaid."""
    limit = _QUOTA.fullmatch(headers.get("RateLimit-Limit", "").strip())
    left = _QUOTA.fullmatch(headers.get("RateLimit-Remaining", "").strip())
    if limit is None or left is None:
        return None
    return Quota(registry, int(left[1]), int(limit[1]), int(limit[2]), reset_of(headers))


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
        if (quota := quota_of(registry, headers)) is not None:
            said += f"; {quota.left} of {quota.limit} pulls left, counted over {quota.window / 3600:g} hours"
        return RateLimited(registry, said, pause_of(headers), _wait_of(headers, quota))
    if status == HTTPStatus.REQUEST_TIMEOUT or status >= 500:
        return RegistryUnavailable(registry, f"it answered {status} ({said})", pause_of(headers))
    return RegistryMisbehaved(registry, f"it answered {status} ({said})")


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "a status that is not in any book"
