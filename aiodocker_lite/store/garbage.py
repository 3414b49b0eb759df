"""Removing what nothing leads to any more: blobs and layers of images that are gone."""

from __future__ import annotations

from pathlib import Path

from aiodocker_lite.digest import Digest
from aiodocker_lite.store.containers import Containers
from aiodocker_lite.store.durable import remove_tree, store_errors
from aiodocker_lite.store.images import Images
from aiodocker_lite.store.locks import hold_now
from aiodocker_lite.store.paths import Paths


def collect(paths: Paths, images: Images, containers: Containers) -> tuple[Digest, ...]:
    """Remove blobs and layers that no image and no container needs; returns their digests.

    While a pull or a load is under way nothing is removed, for it may count on what is here;
    the next collection finds it. Raises StoreUnwritable, StoreCorrupt.
    """
    with hold_now(paths.lock("content")) as alone:
        if not alone:
            return ()
        blobs: set[Digest] = set()
        layers: set[Digest] = {diff_id for container in containers.all() for diff_id in container.layers}
        for image in images.all():
            layers.update(image.config.diff_ids)
            blobs.update((image.manifest.digest, image.config.digest))
            blobs.update(layer.digest for layer in image.manifest.layers)
        return (*_remove_others(paths.layers, layers), *_remove_others(paths.blobs, blobs))


def _remove_others(directory: Path, needed: set[Digest]) -> list[Digest]:
    removed = []
    for algorithm in directory.iterdir():
        for path in sorted(algorithm.iterdir()):
            digest = Digest(algorithm.name, path.name)
            if digest in needed:
                continue
            if path.is_dir():
                remove_tree(path)
            else:
                with store_errors(path):
                    path.unlink()
            removed.append(digest)
    return removed
