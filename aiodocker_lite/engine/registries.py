"""The engine, as far as it is about registries: at the door of one, or being one."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from aiodocker_lite.engine.lent import Lender
from aiodocker_lite.options import text

if TYPE_CHECKING:
    pass


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
    async def serve(self, host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[tuple[str, int]]:
        """Be a read-only registry with the images of the store; yields the address it listens on."""
        from aiodocker_lite.serve import Shelf, serve

        images = self.store.images
        shelf = Shelf(names=images.names, manifest=images.raw_manifest, blob=self.store.blobs.path)
        async with serve(shelf, host, port) as address:
            yield address
