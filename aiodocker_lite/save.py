"""Images of the store into an archive: which ones, whether they are whole, and where it goes."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

from anyio import from_thread, to_thread

from aiodocker_lite.archive import SavedFormat, open_output, write_archive
from aiodocker_lite.digest import Digest
from aiodocker_lite.errors import BlobMissing, ContentError, InvalidReference, StoreCorrupt, StoreUnreadable
from aiodocker_lite.image import Image
from aiodocker_lite.manifest import Descriptor
from aiodocker_lite.reference import Reference
from aiodocker_lite.store import Store
from aiodocker_lite.verify import Verifier

_BLOCK = 1 << 20


async def save(
    names: Sequence[str], store: Store, target: Path | BinaryIO, title: str, *, format: SavedFormat
) -> None:
    """Write images and their names to a file, which is whole or absent, or to a stream.

    As in docker, a name without a tag means all its tags, and an image that is asked for by ID or
    digest is saved without a name. Every byte is verified once more. `title` stands in errors.
    Raises NoSuchImage, BlobMissing, StoreCorrupt, StoreUnreadable, ArchiveUnwritable, DiskFull.
    """
    # Where we may not write, nobody can be asked to wait with collecting.
    may_lock = os.access(store.paths.lock("content").parent, os.W_OK)
    async with store.counting_on_content() if may_lock else nullcontext():
        images = find_images(names, store)

        def read_blob(blob: Descriptor) -> Iterator[bytes]:
            return _blocks(store.paths.blob(blob.digest), blob)

        def write() -> None:
            with open_output(target, title, from_thread.check_cancelled) as write:
                write_archive(images, format, read_blob, write)

        try:
            await to_thread.run_sync(write)
        except ContentError as error:
            raise StoreCorrupt(str(store.paths.blobs), str(error)) from error


def find_images(names: Sequence[str], store: Store) -> list[Image]:
    """The images of these names, each once with those of its names that were asked for, and whole.

    Raises NoSuchImage, BlobMissing, StoreCorrupt, StoreUnreadable.
    """
    found: dict[Digest, Image] = {}
    for text in names:
        for name in _all_tags(text, store) or (text,):
            image = store.images.find(str(name))
            kept = found.setdefault(image.manifest.digest, replace(image, names=())).names
            asked = (own for own in image.names if own.digest is None and own == _reference(str(name)))
            found[image.manifest.digest] = replace(image, names=tuple(dict.fromkeys((*kept, *asked))))
    for image in found.values():
        if not image.config.raw:
            path = store.paths.blob(image.manifest.digest)
            raise StoreCorrupt(str(path), f"{image.name} or its configuration cannot be read")
        for layer in image.manifest.layers:
            if not store.blobs.has(layer.digest, layer.size):
                raise BlobMissing(image.name, layer.digest.short)
    return list(found.values())


def _all_tags(text: str, store: Store) -> list[Reference]:
    """Every name that a repository has in the store, if this is a name without tag and digest."""
    asked = _reference(text)
    if asked is None or asked.digest or ":" in text.rpartition("/")[2]:
        return []
    names = (name for name in store.images.names() if name.name == asked.name and name.digest is None)
    return sorted(names, key=str)


def _reference(text: str) -> Reference | None:
    try:
        return Reference.parse(text)
    except InvalidReference:  # an ID, or nothing that is here
        return None


def _blocks(path: Path, blob: Descriptor) -> Iterator[bytes]:
    verifier = Verifier(f"the blob {blob.digest}", blob.digest, blob.size)
    try:
        with path.open("rb", buffering=0) as file:
            while block := file.read(_BLOCK):
                from_thread.check_cancelled()
                verifier.update(block)
                yield block
    except OSError as error:
        raise StoreUnreadable(str(path), error.strerror or str(error)) from error
    verifier.finish()
