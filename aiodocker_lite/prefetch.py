"""Many images as one job: looked at, planned, and brought with every layer once; then a report of each.

What can be brought is brought while a registry's limit is waited for. The steps are those of a pull.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import TYPE_CHECKING

import anyio

from aiodocker_lite import events
from aiodocker_lite.bring import Tools
from aiodocker_lite.digest import Digest
from aiodocker_lite.errors import DoesNotFit, EngineError, RateLimited, Stopped
from aiodocker_lite.events import Event, Progress
from aiodocker_lite.fit import check_room
from aiodocker_lite.gather import Order, bring_layers
from aiodocker_lite.image import Image
from aiodocker_lite.look import Entry, Look
from aiodocker_lite.manifest import check_pairs
from aiodocker_lite.plan import Brought, Failure, Plan, Report
from aiodocker_lite.platforms import Platform
from aiodocker_lite.pull import Source
from aiodocker_lite.quotas import PullLimits, Rationed
from aiodocker_lite.settings import Settings
from aiodocker_lite.sizes import counted
from aiodocker_lite.sources import merged
from aiodocker_lite.spans import span
from aiodocker_lite.store import Store
from aiodocker_lite.wanted import Wanted

if TYPE_CHECKING:
    from aiodocker_lite.registry.source import Registry

OnNamed = Callable[[Image], Awaitable[None]]
"""Called when an image has its name; what it raises makes the image fail."""


async def plan(
    wanted: Iterable[Wanted],
    registry: Registry,
    store: Store,
    settings: Settings,
    *,
    platform: Platform,
    limits: PullLimits,
    progress: Progress,
) -> Plan:
    """What a prefetch would bring; nothing is written. What cannot be had is among its failures."""
    job = _Job(Rationed(registry, limits), store, settings, None, progress)
    job.want(wanted, platform)
    look = job.look(keeps=False)
    pending: Sequence[Entry] = job.entries
    while pending := await look.all(pending):
        await job.registry.wait(len(pending), progress)
    return job.plan()


async def prefetch(
    wanted: Iterable[Wanted],
    registry: Registry,
    tools: Tools,
    *,
    platform: Platform,
    limits: PullLimits,
    keep_going: bool,
    on_named: OnNamed,
    progress: Progress,
) -> Report:
    """Bring all of these images; each is visible as soon as it is whole.

    One that cannot be had stops only what it alone needs, or everything if not `keep_going`. Nothing is
    raised for it: it is among the failures of the report. Cancelling keeps what was downloaded.
    """
    began = time.monotonic()
    meter = _Meter(progress)
    job = _Job(Rationed(registry, limits), tools.store, tools.settings, str(tools.owners), meter, keep_going)
    job.want(wanted, platform)
    async with tools.store.counting_on_content():
        with job.scope:
            look = job.look(keeps=True)
            pending: Sequence[Entry] = job.entries
            while pending:
                put_off = await look.all(pending)
                pending = [*put_off, *await _bring(job, tools, on_named)]
                if pending:
                    await job.registry.wait(len(pending), meter)
        for entry in job.open():
            job.fail(entry, Stopped())
    return Report(
        plan=job.plan(),
        images=tuple(job.brought[entry] for entry in job.entries if entry in job.brought),
        failures=job.failures(),
        fetched=meter.fetched,
        seconds=round(time.monotonic() - began, 3),
    )


async def _bring(job: _Job, tools: Tools, on_named: OnNamed) -> list[Entry]:
    """Bring what is known; returns what a registry's limit has stopped."""
    entries = [entry for entry in job.open() if entry.documents is not None]
    job.tell_plan()
    for entry in entries:
        if entry.here is not None:
            try:
                await job.succeed(entry, entry.here, on_named, fetched=False)
            except EngineError as error:
                job.fail(entry, error)
    orders: dict[Order, Entry] = {
        entry.source.order(*entry.documents): entry
        for entry in entries
        if entry.documents is not None and entry.here is None
    }
    put_off: list[Entry] = []
    try:
        names = {entry.wanted.reference.as_kept for entry in job.entries}
        pairs = [pair for order in orders for pair in check_pairs(order.manifest, order.config)]
        check_room(counted(len(orders), "image"), pairs, tools, names)
    except DoesNotFit as error:
        for entry in orders.values():
            job.fail(entry, error)
        return []

    async def whole(order: Order) -> None:
        entry = orders[order]
        assert entry.promised is not None
        name = entry.wanted.reference.as_kept
        with span("name", entry.title):
            image = await tools.store.images.add((name,), order.manifest, order.config, entry.promised.digest)
        await job.succeed(entry, image, on_named, fetched=True)

    def failed(order: Order, error: EngineError) -> None:
        entry = orders[order]
        if isinstance(error, RateLimited) and job.registry.waits_for(order.registry, error):
            put_off.append(entry)
        else:
            job.fail(entry, error)

    for order, entry in orders.items():
        assert entry.promised is not None
        layers = order.manifest.layers
        job.progress(events.Resolved(entry.title, entry.promised.digest, order.config.platform, layers))
    await bring_layers(list(orders), tools, job.progress, whole=whole, failed=failed)
    return put_off


class _Job:
    """All images of a prefetch, and what has become of them so far."""

    def __init__(
        self,
        registry: Rationed,
        store: Store,
        settings: Settings,
        owners: str | None,
        progress: Progress,
        keep_going: bool = True,
    ) -> None:
        self.registry = registry
        self.progress = progress
        self.entries: list[Entry] = []
        self.brought: dict[Entry, Brought] = {}
        self.scope = anyio.CancelScope()
        self._store = store
        self._settings = settings
        self._owners = owners
        self._keep_going = keep_going

    def want(self, wanted: Iterable[Wanted], platform: Platform) -> None:
        """Each name once for each platform, whoever asks for it."""
        images = merged(wanted)
        names = [one.reference for one in images]
        for one in images:
            is_alone = names.count(one.reference) == 1
            title = (
                one.reference.familiar
                if is_alone
                else f"{one.reference.familiar} ({one.platform or platform})"
            )
            asked = one.reference if one.pin is None else one.reference.with_digest(one.pin)
            source = Source(asked, self.registry, self._settings, self.progress)
            self.entries.append(Entry(one, title, one.platform or platform, source))

    def look(self, *, keeps: bool) -> Look:
        return Look(
            self._store,
            self.registry,
            self.progress,
            self.fail,
            owners=self._owners,
            discards=self._settings.discard_blobs,
            keeps=keeps,
        )

    def open(self) -> list[Entry]:
        """Those of which nobody knows yet whether they can be had."""
        return [entry for entry in self.entries if entry.error is None and entry not in self.brought]

    def fail(self, entry: Entry, error: EngineError) -> None:
        entry.error = error
        self.progress(events.ImageFailed(entry.title, error.slug, str(error)))
        self._count()
        if not self._keep_going:
            self.scope.cancel()

    async def succeed(self, entry: Entry, image: Image, on_named: OnNamed, *, fetched: bool) -> None:
        """It has its name. Raises what `on_named` raises."""
        assert entry.promised is not None
        await on_named(image)
        digest = entry.promised.digest
        self.brought[entry] = Brought(
            name=str(entry.wanted.reference),
            digest=str(digest),
            platform=str(image.config.platform),
            fetched=fetched,
        )
        self.progress(events.ImageReady(entry.title, digest, fetched=fetched))
        self._count()

    def _count(self) -> None:
        failed = sum(entry.error is not None for entry in self.entries)
        self.progress(events.JobProgress(len(self.entries), len(self.brought), failed))

    # --- what there is to say ----------------------------------------------------------------

    def tell_plan(self) -> None:
        """With what is known now."""
        self.progress(self.plan().totals())
        self._count()

    def plan(self) -> Plan:
        return Plan(
            images=tuple(entry.planned for entry in self.entries if entry.planned is not None),
            failures=self.failures(planned=False),
            pulls=self.registry.pulls(),
        )

    def failures(self, *, planned: bool = True) -> tuple[Failure, ...]:
        """Those that cannot be had; without those that could be `planned`, if that is not asked for."""
        return tuple(
            Failure(
                name=str(entry.wanted.reference),
                platform=None if entry.wanted.platform is None else str(entry.wanted.platform),
                sources=entry.wanted.sources,
                error=entry.error.slug,
                reason=str(entry.error),
            )
            for entry in self.entries
            if entry.error is not None and (planned or entry.planned is None)
        )


class _Meter:
    """Passes events on, and counts the bytes that came in."""

    def __init__(self, progress: Progress) -> None:
        self.fetched = 0
        self._progress = progress
        self._received: dict[Digest, int] = {}

    def __call__(self, event: Event) -> None:
        match event:
            case events.LayerStarted():
                self._received[event.layer] = event.have
            case events.LayerDownloaded():
                self.fetched += max(0, event.received - self._received[event.layer])
                self._received[event.layer] = event.received
            case _:
                pass
        self._progress(event)
