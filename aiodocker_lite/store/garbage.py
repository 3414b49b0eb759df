"""Removing what nothing leads to any more: blobs and layers of images that are gone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from aiodocker_lite.digest import Digest, chain_ids
from aiodocker_lite.store.containers import Containers
from aiodocker_lite.store.durable import store_errors
from aiodocker_lite.store.images import Images
from aiodocker_lite.store.joints import Joints
from aiodocker_lite.store.layers import Layers
from aiodocker_lite.store.locks import hold_now
from aiodocker_lite.store.paths import Paths
from aiodocker_lite.store.trees import remove_if_permitted


def collect(
    paths: Paths, layers: Layers, joints: Joints, images: Images, containers: Containers
) -> tuple[Digest, ...]:
    """Remove blobs and layers that no image and no container needs; returns their digests.

    What killed processes were writing goes too; a partial blob stays, for a pull continues it.
    While a pull or a load is under way nothing is removed, for it may count on what is here;
    the next collection finds it. Raises StoreUnwritable, StoreCorrupt.
    """
    with hold_now(paths.lock("content")) as alone:
        if not alone:
            return ()
        with hold_now(paths.lock("index")) as nobody_writes:
            if nobody_writes:
                _remove_leftovers(paths)
        blobs = {entry.listed.digest for entry in images.entries()} | images.needed_by_others()
        stacks = [container.layers for container in containers.all()]
        for image in images.all():
            stacks.append(image.config.diff_ids)
            blobs.update((image.manifest.digest, image.config.digest))
            blobs.update(layer.digest for layer in image.manifest.layers)
        _remove_others(paths.joints, {chain for stack in stacks for chain in chain_ids(stack)}, joints.remove)
        return (
            *_remove_others(paths.layers, {diff_id for stack in stacks for diff_id in stack}, layers.remove),
            *_remove_others(paths.blobs, blobs, lambda digest: paths.blob(digest).unlink()),
        )


def _remove_leftovers(paths: Paths) -> None:
    with store_errors(paths.ingests):
        for path in paths.ingests.glob("*.layer"):
            remove_if_permitted(path)  # or else it is tried again
        for path in paths.ingests.glob("*.tmp"):
            path.unlink(missing_ok=True)


def _remove_others(directory: Path, needed: set[Digest], remove: Callable[[Digest], None]) -> list[Digest]:
    removed = []
    with store_errors(directory):
        found = [Digest(path.parent.name, path.name) for path in sorted(directory.glob("*/*"))]
        for digest in found:
            if digest not in needed:
                remove(digest)
                removed.append(digest)
    return removed
