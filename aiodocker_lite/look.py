"""What is wanted, looked at: each name by one HEAD, each manifest and configuration by one GET over all images.

A registry that permits no more for now has the rest put off (`quotas.py`).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

import anyio
from anyio import to_thread
from anyio.abc import TaskGroup

from aiodocker_lite.digest import Digest
from aiodocker_lite.errors import ContentError, EngineError, StoreCorrupt, one_error
from aiodocker_lite.events import ImagePlanned, Progress
from aiodocker_lite.image import Image
from aiodocker_lite.manifest import Descriptor, ImageConfig, Manifest, check_pairs
from aiodocker_lite.plan import Document, PlannedImage, PlannedLayer
from aiodocker_lite.platforms import Platform
from aiodocker_lite.pull import Source, check_platform, find_up_to_date, read_documents
from aiodocker_lite.quotas import PutOff, Rationed
from aiodocker_lite.reference import Reference
from aiodocker_lite.store import Store
from aiodocker_lite.store.usage import part_size
from aiodocker_lite.verify import verify
from aiodocker_lite.wanted import Wanted

_RESOLVED_AT_ONCE = 8
"""Names at one registry. Documents are read as `Rationed` permits."""


@dataclass(slots=True, eq=False)
class Entry:
    """One image that is wanted, and what is known of it so far."""

    wanted: Wanted
    title: str
    platform: Platform
    """The one that was asked for, else the default."""
    source: Source
    promised: Descriptor | None = None
    here: Image | None = None
    """It is up to date."""
    documents: tuple[Manifest, ImageConfig] | None = None
    planned: PlannedImage | None = None
    error: EngineError | None = None

    @property
    def is_strict(self) -> bool:
        return self.wanted.platform is not None


Failed = Callable[[Entry, EngineError], None]


class Look:
    """Looks at images that are wanted. What it reads it `keeps` in the store, for whoever comes after a kill."""

    def __init__(
        self,
        store: Store,
        registry: Rationed,
        progress: Progress,
        failed: Failed,
        *,
        owners: str | None,
        discards: bool,
        keeps: bool,
    ) -> None:
        self._store = store
        self._registry = registry
        self._progress = progress
        self._failed = failed
        self._owners = owners
        self._discards = discards
        self._keeps = keeps
        self._writing: TaskGroup
        self._documents: dict[Digest, bytes] = {}
        self._locks: dict[Digest, anyio.Lock] = {}

    async def all(self, entries: Sequence[Entry]) -> list[Entry]:
        """Learn all there is to know of each; returns those that were put off. `failed` is told of the others."""
        by_name: dict[Reference, list[Entry]] = {}
        for entry in entries:
            if entry.promised is None:
                by_name.setdefault(entry.source.reference, []).append(entry)
        put_off: list[Entry] = []
        turns = {name.registry: anyio.CapacityLimiter(_RESOLVED_AT_ONCE) for name in by_name}
        async with anyio.create_task_group() as tasks:
            for name, group in by_name.items():
                tasks.start_soon(self._resolve, group, turns[name.registry], put_off)
        for registry in turns:
            if (quota := self._registry.quota(registry)) is not None:
                self._progress(quota)
        with one_error():
            async with anyio.create_task_group() as tasks:
                self._writing = tasks
                for entry in entries:
                    if entry.promised is not None:
                        tasks.start_soon(self._read, entry, put_off)
        return [entry for entry in entries if entry in put_off]

    async def _resolve(self, group: list[Entry], turns: anyio.CapacityLimiter, put_off: list[Entry]) -> None:
        try:
            async with turns:
                promised = await group[0].source.resolve()
        except PutOff as refusal:
            self._put_off(group, refusal, put_off)
        except EngineError as error:
            for entry in group:
                self._failed(entry, error)
        else:
            for entry in group:
                entry.promised = promised

    async def _read(self, entry: Entry, put_off: list[Entry]) -> None:
        name, promised = entry.wanted.reference, entry.promised
        assert promised is not None
        try:
            entry.here = find_up_to_date(
                name,
                promised,
                entry.platform,
                self._store,
                self._owners,
                strict=entry.is_strict,
                with_blobs=not self._discards,
            )
            if entry.here is not None:
                self._know(entry, entry.here.manifest, entry.here.config)
                return
            async with self._registry.turn(name.registry):
                manifest, config = await read_documents(
                    _Documents(self, entry.source), promised, entry.platform
                )
            check_platform(
                entry.title, config, entry.platform, strict=entry.is_strict, progress=self._progress
            )
            self._know(entry, manifest, config)
        except PutOff as refusal:
            self._put_off([entry], refusal, put_off)
        except EngineError as error:
            self._failed(entry, error)

    def _know(self, entry: Entry, manifest: Manifest, config: ImageConfig) -> None:
        entry.documents = manifest, config
        if entry.planned is None:
            entry.planned = self._planned(entry, manifest, config)
            digest, is_here = Digest.parse(entry.planned.digest), entry.planned.here
            self._progress(ImagePlanned(entry.title, digest, config.platform, manifest.layers, is_here))

    def _planned(self, entry: Entry, manifest: Manifest, config: ImageConfig) -> PlannedImage:
        assert entry.promised is not None
        return PlannedImage(
            name=str(entry.wanted.reference),
            digest=str(entry.promised.digest),
            platform=str(config.platform),
            manifest=_document(manifest.descriptor),
            config=_document(manifest.config),
            layers=tuple(
                self._planned_layer(blob, diff_id) for blob, diff_id in check_pairs(manifest, config)
            ),
            sources=entry.wanted.sources,
            here=entry.here is not None,
        )

    def _planned_layer(self, blob: Descriptor, diff_id: Digest) -> PlannedLayer:
        record = self._store.layers.find(diff_id, self._owners)
        has_all = self._store.blobs.has(blob.digest, blob.size) or (
            self._discards and record is not None and record.listing is not None
        )
        have = blob.size if has_all else min(blob.size, part_size(self._store.paths, blob.digest))
        return PlannedLayer(
            digest=str(blob.digest),
            diff_id=str(diff_id),
            size=blob.size,
            have=have,
            unpacked=record is not None,
        )

    def _put_off(self, entries: list[Entry], refusal: PutOff, put_off: list[Entry]) -> None:
        if self._registry.waits:
            put_off += entries
            return
        for entry in entries:
            self._failed(entry, refusal.error)

    async def read(
        self, promised: Descriptor, what: str, fetch: Callable[[Descriptor], Awaitable[bytes]]
    ) -> bytes:
        """The bytes of a document, verified; whoever comes first fetches it for all."""
        async with self._locks.setdefault(promised.digest, anyio.Lock()):
            raw = self._documents.get(promised.digest) or self._read_kept(promised, what)
            if raw is None:
                raw = await fetch(promised)
                verify(what, raw, promised.digest, promised.size)
                if self._keeps:
                    # Nobody waits for the disk who has a turn to ask.
                    put = partial(self._store.blobs.put, promised.digest, raw)
                    self._writing.start_soon(to_thread.run_sync, put)
            self._documents[promised.digest] = raw
            return raw

    def _read_kept(self, promised: Descriptor, what: str) -> bytes | None:
        with suppress(StoreCorrupt, ContentError):  # what is damaged is fetched
            if self._store.blobs.has(promised.digest, promised.size):
                raw = self._store.blobs.read(promised.digest)
                verify(what, raw, promised.digest, promised.size)
                return raw
        return None


def _document(promised: Descriptor) -> Document:
    return Document(media_type=promised.media_type, digest=str(promised.digest), size=promised.size)


class _Documents:
    """The documents of one image, each read once over all images."""

    def __init__(self, look: Look, source: Source) -> None:
        self._look = look
        self._source = source

    async def manifest(self, promised: Descriptor) -> bytes:
        return await self._look.read(promised, f"manifest {promised.digest.short}", self._source.manifest)

    async def config(self, promised: Descriptor) -> bytes:
        return await self._look.read(
            promised, f"image configuration {promised.digest.short}", self._source.config
        )
