"""One reference to one image: resolve, read the manifest, bring all layers at the same time.

The steps stand here, and a prefetch of many images takes the same ones: a name is resolved, its documents
are read, its layers brought (`gather.py`), and the image gets its name last.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from functools import partial
from typing import TYPE_CHECKING, Protocol, TypeVar

import anyio
from anyio import to_thread

from aiodocker_lite import events
from aiodocker_lite.bring import Tools
from aiodocker_lite.errors import InvalidManifest, PlatformNotFound, RegistryError, one_error, shortened
from aiodocker_lite.events import Progress
from aiodocker_lite.fetch.blob import OpenAt
from aiodocker_lite.fetch.retries import Retries, retrying
from aiodocker_lite.fit import check_room
from aiodocker_lite.gather import Order, bring_layers
from aiodocker_lite.image import Image
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
from aiodocker_lite.spans import span
from aiodocker_lite.store import Store

if TYPE_CHECKING:
    from aiodocker_lite.registry.source import Registry

T = TypeVar("T")


class Ask(Protocol):
    """Makes one small request, and tries again where that may help."""

    async def __call__(self, what: str, action: Callable[[], Awaitable[T]]) -> T: ...


async def pull(
    reference: Reference,
    registry: Registry,
    tools: Tools,
    *,
    platform: Platform,
    strict: bool,
    progress: Progress,
    beside: Collection[Reference] = (),
) -> Image:
    """Bring one image into the store and return it; it is visible when all of it is, and not before.

    An image that is there for one other platform only is refused if `strict`, else pulled with a
    warning. What is pulled `beside` it makes no room for it. Raises RegistryError, ContentError, StoreError; what was downloaded until then is kept.
    """
    source = Source(reference, registry, tools.settings, progress)
    async with tools.store.counting_on_content():
        promised = await source.resolve()
        if (quota := registry.quota(reference.registry)) is not None:
            progress(quota)
        image = find_up_to_date(
            reference,
            promised,
            platform,
            tools.store,
            str(tools.owners),
            strict=strict,
            with_blobs=not tools.settings.discard_blobs,
        )
        if image is not None:
            progress(events.ImageReady(reference.familiar, promised.digest, fetched=False))
            return image
        manifest, config = await read_documents(source, promised, platform)
        check_platform(reference.familiar, config, platform, strict=strict, progress=progress)
        check_room(reference.familiar, check_pairs(manifest, config), tools, beside)
        progress(events.Resolved(reference.familiar, promised.digest, config.platform, manifest.layers))
        with one_error():
            async with anyio.create_task_group() as tasks:
                # Not only at the end: who pulls from here meanwhile asks for them first.
                tasks.start_soon(to_thread.run_sync, tools.store.images.put, manifest, config)
                await bring_layers([source.order(manifest, config)], tools, progress)
        with span("name", reference.familiar):
            image = await tools.store.images.add((reference.as_kept,), manifest, config, promised.digest)
    progress(events.ImageReady(reference.familiar, promised.digest, fetched=True))
    return image


class Source:
    """One name at its registry, which is asked as often as it is worth it."""

    def __init__(
        self,
        reference: Reference,
        registry: Registry,
        settings: Settings,
        progress: Progress,
    ) -> None:
        self.reference = reference
        self._registry = registry
        self._settings = settings
        self._retries = Retries(settings.pauses, settings.patience)
        self._ask = asking(self._retries, progress)
        self._tell = lambda text: progress(events.Notice(text))

    async def resolve(self) -> Descriptor:
        """What the name stands for now."""
        with span("resolve", self.reference.familiar):
            ask = partial(self._registry.resolve, self.reference, self._tell)
            return await self._ask(f"resolving {self.reference}", ask)

    async def manifest(self, promised: Descriptor) -> bytes:
        """The bytes of a manifest or an index, unchecked."""
        with span("manifest", self.reference.familiar):
            fetch = partial(self._registry.manifest, self.reference, promised, self._tell)
            return await self._ask(f"manifest {promised.digest.short}", fetch)

    async def config(self, promised: Descriptor) -> bytes:
        """The bytes of an image configuration, unchecked."""
        with span("config", self.reference.familiar):
            fetch = partial(self._registry.blob, self.reference, promised, self._tell)
            return await self._ask("the image configuration", fetch)

    def order(self, manifest: Manifest, config: ImageConfig) -> Order:
        """Its layers, to be brought from here."""
        open_blob = partial(open_layer, self.reference, self._registry, self._settings, self._tell)
        reference, blame = self.reference, self._registry.blame
        return Order(
            manifest, config, open_blob, self._retries, blame, reference.registry, reference.repository
        )


class Documents(Protocol):
    """Who has manifests and configurations."""

    async def manifest(self, promised: Descriptor) -> bytes: ...
    async def config(self, promised: Descriptor) -> bytes: ...


async def read_documents(
    documents: Documents, promised: Descriptor, platform: Platform
) -> tuple[Manifest, ImageConfig]:
    """Manifest and configuration for this platform; an index may lead to another index, but not for ever.

    Raises RegistryError, ContentError.
    """
    for _ in range(4):
        document = parse_manifest(await documents.manifest(promised), promised)
        if isinstance(document, Manifest):
            return document, parse_config(await documents.config(document.config), document.config)
        promised = choose_platform(document, platform)
    raise InvalidManifest(f"manifest {promised.digest.short}", "it is an index in an index in an index")


def find_up_to_date(
    reference: Reference,
    promised: Descriptor,
    platform: Platform,
    store: Store,
    owners: str | None,
    *,
    strict: bool,
    with_blobs: bool,
) -> Image | None:
    """The image that has this name here, where nothing needs to be brought of what the name stands for now."""
    image = store.images.named(reference)
    if (
        image is not None
        and store.directories(image.config.diff_ids, owners) is not None
        and (not with_blobs or store.images.has_blobs(image))
        and _is_up_to_date(image, promised, platform, strict=strict)
    ):
        return image
    return None


def _is_up_to_date(image: Image, promised: Descriptor, platform: Platform, *, strict: bool) -> bool:
    if image.verified != "Yes":
        return False
    suits = image.config.platform.normal() in platform.accepts()
    if promised.digest == image.manifest.digest:
        return suits or not strict  # the registry has this one image and no other
    return promised.digest == image.pulled_digest and suits


def check_platform(
    name: str, config: ImageConfig, platform: Platform, *, strict: bool, progress: Progress
) -> None:
    """Of an index the right image was chosen; a name that leads to one image may lead to the wrong one.

    Raises PlatformNotFound if `strict`, else it is a warning.
    """
    if not config.platform.architecture or config.platform.normal() in platform.accepts():
        return
    if strict:
        raise PlatformNotFound(str(platform), (str(config.platform),))
    text = f"Warning: {name} is an image for {shortened(str(config.platform))}, and {platform} was expected."
    progress(events.Notice(text))


def open_layer(
    reference: Reference,
    registry: Registry,
    settings: Settings,
    tell: Callable[[str], None],
    layer: Descriptor,
) -> OpenAt:
    """Where the bytes of a layer come from: the registry, or whom the manifest names, if that is allowed."""
    if layer.is_foreign and layer.urls and settings.foreign_layers:
        return partial(registry.open_foreign, reference, layer)
    return partial(registry.open_blob, reference, layer, tell=tell)


def asking(retries: Retries, progress: Progress) -> Ask:
    """Makes small requests as often as `retries` allows."""

    async def ask(what: str, action: Callable[[], Awaitable[T]]) -> T:
        def on_retry(error: RegistryError, pause: float) -> None:
            progress(retrying(what, error, pause))

        return await retries.attempt(action, on_retry)

    return ask
