"""One reference to one image: resolve, read the manifest, bring all layers at the same time.

The order of things stands here and nowhere else. A layer is downloaded into its ingest file,
and unpacked behind the watermark of that file while it grows; then blob and layer are sealed
together. The image gets its name last.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar

import anyio
from anyio import to_thread

from aiodocker_lite import events
from aiodocker_lite.digest import Digest
from aiodocker_lite.errors import ContentError, InvalidManifest, PlatformNotFound, RegistryError, one_error
from aiodocker_lite.events import Progress
from aiodocker_lite.fetch import OpenAt, attempt, fetch_blob
from aiodocker_lite.image import Image
from aiodocker_lite.layer.pool import Job, Unpackers, WaitBeyond
from aiodocker_lite.layer.unpack import Unpacked
from aiodocker_lite.manifest import (
    Descriptor,
    ImageConfig,
    Manifest,
    check_pairs,
    choose_platform,
    parse_config,
    parse_manifest,
)
from aiodocker_lite.platforms import Platform
from aiodocker_lite.reference import Reference
from aiodocker_lite.settings import Settings
from aiodocker_lite.store import Store
from aiodocker_lite.store.ingest import Ingest, ingesting
from aiodocker_lite.store.layers import LayerRecord

if TYPE_CHECKING:
    from aiodocker_lite.registry.client import Registry

T = TypeVar("T")
OpenBlob = Callable[[Descriptor], OpenAt]
"""Where the bytes of a layer come from: of a registry, or of an archive."""


class Ask(Protocol):
    """Makes one small request, and tries again where that may help."""

    async def __call__(self, what: str, action: Callable[[], Awaitable[T]]) -> T: ...


@dataclass(frozen=True, slots=True)
class Tools:
    """What conductors work with; the engine opens and closes it."""

    settings: Settings
    store: Store
    unpackers: Unpackers
    downloads: anyio.CapacityLimiter
    privileged: bool


async def pull(
    reference: Reference,
    registry: Registry,
    tools: Tools,
    *,
    platform: Platform,
    strict: bool,
    progress: Progress,
) -> Image:
    """Bring one image into the store and return it; it is visible when all of it is, and not before.

    An image that is there for one other platform only is refused if `strict`, else pulled with a
    warning. Raises RegistryError, ContentError, StoreError; what was downloaded until then is kept.
    """
    ask = _asking(tools, progress)
    async with tools.store.counting_on_content():
        promised = await ask(f"resolving {reference}", lambda: registry.resolve(reference))
        image = tools.store.images.named(reference)
        if image is not None and _is_up_to_date(image, promised, platform, strict=strict):
            progress(events.ImageReady(image.name, promised.digest, fetched=False))
            return image
        manifest = await _fetch_manifest(reference, promised, registry, ask, platform)
        raw = await ask("the image configuration", lambda: registry.blob(reference, manifest.config))
        config = parse_config(raw, manifest.config)
        _check_platform(reference, config, platform, strict=strict, progress=progress)
        progress(events.Resolved(reference.familiar, promised.digest, config.platform, manifest.layers))
        await bring_layers(
            manifest, config, lambda layer: partial(registry.open_blob, reference, layer), tools, progress
        )
        name = reference.with_digest(reference.digest) if reference.digest else reference
        image = await tools.store.images.add((name,), manifest, config, promised.digest)
    progress(events.ImageReady(image.name, promised.digest, fetched=True))
    return image


def _is_up_to_date(image: Image, promised: Descriptor, platform: Platform, *, strict: bool) -> bool:
    if image.verified != "Yes":
        return False
    suits = image.config.platform.normal() in platform.accepts()
    if promised.digest == image.manifest.digest:
        return suits or not strict  # the registry has this one image and no other
    return promised.digest == image.pulled_digest and suits


def _check_platform(
    reference: Reference, config: ImageConfig, platform: Platform, *, strict: bool, progress: Progress
) -> None:
    """Of an index the right image was chosen; a name that leads to one image may lead to the wrong one."""
    if not config.platform.architecture or config.platform.normal() in platform.accepts():
        return
    if strict:
        raise PlatformNotFound(str(platform), (str(config.platform),))
    text = f"Warning: {reference.familiar} is an image for {config.platform}, and {platform} was expected."
    progress(events.Notice(text))


def _asking(tools: Tools, progress: Progress) -> Ask:
    async def ask(what: str, action: Callable[[], Awaitable[T]]) -> T:
        def on_retry(error: RegistryError, pause: float) -> None:
            progress(events.Retrying(what, str(error), pause))

        return await attempt(action, pauses=tools.settings.pauses, on_retry=on_retry)

    return ask


async def _fetch_manifest(
    reference: Reference,
    promised: Descriptor,
    registry: Registry,
    ask: Ask,
    platform: Platform,
) -> Manifest:
    """The manifest for this platform; an index may lead to another index, but not for ever."""
    for _ in range(4):
        fetch = partial(registry.manifest, reference, promised)
        document = parse_manifest(await ask(f"manifest {promised.digest.short}", fetch), promised)
        if isinstance(document, Manifest):
            return document
        promised = choose_platform(document, platform)
    raise InvalidManifest(f"manifest {promised.digest.short}", "it is an index in an index in an index")


@dataclass(frozen=True, slots=True)
class _Layer:
    """One layer that is wanted: its promise, its unpacked digest, and where its bytes come from."""

    blob: Descriptor
    diff_id: Digest
    open_at: OpenAt


async def bring_layers(
    manifest: Manifest, config: ImageConfig, open_blob: OpenBlob, tools: Tools, progress: Progress
) -> None:
    """Have every layer of an image in the store, as blob and unpacked: all at once, the largest first.

    Raises the first error; the others are its notes.
    """
    pairs = dict.fromkeys(check_pairs(manifest, config))
    with one_error():
        async with anyio.create_task_group() as tasks:
            for blob, diff_id in sorted(pairs, key=lambda pair: pair[0].size, reverse=True):
                tasks.start_soon(_bring_layer, _Layer(blob, diff_id, open_blob(blob)), tools, progress)


async def _bring_layer(layer: _Layer, tools: Tools, progress: Progress) -> None:
    store, blob = tools.store, layer.blob
    async with store.bringing(blob.digest, layer.diff_id, lambda: progress(events.Waiting(blob.digest))):
        record = store.layers.find(layer.diff_id)
        if record is not None and record.blob == blob.digest and store.blobs.has(blob.digest, blob.size):
            progress(events.LayerExists(blob.digest, blob.size))
            return
        ingest = store.paths.ingest(blob.digest)
        for kept in (_size(ingest), 0):
            try:
                await _bring_bytes(layer, tools, progress)
                return
            except ContentError as error:
                ingest.unlink(missing_ok=True)
                if not kept:
                    raise
                # What an earlier run left may have suffered in a power cut: once more, from the start.
                progress(events.Retrying(f"layer {blob.digest.short}", str(error), 0))


async def _bring_bytes(layer: _Layer, tools: Tools, progress: Progress) -> None:
    """Get, verify, unpack and seal; of blob and layer whichever is missing."""
    store, blob, diff_id = tools.store, layer.blob, layer.diff_id
    has_layer = store.layers.find(diff_id) is not None
    has_blob = store.blobs.has(blob.digest, blob.size)
    async with _staging(store, diff_id, needed=not has_layer) as directory:
        if has_blob:
            unpacking = _Unpacking(layer, store.paths.blob(blob.digest), directory)
            unpacked = await _unpack(unpacking, _all_of(blob), tools, progress)
        else:
            path = store.paths.ingest(blob.digest)
            async with ingesting(path, blob.size, tools.settings.batch) as ingest:
                unpacked = await _download_and_unpack(
                    _Unpacking(layer, path, directory), ingest, tools, progress
                )
        record = LayerRecord.now(
            diff_id, blob.digest, size=unpacked.bytes, entries=unpacked.entries, skipped=unpacked.skipped
        )
        await store.sealer.seal(None if has_blob else blob.digest, None if has_layer else record)
    progress(events.LayerReady(blob.digest, blob.size, unpacked.entries))


@dataclass(frozen=True, slots=True)
class _Unpacking:
    """A layer, the file its bytes are in, and the directory they go to (None: only check them)."""

    layer: _Layer
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


async def _download(layer: _Layer, ingest: Ingest, tools: Tools, progress: Progress) -> None:
    blob = layer.blob

    async def write(chunk: bytes) -> None:
        before = ingest.watermark
        await ingest.write(chunk)
        if ingest.watermark > before:
            progress(events.LayerDownloaded(blob.digest, ingest.watermark, blob.size))

    def on_retry(error: RegistryError, pause: float) -> None:
        progress(events.Retrying(f"layer {blob.digest.short}", str(error), pause))

    async with tools.downloads:
        have = ingest.watermark
        progress(events.LayerStarted(blob.digest, blob.size, have))
        pauses = tools.settings.pauses
        await fetch_blob(blob, layer.open_at, write, offset=have, pauses=pauses, on_retry=on_retry)
        await ingest.flush()
    progress(events.LayerDownloaded(blob.digest, ingest.watermark, blob.size))


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
        tools.privileged,
    )
    return await tools.unpackers.unpack(
        job, wait_beyond, lambda n: progress(events.LayerUnpacked(blob.digest, n, blob.size))
    )


@asynccontextmanager
async def _staging(store: Store, diff_id: Digest, *, needed: bool) -> AsyncIterator[Path | None]:
    """A directory for a layer; gone after an error, and after a cancellation too."""
    if not needed:
        yield None
        return
    try:
        yield await to_thread.run_sync(store.layers.stage, diff_id)
    except BaseException:
        with anyio.CancelScope(shield=True):
            await to_thread.run_sync(store.layers.unstage, diff_id)
        raise


def _all_of(blob: Descriptor) -> WaitBeyond:
    async def wait_beyond(have: int) -> int:
        return blob.size

    return wait_beyond


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
