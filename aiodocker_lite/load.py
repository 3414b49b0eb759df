"""An archive to images: the same way as a pull, with a file in the place of the registry."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import BinaryIO

from anyio import from_thread, to_thread

from aiodocker_lite import events
from aiodocker_lite.archive import Archive, ArchivedImage, Section, read_archive
from aiodocker_lite.archive.images import TITLES
from aiodocker_lite.bring import Tools
from aiodocker_lite.errors import ContentError, shortened
from aiodocker_lite.events import Progress
from aiodocker_lite.fetch.blob import OpenAt
from aiodocker_lite.fit import check_room
from aiodocker_lite.gather import Order, bring_layers
from aiodocker_lite.image import Image
from aiodocker_lite.manifest import Descriptor, check_pairs
from aiodocker_lite.platforms import Platform
from aiodocker_lite.pull import check_platform
from aiodocker_lite.spans import span
from aiodocker_lite.store.durable import store_errors

_CHUNK = 1 << 20
_LISTED = 5
"""Names that are told."""


async def load(
    source: Path | BinaryIO,
    name: str,
    tools: Tools,
    *,
    platform: Platform,
    strict: bool,
    tags: bool,
    progress: Progress,
) -> list[Image]:
    """Bring every image of an archive into the store; each is visible as soon as it is whole.

    An image that is there for one other platform only is refused if `strict`, else loaded with a warning.
    Without `tags`, the archive gives no names.
    What came of layers that are not whole goes with an error or a cancellation: nothing needs to be
    resumed. Raises InvalidArchive, ContentError, StoreError.
    """
    ingests = tools.store.paths.ingests

    def spool() -> BinaryIO:
        with store_errors(ingests):
            return tempfile.TemporaryFile(dir=ingests)

    def on_bytes(_: int) -> None:
        from_thread.check_cancelled()

    def read() -> Archive:
        with store_errors(ingests):
            free = shutil.disk_usage(ingests).free
        # What is copied is needed once more at least, as blobs; and who else writes here shall find room.
        return read_archive(
            source, name=name, spool=spool, platform=platform, spooled_max=free // 2, on_bytes=on_bytes
        )

    with span("archive", name):
        archive = await to_thread.run_sync(read)
    with archive:
        images = archive.images if tags else [replace(image, names=()) for image in archive.images]
        if tags and (wrong := [text for image in images for text in image.misnamed]):
            progress(events.Notice(_left_out(wrong)))
        for image in images:
            check_platform(_title(image), image.config, platform, strict=strict, progress=progress)
        try:
            async with tools.store.counting_on_content():
                return [await _load_image(image, tools, progress) for image in images]
        except ContentError as error:
            error.add_note(f"{name} looks like {TITLES[archive.format]}")
            raise


async def _load_image(archived: ArchivedImage, tools: Tools, progress: Progress) -> Image:
    manifest, config = archived.manifest, archived.config
    check_room(_title(archived), check_pairs(manifest, config), tools)
    progress(events.Resolved(_title(archived), manifest.digest, config.platform, manifest.layers))

    def open_blob(layer: Descriptor) -> OpenAt:
        return partial(_read_section, archived.layers[layer.digest])

    fresh = [layer.digest for layer in manifest.layers if not tools.store.has_part(layer.digest)]
    try:
        await bring_layers([Order(manifest, config, open_blob)], tools, progress)
    except BaseException:
        # What somebody's pull had begun is left to the next one.
        for digest in fresh:
            tools.store.drop_part(digest)
        raise
    _report_renamed(archived, tools, progress)
    image = await tools.store.images.add(archived.names, manifest, config, manifest.digest)
    progress(events.ImageReady(_title(archived), manifest.digest, fetched=True))
    return replace(image, names=archived.names)


def _left_out(wrong: Sequence[str]) -> str:
    named = ", ".join(f"'{shortened(text)}'" for text in wrong[:_LISTED])
    more = f" and {len(wrong) - _LISTED} more" if len(wrong) > _LISTED else ""
    return f"No image can be called {named}{more}: what the archive calls so is loaded without that name"


def _report_renamed(archived: ArchivedImage, tools: Tools, progress: Progress) -> None:
    """An archive may give any name to its images (A07): not in silence where one had it."""
    images = tools.store.images
    for name in sorted(set(archived.names) & set(images.names()), key=str):
        old = images.named(name)
        if old is not None and old.id != archived.config.digest:
            said = f"The image {name.familiar} already exists; the old one, {old.id.short}, loses this name"
            progress(events.Notice(said))


def _title(archived: ArchivedImage) -> str:
    return archived.names[0].familiar if archived.names else archived.config.digest.short


@dataclass(frozen=True, slots=True)
class _Reading:
    """The bytes of a layer in an archive, from an offset on."""

    section: Section
    offset: int
    end: int

    async def __aiter__(self) -> AsyncIterator[bytes]:
        position = self.offset
        while chunk := await to_thread.run_sync(self.section.read_at, position, _CHUNK):
            yield chunk
            position += len(chunk)


def _read_section(section: Section, offset: int, end: int) -> nullcontext[_Reading]:
    return nullcontext(_Reading(section, offset, section.size))
