"""The layers of one image or of many as one set: each once, the largest first, all at the same time.

An image is whole as soon as its own layers are there, and the few of them that depend on the layers
below them are joined to these.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TypeAlias

import anyio
from anyio import to_thread

from aiodocker_lite.bring import Blame, Layer, OpenBlob, Tools, bring_layer, staged
from aiodocker_lite.digest import Digest, chain_ids
from aiodocker_lite.errors import AccessDenied, EngineError, ImageNotFound, RegistryError, one_error
from aiodocker_lite.events import Progress
from aiodocker_lite.fetch.retries import Retries
from aiodocker_lite.layer.pool import JoinJob
from aiodocker_lite.manifest import Descriptor, ImageConfig, Manifest, check_pairs
from aiodocker_lite.spans import span
from aiodocker_lite.store.locks import hold

_AT_ONCE = 64
"""Layers that are begun and not ended: each holds a few open files."""


@dataclass(frozen=True, slots=True, eq=False)
class Order:
    """One image whose layers are wanted, and where their bytes come from. Without `retries` nothing is asked twice."""

    manifest: Manifest
    config: ImageConfig
    open_blob: OpenBlob
    retries: Retries = field(default_factory=lambda: Retries((), 0))
    blame: Blame = lambda blob: False
    registry: str = ""
    repository: str = ""


Whole: TypeAlias = Callable[[Order], Awaitable[None]]
"""Called when all of an image is in the store."""
Failed: TypeAlias = Callable[[Order, EngineError], None]
"""Told of an image that will not be whole; the others go on."""


async def _leave(order: Order) -> None:
    """Nothing is to be done."""


async def bring_layers(
    orders: Sequence[Order],
    tools: Tools,
    progress: Progress,
    *,
    whole: Whole = _leave,
    failed: Failed | None = None,
) -> None:
    """Have every layer of these images in the store, as blob and unpacked.

    Without `failed`, the first error is raised; the others are its notes. Raises InvalidManifest for layers
    that do not pair with their diff IDs.
    """
    gathering = _Gathering(orders, tools, progress, whole, failed)
    lanes = anyio.CapacityLimiter(_AT_ONCE)
    with one_error():
        async with anyio.create_task_group() as syncing:
            syncing.start_soon(tools.store.sealer.sync_ahead)
            async with anyio.create_task_group() as tasks:
                for order in orders:
                    if not order.manifest.layers:
                        tasks.start_soon(gathering.finish, order)
                for layer in gathering.layers:
                    await lanes.acquire_on_behalf_of(layer)
                    tasks.start_soon(gathering.bring, layer, partial(lanes.release_on_behalf_of, layer))
            syncing.cancel_scope.cancel()


@dataclass(slots=True, eq=False)
class _Wanted:
    """One layer, and the images that wait for it: each with the descriptor that its manifest has of it."""

    diff_id: Digest
    size: int
    waiting: dict[Order, Descriptor] = field(default_factory=dict)
    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)


class _Gathering:
    """What is missing of each image."""

    def __init__(
        self,
        orders: Iterable[Order],
        tools: Tools,
        progress: Progress,
        whole: Whole,
        failed: Failed | None,
    ) -> None:
        self._tools = tools
        self._progress = progress
        self._whole = whole
        self._failed = failed
        self._missing: dict[Order, list[_Wanted]] = {}
        found: dict[tuple[Digest, int, Digest], _Wanted] = {}
        for order in orders:
            for blob, diff_id in check_pairs(order.manifest, order.config):
                key = blob.digest, blob.size, diff_id
                layer = found.setdefault(key, _Wanted(diff_id, blob.size))
                if order not in layer.waiting:
                    layer.waiting[order] = blob
                    self._missing.setdefault(order, []).append(layer)
        self.layers = sorted(found.values(), key=lambda layer: layer.size, reverse=True)

    async def bring(self, layer: _Wanted, release: Callable[[], None]) -> None:
        """Bring one layer, unless nobody waits for it any more; whoever has all then is whole."""
        try:
            if layer.waiting:
                with layer.scope:
                    await self._bring_from_somewhere(layer)
        except EngineError as error:
            self._fail(list(layer.waiting), error)
            return
        finally:
            release()
        complete = []
        for order in layer.waiting:
            self._missing[order].remove(layer)
            if not self._missing[order]:
                complete.append(order)
        async with anyio.create_task_group() as tasks:
            for order in complete:
                tasks.start_soon(self.finish, order)

    async def finish(self, order: Order) -> None:
        """All layers are there: join them, and tell."""
        try:
            for count in range(1, len(order.config.diff_ids) + 1):
                await _join_uppermost(order.config.diff_ids[:count], self._tools)
            await self._whole(order)
        except EngineError as error:
            self._fail([order], error)

    def _fail(self, orders: Iterable[Order], error: EngineError) -> None:
        """Give these images up, and what nobody else waits for."""
        if self._failed is None:
            raise error
        for order in orders:
            for layer in self._missing.pop(order, ()):
                layer.waiting.pop(order, None)
                if not layer.waiting:
                    layer.scope.cancel()
            self._failed(order, error)

    async def _bring_from_somewhere(self, layer: _Wanted) -> None:
        """From the first image's repository; one that lacks it, or fails, is not the only one."""
        asked: dict[tuple[str, str], tuple[Order, Descriptor]] = {}
        for order, blob in layer.waiting.items():
            asked.setdefault((order.registry, order.repository), (order, blob))
        failures: list[RegistryError] = []
        down: set[str] = set()
        for order, blob in asked.values():
            if order.registry in down:
                continue
            one = Layer(blob, layer.diff_id, order.open_blob(blob), order.blame, order.retries)
            try:
                await bring_layer(one, self._tools, self._progress)
                return
            except RegistryError as error:
                failures.append(error)
                if not isinstance(error, AccessDenied | ImageNotFound):
                    down.add(order.registry)
        raise failures[0]


async def _join_uppermost(diff_ids: tuple[Digest, ...], tools: Tools) -> None:
    """Settle what the last of these layers left open until the layers below it are known."""
    store, (*lower, diff_id) = tools.store, diff_ids
    chain = chain_ids(diff_ids)[-1]
    owners = str(tools.owners)
    record = store.layers.find(diff_id, owners)
    if record is None or not record.loose_ends or store.joints.has(chain, owners):
        return
    async with hold(store.paths.lock(f"joint-{chain}")):
        lowers = store.directories(lower, owners)
        if lowers is None or store.joints.has(chain, owners):
            return
        stage, unstage = partial(store.joints.stage, chain), partial(store.joints.unstage, chain)
        async with staged(stage, unstage) as joint:
            job = JoinJob(
                diff_id, store.layers.files(diff_id), tuple(reversed(lowers)), joint, tools.owners.privileged
            )
            with span("join", diff_id.short):
                needed = await tools.unpackers.join(job)
            await to_thread.run_sync(partial(store.joints.seal, chain, owners, needed=needed))
