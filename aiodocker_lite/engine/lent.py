"""What the engine lends: the store, the workers, the network, each opened when it is first used, and closed."""

from __future__ import annotations

from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import anyio

from aiodocker_lite.errors import EngineNotOpen
from aiodocker_lite.options import text
from aiodocker_lite.platforms import Platform
from aiodocker_lite.settings import Settings
from aiodocker_lite.store import Store

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from aiodocker_lite.bring import Tools
    from aiodocker_lite.layer.privileges import Owners
    from aiodocker_lite.registry.source import Registry


class Lender:
    """Opens, lends and closes."""

    def __init__(
        self, settings: Settings | None = None, *, registry: Registry | None = None, lean: bool = False
    ) -> None:
        """Nothing is opened yet. `lean` starts faster, in a process where nobody else uses aiohttp."""
        self.settings = settings or Settings()
        self._lean = lean
        self._given_registry = registry
        self._registry = registry
        self._store: Store | None = None
        self._tools: Tools | None = None
        self._owners: Owners | None = None
        self._making_room = anyio.Lock()
        self._closing = AsyncExitStack()

    @property
    def store(self) -> Store:
        """Where everything is. Raises EngineNotOpen."""
        if self._store is None:
            raise EngineNotOpen
        return self._store

    async def __aenter__(self) -> Self:
        self._store = Store(Path(self.settings.root))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # Nothing can be opened any more that nobody would close.
        self._store, self._tools, self._registry = None, None, self._given_registry
        await self._closing.__aexit__(kind, error, trace)

    def _platform(self, chosen: str | Platform | None) -> Platform:
        if chosen is None:
            return self.settings.platform
        return chosen if isinstance(chosen, Platform) else Platform.parse(text("platform", chosen))

    async def _find_owners(self) -> Owners:
        if self._owners is None:
            from aiodocker_lite.owners import find_owners

            self._owners = await find_owners(self.store)
        return self._owners

    async def _open_tools(self) -> Tools:
        if self._tools is None:
            from aiodocker_lite.bring import Tools
            from aiodocker_lite.layer.pool import Unpackers

            self.store.create()
            owners = await self._find_owners()
            self._tools = Tools(
                self.settings,
                self.store,
                await self._closing.enter_async_context(Unpackers(self.settings.workers, owners.maps)),
                anyio.CapacityLimiter(self.settings.downloads),
                owners,
            )
        return self._tools

    async def _open_registry(self) -> Registry:
        if self._registry is None:
            if self._lean:
                from aiodocker_lite.registry.lean import import_aiohttp

                import_aiohttp()
            from aiodocker_lite.registry.client import HttpRegistry
            from aiodocker_lite.registry.keyring import Keyring

            client = HttpRegistry(self.settings, credentials=Keyring(self.settings).find)
            self._registry = await self._closing.enter_async_context(client)
        return self._registry
