"""Registries of faults for pytest, in a thread of their own: for clients of any kind, also other processes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from anyio.from_thread import start_blocking_portal

from aiodocker_lite.testing.registry import FakeRegistry


@contextmanager
def _running() -> Iterator[FakeRegistry]:
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(FakeRegistry()) as registry:
        yield registry


@pytest.fixture
def fault_registry() -> Iterator[FakeRegistry]:
    """A registry that is honest until it gets a script; it ends with the test."""
    with _running() as registry:
        yield registry


@pytest.fixture
def other_registry() -> Iterator[FakeRegistry]:
    """A second one, to be redirected to."""
    with _running() as registry:
        yield registry
