"""The engine, as far as it is about registries: at the door of one, or being one."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

from aiodocker_lite.engine.lent import Lender
from aiodocker_lite.options import text


class Registries(Lender):
    """Credentials, and the store as a registry."""

    async def login(self, registry: str, username: str, password: str) -> Path:
        """Check a user name and password with a registry and keep them; returns the file that says where.

        Raises LoginFailed, RegistryUnavailable, UnusableConfig.
        """
        from aiodocker_lite.registry.client import HttpRegistry
        from aiodocker_lite.registry.keyring import Keyring

        for option, given in (("registry", registry), ("username", username), ("password", password)):
            text(option, given)
        keyring = Keyring(self.settings)
        async with HttpRegistry(self.settings, credentials=keyring.find) as client:
            await client.login(registry, username, password)
        return await keyring.keep(registry, username, password)

    async def logout(self, registry: str) -> bool:
        """Forget what `login` kept for a registry; False if there was nothing. Raises UnusableConfig."""
        from aiodocker_lite.registry.keyring import Keyring

        return await Keyring(self.settings).forget(registry)

    @asynccontextmanager
    async def serve(
        self,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        tls_cert: Path | None = None,
        tls_key: Path | None = None,
        token_file: Path | None = None,
        password_file: Path | None = None,
        insecure: bool = False,
        connections: int = 1024,
        per_client: int = 256,
        idle: float = 60.0,
        access_log: Callable[[str], None] | None = None,
        drain: float = 0.0,
    ) -> AsyncIterator[tuple[str, int]]:
        """Be a read-only registry with the images of the store; yields the address it listens on.

        Blobs that are being pulled are served as they come. Raises InvalidOption for an address that is not
        free, or that other machines reach without TLS and a secret, unless `insecure`. `idle` and `drain`
        are seconds: of connections on which nothing moves, and of answers when the block has ended.
        """
        from aiodocker_lite.serve.connections import Bounds
        from aiodocker_lite.serve.registry import Shelf
        from aiodocker_lite.serve.server import serve
        from aiodocker_lite.store.behind import following
        from aiodocker_lite.store.documents import find_manifest

        images, blobs = self.store.images, self.store.blobs
        bounds = Bounds(connections, per_client, idle)
        async with following(self.store.paths) as parts:
            shelf = Shelf(images.names, partial(find_manifest, images, blobs), blobs.path, parts.find)
            async with serve(
                shelf,
                host,
                port,
                tls_cert=tls_cert,
                tls_key=tls_key,
                token_file=token_file,
                password_file=password_file,
                insecure=insecure,
                bounds=bounds,
                access_log=access_log,
                drain=drain,
            ) as address:
                yield address
