"""A fake registry with one image, and clients of it."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from aiodocker_lite.registry.client import HttpRegistry
from aiodocker_lite.registry.credentials import Credential
from aiodocker_lite.settings import Settings
from aiodocker_lite.testing.images import Image, image, layer, noise
from aiodocker_lite.testing.registry import FakeRegistry
from tests.fakes.clients import NewClient, knowing
from tests.fakes.credhelpers import Programs
from tests.fakes.processes import certificate


@pytest.fixture(scope="session")
def app() -> Image:
    """An image of one layer that fills several packets."""
    return image(layer({"etc/": b"", "etc/data": noise(300_000)}))


@pytest.fixture
async def fake(app: Image) -> AsyncIterator[FakeRegistry]:
    """An honest registry that has `app:latest`, until a test scripts it."""
    async with FakeRegistry() as registry:
        registry.add("app", "latest", app)
        yield registry


@pytest.fixture
async def other() -> AsyncIterator[FakeRegistry]:
    """Somebody else's server."""
    async with FakeRegistry() as registry:
        yield registry


@pytest.fixture
async def client() -> AsyncIterator[NewClient]:
    """Make a client from settings and the one credential it has, for whatever registry."""
    async with AsyncExitStack() as closing:

        def new(credential: Credential | None = None, **settings: object) -> HttpRegistry:
            registry = HttpRegistry(Settings(**settings), credentials=knowing(credential))  # type: ignore[arg-type]
            closing.push_async_exit(registry)
            return registry

        yield new


@pytest.fixture(scope="session")
def tls(tmp_path_factory: pytest.TempPathFactory) -> ssl.SSLContext:
    """The server's side of TLS, with a certificate that nobody trusts."""
    crt, key = certificate(tmp_path_factory.mktemp("tls"), "server", "localhost")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(crt, key)
    return context


@pytest.fixture
def docker_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where this test's `config.json` is, in a home directory of its own."""
    for name in ("DOCKER_CONFIG", "REGISTRY_AUTH_FILE", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))
    return tmp_path / ".docker" / "config.json"


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Programs:
    """Where this test's credential helpers are."""
    return Programs(tmp_path / "bin", monkeypatch)
