"""Images that are damaged, made whole: only what is bad is unpacked or fetched again."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, NoReturn, Protocol, TypeAlias

from anyio import to_thread

from aiodocker_lite import events
from aiodocker_lite.bring import Tools
from aiodocker_lite.check import Checker, Flaw
from aiodocker_lite.errors import (
    EngineError,
    InvalidManifest,
    Irreparable,
    NoSuchImage,
    RegistryError,
    StoreCorrupt,
)
from aiodocker_lite.events import Progress
from aiodocker_lite.fetch.blob import OpenAt
from aiodocker_lite.fetch.retries import Retries
from aiodocker_lite.gather import Order, bring_layers
from aiodocker_lite.image import Image
from aiodocker_lite.manifest import Descriptor, ImageConfig, Manifest, parse_config, parse_manifest
from aiodocker_lite.pull import asking, open_layer
from aiodocker_lite.reference import Reference

if TYPE_CHECKING:
    from aiodocker_lite.registry.source import Registry

OpenRegistry: TypeAlias = "Callable[[], Awaitable[Registry]]"
_ROUNDS = 3
"""How often an image is checked: what lies under something damaged can only be checked after that is mended."""


@dataclass(frozen=True, slots=True)
class Checked:
    """An image as it is after it was checked, and what was wrong with it."""

    image: Image
    flaws: tuple[Flaw, ...] = ()
    repaired: bool = False
    packed: bool = True
    """Its layers are here as blobs too."""
    error: EngineError | None = None
    """Why it could not be checked, or not be repaired."""

    @property
    def is_sound(self) -> bool:
        """Nothing is wrong with it, or nothing any more."""
        return self.error is None and (self.repaired or not self.flaws)


async def verify(
    images: Sequence[Image],
    tools: Tools,
    open_registry: OpenRegistry | None,
    on_checked: Callable[[Checked], None],
    progress: Progress,
) -> list[Checked]:
    """Check images, one after the other, and repair them where there is a way to registries."""
    checker = Checker(tools)
    results = []
    async with tools.store.counting_on_content():
        for image in images:
            checked = await _verify(image, checker, tools, open_registry, progress)
            try:
                now = await to_thread.run_sync(tools.store.images.find, image.manifest.digest.hex)
            except NoSuchImage:
                now = image  # somebody has removed it
            results.append(replace(checked, image=now, packed=tools.store.images.has_blobs(now)))
            on_checked(results[-1])
    if open_registry is not None:
        await to_thread.run_sync(tools.store.collect)
    return results


async def _verify(
    image: Image, checker: Checker, tools: Tools, open_registry: OpenRegistry | None, progress: Progress
) -> Checked:
    found: dict[Flaw, None] = {}
    try:
        promised = tools.store.images.promised(image)
        for _ in range(_ROUNDS):
            flaws = await checker.check(promised)
            found.update(dict.fromkeys(flaws))
            if not flaws or open_registry is None:
                return Checked(image, tuple(found), repaired=bool(found) and not flaws)
            await _mend(image, promised, tools, open_registry, progress)
            checker.forget_flaws()
    except EngineError as error:
        return Checked(image, tuple(found), error=error)
    reason = "what was brought anew is damaged again; the disk may be failing"
    return Checked(image, tuple(found), error=Irreparable(image.name, reason))


async def _mend(
    image: Image, promised: Descriptor, tools: Tools, open_registry: OpenRegistry, progress: Progress
) -> None:
    """Bring what is missing, from the first of the image's names that leads to it."""
    sources: list[_Source] = [_Registry(name, await open_registry(), tools, progress) for name in image.names]
    for count, source in enumerate(sources or [_Nowhere(image.name)], 1):
        try:
            await _bring(source, promised, tools, progress)
        except RegistryError:
            if count == len(sources):
                raise
        else:
            return


async def _bring(source: _Source, promised: Descriptor, tools: Tools, progress: Progress) -> None:
    images = tools.store.images
    try:
        manifest = images.manifest(promised)
    except StoreCorrupt:
        manifest = await source.manifest(promised)
    try:
        config = images.config(manifest)
    except StoreCorrupt:
        config = await source.config(manifest)
    await to_thread.run_sync(images.put, manifest, config)
    records = map(tools.store.layers.find, config.diff_ids)
    if any(record is not None and record.listing is not None for record in records):
        tools = replace(tools, settings=replace(tools.settings, discard_blobs=True))
    order = Order(manifest, config, source.open_blob, source.retries, source.blame)
    await bring_layers([order], tools, progress)


class _Source(Protocol):
    retries: Retries

    async def manifest(self, promised: Descriptor) -> Manifest: ...
    async def config(self, manifest: Manifest) -> ImageConfig: ...
    def open_blob(self, layer: Descriptor) -> OpenAt: ...
    def blame(self, blob: Descriptor) -> bool: ...


class _Registry:
    """Where an image came from."""

    def __init__(self, name: Reference, registry: Registry, tools: Tools, progress: Progress) -> None:
        self._name = name
        self._registry = registry
        self._settings = tools.settings
        self._tell = lambda text: progress(events.Notice(text))
        self.retries = Retries(tools.settings.pauses, tools.settings.patience)
        self._ask = asking(self.retries, progress)

    async def manifest(self, promised: Descriptor) -> Manifest:
        fetch = partial(self._registry.manifest, self._name, promised, self._tell)
        found = parse_manifest(await self._ask(f"manifest {promised.digest.short}", fetch), promised)
        if isinstance(found, Manifest):
            return found
        raise InvalidManifest(f"manifest {promised.digest.short}", "it is an index now")

    async def config(self, manifest: Manifest) -> ImageConfig:
        fetch = partial(self._registry.blob, self._name, manifest.config, self._tell)
        return parse_config(await self._ask("the image configuration", fetch), manifest.config)

    def open_blob(self, layer: Descriptor) -> OpenAt:
        return open_layer(self._name, self._registry, self._settings, self._tell, layer)

    def blame(self, blob: Descriptor) -> bool:
        return self._registry.blame(blob)


class _Nowhere:
    """Where an image without a name came from."""

    retries = Retries((), 0)

    def __init__(self, image: str) -> None:
        self._image = image

    def _refuse(self, *what: object) -> NoReturn:
        reason = "it has no name, so nobody knows which registry it came from"
        raise Irreparable(self._image, reason)

    async def manifest(self, promised: Descriptor) -> Manifest:
        self._refuse(promised)

    async def config(self, manifest: Manifest) -> ImageConfig:
        self._refuse(manifest)

    def open_blob(self, layer: Descriptor) -> OpenAt:
        return self._refuse

    def blame(self, blob: Descriptor) -> bool:
        return False
