"""Whether an image fits: what cannot is refused before it is begun, and what is used least makes room."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable
from pathlib import Path

from anyio import to_thread

from aiodocker_lite import events
from aiodocker_lite.bring import Tools
from aiodocker_lite.digest import Digest
from aiodocker_lite.errors import DoesNotFit, ExceedsMaxStore
from aiodocker_lite.events import Progress
from aiodocker_lite.image import Image
from aiodocker_lite.layer.space import room_in
from aiodocker_lite.manifest import Descriptor
from aiodocker_lite.reference import Reference
from aiodocker_lite.sizes import human_size, human_time, size_above
from aiodocker_lite.store import Store
from aiodocker_lite.store.unused import DAY
from aiodocker_lite.store.usage import Part, content_sizes, part_size, parts, paths_of


def check_room(
    name: str,
    pairs: Iterable[tuple[Descriptor, Digest]],
    tools: Tools,
    beside: Collection[Reference] = (),
) -> None:
    """Refuse layers, of an image or of many, that cannot fit: on the disk, or into a store that may not become so large.

    Images that are pulled `beside` it do not make room for it.

    Layers are counted twice, as blob and unpacked: nobody knows how large they will be, but hardly
    smaller than their blobs. Raises DoesNotFit.
    """
    store, settings = tools.store, tools.settings
    pairs = list(pairs)
    blobs = {blob.digest: blob.size for blob, _ in pairs}
    layers = {diff_id: blob.size for blob, diff_id in pairs}
    if settings.max_store is not None:
        sizes = {store.paths.blob(blob): size for blob, size in blobs.items()}
        sizes |= {store.paths.layer(diff_id): size for diff_id, size in layers.items()}
        _check_most(name, sizes, store, settings.max_store, beside)
    missing = sum(
        max(0, size - part_size(store.paths, blob))
        for blob, size in blobs.items()
        if not store.blobs.has(blob, size)
    )
    missing += sum(
        size for diff_id, size in layers.items() if store.layers.find(diff_id, str(tools.owners)) is None
    )
    free = max(0, room_in(store.paths.root, settings.limits.free_bytes))
    if missing > free:
        raise DoesNotFit(
            name,
            str(store.paths.root),
            f"it needs at least {human_size(missing)} more, and {human_size(free)} are free for it",
        )


def _check_most(
    name: str, sizes: dict[Path, int], store: Store, most: int, beside: Collection[Reference]
) -> None:
    """Refuse an image that takes too much, alone or with those beside it that are here. Raises ExceedsMaxStore."""
    others = (
        [image for image in store.images.all() if not set(beside).isdisjoint(image.names)] if beside else []
    )
    if others:
        here = content_sizes(store.paths, store.layers)
        of_others = {path for image in others for path in paths_of(image, store.paths)}
        sizes = sizes | {path: here[path] for path in of_others if path in here}
    if (least := sum(sizes.values())) > most:
        raise _too_much(name, store, f"it takes at least {size_above(least)}", most, beside=bool(others))


def _too_much(name: str, store: Store, takes: str, most: int, *, beside: bool) -> ExceedsMaxStore:
    others = "with what this command has pulled " if beside else ""
    reason = f"{others}{takes}, and the store may have {human_size(most)} (--max-store)"
    return ExceedsMaxStore(name, str(store.paths.root), reason)


async def make_room(
    store: Store, most: int, newest: Image, progress: Progress, beside: Collection[Reference] = ()
) -> None:
    """Remove images and partial downloads, what was used last the longest ago first, until the rest has `most` bytes.

    The `newest` image stays, and what was pulled `beside` it, a container uses or somebody is bringing; where these
    are too many the newest goes again. What others count on at
    this moment is only taken from the list; its bytes go with a later collection. Raises StoreError.
    """
    sizes = await to_thread.run_sync(content_sizes, store.paths, store.layers)
    images = {image.manifest.digest: image for image in await to_thread.run_sync(store.images.all)}
    containers = store.containers.all()
    in_containers = {container.manifest for container in containers}
    together = {
        digest
        for digest, image in images.items()
        if digest == newest.manifest.digest or not set(beside).isdisjoint(image.names)
    }
    kept = {store.paths.layer(diff_id) for container in containers for diff_id in container.layers}
    downloads = parts(store.paths)
    in_parts = sum(part.size for part in downloads)

    def size_of(found: Iterable[Image]) -> int:
        return sum(
            sizes.get(path, 0) for path in kept.union(*(paths_of(image, store.paths) for image in found))
        )

    def total() -> int:
        return in_parts + size_of(images.values())

    is_free = newest.manifest.digest not in in_containers
    if is_free and len(together) > 1 and (size := size_of(images[each] for each in together)) > most:
        await store.images.untag(newest.manifest.digest, newest.names)
        await to_thread.run_sync(store.collect, DAY)
        raise _too_much(newest.name, store, f"it takes {size_above(size)}", most, beside=True)

    can_go: list[tuple[float, Part | Image]] = [(part.changed, part) for part in downloads if not part.active]
    can_go += [
        (store.images.last_used(image), image)
        for digest, image in images.items()
        if digest not in in_containers | together
    ]
    removed = False
    for when, each in sorted(can_go, key=lambda pair: pair[0]):
        if total() <= most:
            break
        if isinstance(each, Part):
            in_parts -= each.size if store.drop_part(each.digest) else 0
            continue
        await store.images.untag(each.manifest.digest, each.names)
        del images[each.manifest.digest]
        removed = True
        unused = human_time(max(0, time.time() - when))
        progress(
            events.Notice(
                f"Removed {each.name}, not used for {unused}, for the store to stay below {human_size(most)}"
            )
        )
    if removed:
        await to_thread.run_sync(store.collect, DAY)
    if unreadable := [image.name for image in images.values() if not image.config.raw]:
        progress(
            events.Notice(
                f"Warning: what {', '.join(unreadable)} takes is not known, for it is damaged; "
                f"the store may have more than {human_size(most)}"
            )
        )
    if (size := total()) > most:
        progress(
            events.Notice(
                f"Warning: the store has {size_above(size)}, and nothing more can go; it should have {human_size(most)}"
            )
        )
