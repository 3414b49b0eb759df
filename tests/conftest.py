"""The event loop of the tests, and three real registries."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.fakes.commands import environment
from tests.fakes.forks import Forks, forks
from tests.fakes.processes import (
    PASSWORD,
    USER,
    RealRegistry,
    htpasswd,
    running_registry,
    token_server,
)


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """The engine runs on asyncio, for aiohttp does."""
    return "asyncio"


@pytest.fixture(scope="session")
def open_registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealRegistry]:
    """A registry that anybody may read and write."""
    with running_registry(tmp_path_factory.mktemp("open"), {}) as address:
        yield RealRegistry(address)


@pytest.fixture(scope="session")
def basic_registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealRegistry]:
    """A registry with htpasswd: Basic, for one user."""
    directory = tmp_path_factory.mktemp("basic")
    with running_registry(directory, htpasswd(directory)) as address:
        yield RealRegistry(address, f"{USER}:{PASSWORD}")


@pytest.fixture(scope="session")
def token_registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealRegistry]:
    """A registry that believes tokens of its own token server, which knows one user."""
    directory = tmp_path_factory.mktemp("token")
    with token_server(directory) as tokens, running_registry(directory, tokens.auth) as address:
        yield RealRegistry(address, f"{USER}:{PASSWORD}", tokens)


@pytest.fixture(scope="session")
def forked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Forks]:
    """What commands of the command line are forks of."""
    with forks(environment(tmp_path_factory.mktemp("forks"))) as found:
        yield found


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Cases have the same name in every process, also those of random data, or with the time in it."""
    return argname if isinstance(val, bytes) else None
