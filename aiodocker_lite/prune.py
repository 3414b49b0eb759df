"""Room: what takes it, and what can go because nobody uses it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

from anyio import to_thread

from aiodocker_lite.connect import sweep_networks
from aiodocker_lite.digest import Digest
from aiodocker_lite.errors import ContainerRunning, NetworkFailed, NoSuchContainer
from aiodocker_lite.reference import Reference
from aiodocker_lite.store import Store
from aiodocker_lite.store.trees import remove_tree
from aiodocker_lite.store.usage import content_sizes, parts, paths_of, tree_size

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Pruned:
    """What `prune` has removed, and how many bytes that were."""

    containers: tuple[str, ...]
    """The IDs of containers that had ended."""
    untagged: tuple[Reference, ...]
    deleted: tuple[Digest, ...]
    """Manifests, configurations, blobs and layers."""
    partial: tuple[Digest, ...]
    """Blobs of which a part had come."""
    reclaimed: int
    unreadable: tuple[str, ...]
    """Damaged images of which nobody knows what they need: while there are any, no image is deleted."""
    network_error: str = ""
    """Why what killed containers have left of their networks stays, if it does."""


@dataclass(frozen=True, slots=True)
class Room:
    """What things of one kind take: how many there are and are used, bytes, and how many could go."""

    kind: str
    total: int
    active: int
    size: int
    reclaimable: int


async def prune(
    store: Store,
    *,
    all_images: bool,
    partial_older_than: float,
    partial_max: int | None,
    only: Literal["containers", "images"] | None = None,
) -> Pruned:
    """Remove containers that have ended, images that no container uses, and partial downloads.

    Of images those without a name, or all; of downloads those that nobody has continued for so
    many seconds, and of the others the oldest where they are more than so many bytes. Whole layers of
    pulls that did not end go after the same time, and with all images at once. What
    somebody uses, or is bringing, stays. With `only` it is these. Raises StoreError.
    """
    store.create()
    containers: tuple[str, ...] = ()
    freed, network_error = 0, ""
    if only != "images":
        containers, freed = await to_thread.run_sync(_prune_containers, store)
        try:
            await sweep_networks(store)
        except NetworkFailed as error:
            network_error = str(error)
    if only == "containers":
        return Pruned(containers, (), (), (), freed, (), network_error)
    for path in await store.containers.leftovers():
        freed += await to_thread.run_sync(_remove, path)
    sizes = await to_thread.run_sync(content_sizes, store.paths, store.layers)
    untagged: list[Reference] = []
    used = {container.manifest for container in store.containers.all()}
    for image in await to_thread.run_sync(store.images.all):
        if image.manifest.digest not in used and (all_images or not image.names):
            await store.images.untag(image.manifest.digest, image.names)
            untagged += image.names
    deleted = await to_thread.run_sync(store.collect, 0 if all_images else partial_older_than)
    freed += sum(size for path, size in sizes.items() if not path.exists())
    partial: tuple[Digest, ...] = ()
    more = 0
    if only != "images":
        partial, more = await to_thread.run_sync(_prune_parts, store, partial_older_than, partial_max)
    unreadable = tuple(image.name for image in store.images.all() if not image.config.raw)
    return Pruned(
        containers,
        tuple(untagged),
        tuple(dict.fromkeys(deleted)),
        partial,
        freed + more,
        unreadable,
        network_error,
    )


def _prune_containers(store: Store) -> tuple[tuple[str, ...], int]:
    removed, freed = [], 0
    for container in store.containers.all():
        if container.running:
            continue
        size = tree_size(container.path)
        try:
            store.containers.remove(container)
        except (ContainerRunning, NoSuchContainer):
            continue  # somebody else was faster
        removed.append(container.id)
        freed += size
    return tuple(removed), freed


def _remove(path: Path) -> int:
    size = tree_size(path)
    remove_tree(path)
    return size


def _prune_parts(store: Store, older_than: float, most: int | None) -> tuple[tuple[Digest, ...], int]:
    removed, freed = [], 0
    now = time.time()
    found = parts(store.paths)
    left = sum(part.size for part in found)
    for part in found:
        is_old = max(0, now - part.changed) >= older_than  # a clock may have been wrong
        if (is_old or (most is not None and left > most)) and store.drop_part(part.digest):
            removed.append(part.digest)
            freed += part.size
            left -= part.size
    return tuple(removed), freed


def usage(store: Store) -> list[Room]:
    """What images, containers and partial downloads take. Raises StoreError."""
    containers, images = store.containers.all(), store.images.all()
    running = [container for container in containers if container.running]
    sizes = {container.id: tree_size(container.path) for container in containers}
    used = {container.manifest for container in containers}
    in_use = [image for image in images if image.manifest.digest in used]
    content = content_sizes(store.paths, store.layers)
    kept = {path for image in in_use for path in paths_of(image, store.paths)}
    kept |= {store.paths.layer(diff_id) for container in containers for diff_id in container.layers}
    downloads = parts(store.paths)
    return [
        Room("Images", len(images), len(in_use), *_sums(content, lambda path: path not in kept)),
        Room(
            "Containers",
            len(containers),
            len(running),
            *_sums(sizes, lambda key: key not in {container.id for container in running}),
        ),
        Room(
            "Partial downloads",
            len(downloads),
            sum(part.active for part in downloads),
            *_sums({part: part.size for part in downloads}, lambda part: not part.active),
        ),
    ]


def _sums(sizes: Mapping[T, int], can_go: Callable[[T], bool]) -> tuple[int, int]:
    """All of it, and what of it can go."""
    return sum(sizes.values()), sum(size for each, size in sizes.items() if can_go(each))
