"""One reference to one image: resolve, read the manifest, bring all layers at the same time.

The order of things stands here and in `bring.py`, which a load shares, and nowhere else. The image
gets its name last.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from functools import partial
from typing import TYPE_CHECKING, Protocol, TypeVar

from aiodocker_lite import events
from aiodocker_lite.bring import Tools, bring_layers
from aiodocker_lite.errors import InvalidManifest, PlatformNotFound, RegistryError, shortened
from aiodocker_lite.events import Progress
from aiodocker_lite.fetch.blob import OpenAt
from aiodocker_lite.fetch.retries import Retries, retrying
from aiodocker_lite.fit import check_room
from aiodocker_lite.image import Image
from aiodocker_lite.manifest import (
    Descriptor,
    ImageConfig,
    Manifest,
    choose_platform,
    parse_config,
    parse_manifest,
)
from aiodocker_lite.platforms import Platform
from aiodocker_lite.reference import Reference
from aiodocker_lite.settings import Settings
from aiodocker_lite.spans import span

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
    retries = Retries(tools.settings.pauses, tools.settings.patience)
    ask = asking(retries, progress)

    def tell(text: str) -> None:
        progress(events.Notice(text))

    async with tools.store.counting_on_content():
        with span("resolve", reference.familiar):
            promised = await ask(f"resolving {reference}", lambda: registry.resolve(reference, tell))
        if (quota := registry.quota(reference.registry)) is not None:
            progress(quota)
        image = tools.store.images.named(reference)
        if (
            image is not None
            and tools.store.has_unpacked(image.config.diff_ids, str(tools.owners))
            and (tools.settings.discard_blobs or tools.store.images.has_blobs(image))
            and _is_up_to_date(image, promised, platform, strict=strict)
        ):
            progress(events.ImageReady(reference.familiar, promised.digest, fetched=False))
            return image
        manifest = await _fetch_manifest(reference, promised, registry, ask, tell, platform)
        with span("config", reference.familiar):
            raw = await ask(
                "the image configuration", lambda: registry.blob(reference, manifest.config, tell)
            )
        config = parse_config(raw, manifest.config)
        check_platform(reference.familiar, config, platform, strict=strict, progress=progress)
        check_room(reference.familiar, manifest, config, tools, beside)
        progress(events.Resolved(reference.familiar, promised.digest, config.platform, manifest.layers))
        await bring_layers(
            manifest,
            config,
            partial(open_layer, reference, registry, tools.settings, tell),
            tools,
            progress,
            retries=retries,
            blame=registry.blame,
        )
        with span("name", reference.familiar):
            image = await tools.store.images.add((reference.as_kept,), manifest, config, promised.digest)
    progress(events.ImageReady(reference.familiar, promised.digest, fetched=True))
    return image


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


async def _fetch_manifest(
    reference: Reference,
    promised: Descriptor,
    registry: Registry,
    ask: Ask,
    tell: Callable[[str], None],
    platform: Platform,
) -> Manifest:
    """The manifest for this platform; an index may lead to another index, but not for ever."""
    for _ in range(4):
        fetch = partial(registry.manifest, reference, promised, tell)
        with span("manifest", reference.familiar):
            document = parse_manifest(await ask(f"manifest {promised.digest.short}", fetch), promised)
        if isinstance(document, Manifest):
            return document
        promised = choose_platform(document, platform)
    raise InvalidManifest(f"manifest {promised.digest.short}", "it is an index in an index in an index")
