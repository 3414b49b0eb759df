"""What answers mean, odd ones included."""

from __future__ import annotations

import json
import time
from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiodocker_lite.errors import RateLimited, RegistryError, RegistryMisbehaved, RegistryUnavailable
from aiodocker_lite.events import Quota
from aiodocker_lite.registry.answers import (
    content_range_of,
    failure_of,
    media_type_of,
    message_of,
    pause_of,
    quota_of,
)


@pytest.mark.parametrize(
    ("text", "pause"),
    [
        ("0", 0.0),
        ("7", 7.0),
        ("1.5", 1.5),
        ("31536000", 60.0),
        ("9" * 400, 60.0),
        ("-1", None),
        ("", None),
        ("soon", None),
        ("985.86µs", None),
        ("Fri, 31 Dec 1999 23:59:59 GMT", 0.0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 60.0),
    ],
)
def test_retry_after_is_seconds_or_a_date_and_at_most_a_minute(text: str, pause: float | None) -> None:
    """R19: what makes no sense is as good as nothing."""
    assert pause_of({"Retry-After": text}) == pause


def test_a_date_in_retry_after_is_a_pause_from_now() -> None:
    """Ten seconds from now is about ten seconds."""
    pause = pause_of({"Retry-After": formatdate(time.time() + 10, usegmt=True)})
    assert pause is not None
    assert 8 < pause <= 10


@pytest.mark.parametrize(
    ("limit", "left", "quota"),
    [
        ("100;w=21600", "76;w=21600", (76, 100, 21600)),
        ("200;w=3600", "0;w=3600", (0, 200, 3600)),
        ("100", "76", None),
        ("100;w=21600", "", None),
        ("-1;w=5", "3;w=5", None),
        ("9" * 30 + ";w=1", "1;w=1", None),
    ],
)
def test_the_pulls_that_are_left(limit: str, left: str, quota: tuple[int, int, int] | None) -> None:
    """As Docker Hub says it; anything else says nothing."""
    found = quota_of("docker.io", {"RateLimit-Limit": limit, "RateLimit-Remaining": left})
    assert found == (quota and Quota("docker.io", *quota))


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"Retry-After": "7200"}, 7200.0),
        ({"Retry-After": "5", "RateLimit-Reset": "30"}, 5.0),
        ({"RateLimit-Reset": "30"}, 30.0),
        ({"RateLimit-Reset": "30;w=60"}, 30.0),
        ({"RateLimit-Reset": "1000000001"}, 0.0),
        ({"RateLimit-Reset": "soon"}, None),
        ({"RateLimit-Limit": "100;w=21600", "RateLimit-Remaining": "0;w=21600"}, 21600.0),
        ({"RateLimit-Limit": "100;w=21600", "RateLimit-Remaining": "3;w=21600"}, None),
        ({"Retry-After": "90000"}, None),
    ],
)
def test_when_pulls_are_permitted_again(headers: dict[str, str], seconds: float | None) -> None:
    """As it says, or after a whole window where none is left; more than a day is as good as never."""
    error = failure_of("docker.io", 429, headers, "")
    assert isinstance(error, RateLimited)
    assert error.resets_in == seconds


@pytest.mark.parametrize(
    ("text", "extent"),
    [
        ("bytes 5-9/10", (5, 10, 10)),
        ("bytes 0-0/1", (0, 1, 1)),
        ("bytes 5-9/*", (5, 10, None)),
        ("bytes */10", None),
        ("bytes 5-9", None),
        ("bytes=5-9/10", None),
        ("bytes -5-9/10", None),
        ("bytes 5-9/10, 20-29/30", None),
        ("", None),
    ],
)
def test_content_range(text: str, extent: tuple[int, int, int | None] | None) -> None:
    """One range with a beginning and an end, or nothing."""
    assert content_range_of({"Content-Range": text}) == extent


@pytest.mark.parametrize(
    ("status", "kind", "retryable"),
    [
        (429, RateLimited, True),
        (408, RegistryUnavailable, True),
        (500, RegistryUnavailable, True),
        (503, RegistryUnavailable, True),
        (599, RegistryUnavailable, True),
        (400, RegistryMisbehaved, False),
        (418, RegistryMisbehaved, False),
        (304, RegistryMisbehaved, False),
    ],
)
def test_statuses_that_may_pass_are_tried_again(
    status: int, kind: type[RegistryError], retryable: bool
) -> None:
    """R19: 429, 408 and all of 5xx."""
    error = failure_of("example.com", status, {"Retry-After": "3"}, "")
    assert type(error) is kind
    assert error.retryable is retryable
    if isinstance(error, RateLimited | RegistryUnavailable):
        assert error.retry_after == 3


def test_who_is_limited_is_told_how_much() -> None:
    """R19: where the refusal says it; what it says in words stays."""
    headers = {"RateLimit-Limit": "100;w=21600", "RateLimit-Remaining": "0;w=21600"}
    said = "docker.io limits the number of pulls: toomanyrequests: slow down"
    assert str(failure_of("docker.io", 429, {}, "toomanyrequests: slow down")) == said
    error = failure_of("docker.io", 429, headers, "toomanyrequests: slow down")
    assert str(error) == f"{said}; 0 of 100 pulls left, counted over 6 hours"
    assert str(failure_of("docker.io", 429, {**headers, "RateLimit-Limit": "many"}, "")).endswith(
        "Too Many Requests"
    )


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({"errors": [{"code": "DENIED", "message": "no pull for you"}]}, "denied: no pull for you"),
        ({"errors": [{"code": "A", "message": "b"}, {"message": "c"}]}, "a: b; c"),
        ({"errors": [{"code": "UNKNOWN"}]}, "unknown"),
        ({"details": "wrong password"}, "wrong password"),
        ({"message": "quota"}, "quota"),
        ({"errors": "none"}, ""),
        ({"errors": [1, None, {"code": 5, "message": []}]}, ""),
        ({}, ""),
        ([], ""),
    ],
)
def test_errors_in_json_are_shown(document: object, message: str) -> None:
    """The specification's form, and those of token servers and proxies."""
    assert message_of(json.dumps(document).encode()) == message


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_no_body_breaks_the_message(body: bytes) -> None:
    """Whatever comes with an error, the error is reported."""
    assert len(message_of(body)) <= 300


def test_a_media_type_has_no_parameters() -> None:
    """Some registries add a charset."""
    assert media_type_of({"Content-Type": "Application/JSON ; charset=utf-8"}) == "application/json"
    assert media_type_of({}) == ""
