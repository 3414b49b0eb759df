"""One layer into the store, from wherever its bytes come.

It is downloaded into its ingest file, and unpacked behind the watermark of that file while it
grows; then blob and layer are sealed together.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import anyio
from anyio import to_thread

from aiodocker_lite import events
from aiodocker_lite.digest import Digest
from aiodocker_lite.errors import ContentError, RegistryError, one_error
from aiodocker_lite.events import Progress
from aiodocker_lite.fetch.blob import OpenAt, Sharing, Stretch, Write, fetch_blob
from aiodocker_lite.fetch.retries import Retries, retrying
from aiodocker_lite.layer.pool import Job, Unpackers, WaitBeyond
from aiodocker_lite.layer.privileges import Owners
from aiodocker_lite.layer.rules import Unpacked
from aiodocker_lite.manifest import Descriptor
from aiodocker_lite.settings import Settings
from aiodocker_lite.spans import span
from aiodocker_lite.store import Store
from aiodocker_lite.store.ingest import Ingest, discard, ingesting
from aiodocker_lite.store.layers import LayerRecord

OpenBlob = Callable[[Descriptor], OpenAt]
"""Where the bytes of a layer come from: of a registry, or of an archive."""
Blame = Callable[[Descriptor], bool]
"""Told of a blob whose bytes were wrong; True if the next ones come from somebody else."""


@dataclass(frozen=True, slots=True)
class Tools:
    """What conductors work with; the engine opens and closes it."""

    settings: Settings
    store: Store
    unpackers: Unpackers
    downloads: anyio.CapacityLimiter
    owners: Owners


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer that is wanted: its promise, its unpacked digest, and where its bytes come from."""

    blob: Descriptor
    diff_id: Digest
    open_at: OpenAt
    blame: Blame
    retries: Retries
    in_parts: bool = True


async def bring_layer(layer: Layer, tools: Tools, progress: Progress) -> None:
    """Have one layer in the store, as blob and unpacked. Raises RegistryError, ContentError, StoreError."""
    store, blob = tools.store, layer.blob
    waiting = partial(progress, events.Waiting(blob.digest))
    async with store.bringing(blob.digest, layer.diff_id, waiting, blob.size):
        record = store.layers.find(layer.diff_id, str(tools.owners))
        if record is not None and _has_enough(record, blob, tools):
            if tools.settings.discard_blobs:
                # Of a pull that was killed when its layer was sealed.
                discard(store.paths.ingest(blob.digest))
            progress(events.LayerExists(blob.digest, blob.size))
            return
        ingest = store.paths.ingest(blob.digest)
        while True:
            kept, source = _size(ingest), _Counted(layer.open_at)
            try:
                await _bring_bytes(replace(layer, open_at=source), tools, progress)
                return
            except ContentError as error:
                discard(ingest)
                # What an earlier run left may have suffered in a power cut, and what came in pieces may be
                # of two minds: once more, from the start and in one. A mirror may have lied, too.
                is_in_pieces = kept > 0 or source.requests > 1
                if not (is_in_pieces and layer.in_parts) and not layer.blame(blob):
                    raise
                layer = replace(layer, in_parts=False)
                progress(events.Retrying(f"layer {blob.digest.short}", str(error), 0))


def _has_enough(record: LayerRecord, blob: Descriptor, tools: Tools) -> bool:
    """Nothing needs to be brought of a layer that is unpacked."""
    if tools.settings.discard_blobs and record.listing is not None:
        return True
    return record.blob == blob.digest and tools.store.blobs.has(blob.digest, blob.size)


class _Counted:
    """Opens the parts of a blob, and knows how often."""

    def __init__(self, open_at: OpenAt) -> None:
        self.requests = 0
        self._open_at = open_at

    def __call__(self, offset: int, end: int) -> AbstractAsyncContextManager[Stretch]:
        self.requests += 1
        return self._open_at(offset, end)


async def _bring_bytes(layer: Layer, tools: Tools, progress: Progress) -> None:
    """Get, verify, unpack and seal; of blob and layer whichever is missing."""
    store, blob, diff_id = tools.store, layer.blob, layer.diff_id
    owners = str(tools.owners)
    has_layer = store.layers.find(diff_id, owners) is not None
    if not has_layer and store.layers.find(diff_id) is not None:
        store.containers.let_go_of(diff_id)
    has_blob = store.blobs.has(blob.digest, blob.size)
    stage, unstage = partial(store.layers.stage, diff_id), partial(store.layers.unstage, diff_id)
    async with nullcontext() if has_layer else staged(stage, unstage) as directory:
        if has_blob:
            unpacking = _Unpacking(layer, store.paths.blob(blob.digest), directory)
            unpacked = await _unpack(unpacking, all_of(blob), tools, progress)
        else:
            path = store.paths.ingest(blob.digest)
            async with ingesting(path, blob.size, tools.settings.batch) as ingest:
                unpacked = await _download_and_unpack(
                    _Unpacking(layer, path, directory), ingest, tools, progress
                )
        record = record_of(diff_id, blob.digest, unpacked, tools)
        keeps_blob = not has_blob and record.listing is None
        await store.sealer.seal(blob.digest if keeps_blob else None, None if has_layer else record)
        if not (has_blob or keeps_blob):
            await to_thread.run_sync(discard, path)
    progress(events.LayerReady(blob.digest, blob.size, unpacked.entries))


def record_of(diff_id: Digest, blob: Digest, unpacked: Unpacked, tools: Tools) -> LayerRecord:
    """What is kept of a layer that was verified just now."""
    return LayerRecord.now(
        diff_id,
        blob,
        size=unpacked.bytes,
        entries=unpacked.entries,
        owners=str(tools.owners),
        skipped=unpacked.skipped,
        describes_root=unpacked.describes_root,
        loose_ends=unpacked.loose_ends,
        unapplied=unpacked.unapplied,
        listing=None if unpacked.listing is None else Digest.parse(unpacked.listing),
    )


@dataclass(frozen=True, slots=True)
class _Unpacking:
    """A layer, the file its bytes are in, and the directory they go to (None: only check them)."""

    layer: Layer
    source: Path
    directory: Path | None


async def _download_and_unpack(
    unpacking: _Unpacking, ingest: Ingest, tools: Tools, progress: Progress
) -> Unpacked:
    with one_error():
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_download, unpacking.layer, ingest, tools, progress)
            return await _unpack(unpacking, ingest.wait_beyond, tools, progress)
    raise AssertionError("unreachable: the block above returns or raises")


async def _download(layer: Layer, ingest: Ingest, tools: Tools, progress: Progress) -> None:
    blob, settings = layer.blob, tools.settings

    @asynccontextmanager
    async def writing_at(offset: int) -> AsyncIterator[Write]:
        async def write(chunk: bytes) -> None:
            before = ingest.received
            await writer.write(chunk)
            if ingest.received > before:
                progress(events.LayerDownloaded(blob.digest, ingest.received, blob.size))

        async with ingest.writing(offset) as writer:
            yield write

    def on_retry(error: RegistryError, pause: float) -> None:
        progress(retrying(f"layer {blob.digest.short}", error, pause))

    sharing = Sharing(settings.streams, settings.split_above, tools.downloads) if layer.in_parts else None
    async with _downloading(blob, ingest, tools), anyio.create_task_group() as tasks:
        progress(events.LayerStarted(blob.digest, blob.size, ingest.received))
        tasks.start_soon(ingest.flush_now_and_then)
        await fetch_blob(
            blob,
            ingest.gaps,
            layer.open_at,
            writing_at,
            sharing=sharing,
            retries=layer.retries,
            on_retry=on_retry,
        )
        tasks.cancel_scope.cancel()
    progress(events.LayerDownloaded(blob.digest, ingest.received, blob.size))


@asynccontextmanager
async def _downloading(blob: Descriptor, ingest: Ingest, tools: Tools) -> AsyncIterator[None]:
    with span("slot", blob.digest.short):
        await tools.downloads.acquire()
    try:
        kept = ingest.received
        with span("download", blob.digest.short, size=blob.size) as facts:
            try:
                yield
            finally:
                facts["bytes"] = ingest.received - kept
    finally:
        tools.downloads.release()


async def _unpack(
    unpacking: _Unpacking, wait_beyond: WaitBeyond, tools: Tools, progress: Progress
) -> Unpacked:
    blob = unpacking.layer.blob
    job = Job(
        unpacking.source,
        blob.digest,
        blob.size,
        unpacking.layer.diff_id,
        unpacking.directory,
        tools.settings.limits,
        tools.owners.privileged,
        listed=tools.settings.discard_blobs,
    )
    return await tools.unpackers.unpack(
        job, wait_beyond, lambda n: progress(events.LayerUnpacked(blob.digest, n, blob.size))
    )


@asynccontextmanager
async def staged(stage: Callable[[], Path], unstage: Callable[[], None]) -> AsyncIterator[Path]:
    """A directory to be filled; gone after an error, and after a cancellation too."""
    try:
        yield await to_thread.run_sync(stage)
    except BaseException:
        with anyio.CancelScope(shield=True):
            await to_thread.run_sync(unstage)
        raise


def all_of(blob: Descriptor) -> WaitBeyond:
    """All of a blob has come."""

    async def wait_beyond(have: int) -> int:
        return blob.size

    return wait_beyond


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
