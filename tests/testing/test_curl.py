"""What the registry of faults sends, as curl sees it: a client that hides nothing."""

from __future__ import annotations

import subprocess
import time

import pytest

from aiodocker_lite.testing import (
    FakeRegistry,
    Fault,
    challenged,
    cut,
    damaged,
    huge,
    image,
    layer,
    redirected,
    slow,
    status,
    with_body,
    with_headers,
    with_length,
)

pytest_plugins = ["aiodocker_lite.testing.fixtures"]
LAYER = layer({"file": b"content"})
PATH = f"/v2/app/blobs/{LAYER.digest}"


def curl(registry: FakeRegistry, *words: str) -> tuple[int, bytes, str]:
    """Exit code, body, and the head of the answer."""
    command = ["curl", "-s", "-D", "/dev/stderr", "--max-time", "2", *words, registry.url + PATH]
    done = subprocess.run(command, capture_output=True, check=False)
    return done.returncode, done.stdout, done.stderr.decode()


@pytest.fixture
def registry(fault_registry: FakeRegistry) -> FakeRegistry:
    fault_registry.add("app", "latest", image(LAYER))
    return fault_registry


def test_without_a_script_it_is_honest(registry: FakeRegistry) -> None:
    """Whole, or the range that was asked for; what was sent is counted."""
    assert curl(registry)[1] == LAYER.raw
    assert curl(registry, "-r", "5-9")[1] == LAYER.raw[5:10]
    assert registry.sent(PATH) == len(LAYER.raw) + 5


@pytest.mark.parametrize(
    ("fault", "code", "size"),
    [
        (cut(10), 18, 10),
        (cut(10, "reset"), 56, None),
        (cut(10, "stall"), 28, 10),
        (with_length(9999), 18, len(LAYER.raw)),
        (huge(100_000), 0, len(LAYER.raw) + 100_000),
        (with_body(b"<html>"), 0, 6),
    ],
    ids=["cut", "reset", "stall", "too-long", "huge", "html"],
)
def test_a_body_ends_as_the_script_says(
    registry: FakeRegistry, fault: Fault, code: int, size: int | None
) -> None:
    """Exit codes of curl: 18 for less than promised, 28 for silence, 56 for a reset; and once only."""
    registry.script("GET", "/blobs/", fault)
    found, body, _ = curl(registry)
    assert found == code
    assert size in (None, len(body))
    assert curl(registry)[1] == LAYER.raw


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (status(429, Retry_After="7"), ["429", "Retry-After: 7"]),
        (challenged('Bearer realm="https://elsewhere"'), ["401", 'WWW-Authenticate: Bearer realm="https']),
        (redirected("http://127.0.0.1:1/x"), ["307", "Location: http://127.0.0.1:1/x"]),
        (with_headers(Content_Range="bytes 1-2/3"), ["200", "Content-Range: bytes 1-2/3"]),
    ],
    ids=["429", "challenge", "redirect", "range"],
)
def test_a_head_is_as_the_script_says(registry: FakeRegistry, fault: Fault, words: list[str]) -> None:
    """Status and headers."""
    registry.script("GET", "/blobs/", fault)
    head = curl(registry)[2]
    assert [word for word in words if word not in head] == []


def test_one_byte_is_another_and_all_else_as_it_was(registry: FakeRegistry) -> None:
    """Only the digest tells."""
    registry.script("GET", "/blobs/", damaged(3))
    body = curl(registry)[1]
    assert [n for n, (ours, theirs) in enumerate(zip(body, LAYER.raw, strict=True)) if ours != theirs] == [3]


def test_a_slow_body_comes_byte_by_byte(registry: FakeRegistry) -> None:
    """So many seconds each."""
    registry.script("GET", "/blobs/", slow(0.002))
    before = time.monotonic()
    assert curl(registry)[1] == LAYER.raw
    assert time.monotonic() - before >= 0.002 * len(LAYER.raw)
