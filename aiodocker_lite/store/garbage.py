"""Removing what nothing leads to any more: blobs and layers of images that are gone."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from aiodocker_lite.digest import Digest, chain_ids
from aiodocker_lite.errors import StoreCorrupt
from aiodocker_lite.store.aside import DAMAGED, is_aside
from aiodocker_lite.store.containers import Containers
from aiodocker_lite.store.durable import store_errors
from aiodocker_lite.store.images import Images
from aiodocker_lite.store.joints import Joints
from aiodocker_lite.store.layers import Layers
from aiodocker_lite.store.locks import hold_now
from aiodocker_lite.store.paths import Paths
from aiodocker_lite.store.staging import remove_left
from aiodocker_lite.store.trees import remove_if_permitted
from aiodocker_lite.store.unused import is_unused


def collect(
    paths: Paths,
    layers: Layers,
    joints: Joints,
    images: Images,
    containers: Containers,
    unused_for: float,
) -> tuple[Digest, ...]:
    """Remove blobs and layers that no image and no container needs; returns their digests.

    What was not let go is removed after so many seconds: a pull that was interrupted continues there.
    What killed processes were writing goes too; a partial blob stays, for a pull continues it.
    While a pull or a load is under way nothing is removed, for it may count on what is here, nor
    while an image or a container is damaged of which it is not known what it needs; a later
    collection finds it. Raises StoreUnwritable, StoreUnreadable.
    """
    with hold_now(paths.lock("content")) as alone:
        if not alone:
            return ()
        with hold_now(paths.lock("index")) as nobody_writes:
            if nobody_writes:
                _remove_leftovers(paths)
        needed = _needed(images, containers)
        if needed is None:
            return ()
        blobs, stacks = needed
        chains = {chain for stack in stacks for chain in chain_ids(stack)}
        diff_ids = {diff_id for stack in stacks for diff_id in stack}

        old = partial(_unneeded, unused_for=unused_for)
        for chain in old(paths.joints, chains, paths.joint_record):
            joints.remove(chain)
        gone_layers = old(paths.layers, diff_ids, paths.layer_record)
        for diff_id in gone_layers:
            layers.remove(diff_id)
        gone_blobs = old(paths.blobs, blobs, paths.blob)
        with store_errors(paths.blobs):
            for digest in gone_blobs:
                paths.blob(digest).unlink()
        running = [container.layers for container in containers.all() if container.running]
        _remove_damaged(paths.blobs, blobs, set())
        _remove_damaged(paths.layers, diff_ids, {diff_id for stack in running for diff_id in stack})
        _remove_damaged(paths.joints, chains, {chain for stack in running for chain in chain_ids(stack)})
        return (*gone_layers, *gone_blobs)


def _needed(images: Images, containers: Containers) -> tuple[set[Digest], list[tuple[Digest, ...]]] | None:
    """The blobs and the stacks of layers that something needs; None if that cannot be known."""
    entries, stacks = images.entries(), []
    blobs = {entry.listed.digest for entry in entries} | images.needed_by_others()
    for container in containers.all():
        if container.is_damaged:
            return None
        stacks.append(container.layers)
    for promised in {entry.manifest for entry in entries}:
        try:
            manifest, config = images.documents(promised)
        except StoreCorrupt:
            return None  # a pull brings the documents, and what they list shall still be here
        stacks.append(config.diff_ids)
        blobs.update((manifest.digest, config.digest))
        blobs.update(layer.digest for layer in manifest.layers)
    return blobs, stacks


def _remove_leftovers(paths: Paths) -> None:
    with store_errors(paths.ingests):
        for path in paths.ingests.glob("*.layer"):
            remove_left(path)
        for path in paths.ingests.glob("*.tmp"):
            path.unlink(missing_ok=True)


def _unneeded(
    directory: Path, needed: set[Digest], stamp: Callable[[Digest], Path], *, unused_for: float
) -> list[Digest]:
    """What is here without being needed, and has been for so many seconds."""
    with store_errors(directory):
        here = [
            Digest(path.parent.name, path.name)
            for path in sorted(directory.glob("*/*"))
            if path.suffix != DAMAGED
        ]
    return [digest for digest in here if digest not in needed and is_unused(stamp(digest), unused_for)]


def _remove_damaged(directory: Path, needed: set[Digest], used: set[Digest]) -> None:
    """Remove what was set aside, but where it is all that says that something is missing, or is in use."""
    with store_errors(directory):
        for path in directory.glob(f"*/*{DAMAGED}"):
            digest = Digest(path.parent.name, path.stem)
            if digest in used or (digest in needed and is_aside(path.with_suffix(""))):
                continue
            if path.is_dir():
                remove_if_permitted(path)
            else:
                path.unlink(missing_ok=True)
