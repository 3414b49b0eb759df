"""Whether an image fits: what cannot is refused before it is begun, and what is used least makes room."""

from __future__ import annotations

import time

from anyio import to_thread

from aiodocker_lite import events
from aiodocker_lite.bring import Tools
from aiodocker_lite.errors import DoesNotFit
from aiodocker_lite.events import Progress
from aiodocker_lite.image import Image
from aiodocker_lite.layer.space import room_in
from aiodocker_lite.manifest import ImageConfig, Manifest, check_pairs
from aiodocker_lite.sizes import human_size, human_time
from aiodocker_lite.store import Store
from aiodocker_lite.store.unused import DAY
from aiodocker_lite.store.usage import Part, content_sizes, part_size, parts, paths_of


def check_room(name: str, manifest: Manifest, config: ImageConfig, tools: Tools) -> None:
    """Refuse an image that cannot fit: on the disk, or into a store that may not become so large.

    Layers are counted twice, as blob and unpacked: nobody knows how large they will be, but hardly
    smaller than their blobs. Raises DoesNotFit.
    """
    store, settings = tools.store, tools.settings
    pairs = check_pairs(manifest, config)
    blobs = {blob.digest: blob.size for blob, _ in pairs}
    layers = {diff_id: blob.size for blob, diff_id in pairs}
    most = settings.max_store
    if most is not None and (least := sum(blobs.values()) + sum(layers.values())) > most:
        raise DoesNotFit(
            name,
            str(store.paths.root),
            f"it takes at least {human_size(least)}, and the store may have {human_size(most)} (--max-store)",
        )
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


async def make_room(store: Store, most: int, newest: Image, progress: Progress) -> None:
    """Remove images and partial downloads, what was used last the longest ago first, until the rest has `most` bytes.

    The `newest` image stays, and what a container uses or somebody is bringing. What others count on at
    this moment is only taken from the list; its bytes go with a later collection. Raises StoreError.
    """
    sizes = await to_thread.run_sync(content_sizes, store.paths, store.layers)
    images = {image.manifest.digest: image for image in await to_thread.run_sync(store.images.all)}
    containers = store.containers.all()
    in_use = {container.manifest for container in containers} | {newest.manifest.digest}
    kept = {store.paths.layer(diff_id) for container in containers for diff_id in container.layers}
    downloads = parts(store.paths)
    in_parts = sum(part.size for part in downloads)

    def total() -> int:
        paths = kept.union(*(paths_of(image, store.paths) for image in images.values()))
        return in_parts + sum(sizes.get(path, 0) for path in paths)

    can_go: list[tuple[float, Part | Image]] = [(part.changed, part) for part in downloads if not part.active]
    can_go += [
        (store.images.last_used(image), image) for digest, image in images.items() if digest not in in_use
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
                f"Warning: the store has {human_size(size)}, and nothing more can go; it should have {human_size(most)}"
            )
        )
