"""The root file system of a container that is here: a plan of its layers, made into one tree where it has to be."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from anyio import to_thread

from aiodocker_lite import subids
from aiodocker_lite.errors import NoSuchImage
from aiodocker_lite.layer.privileges import Owners
from aiodocker_lite.runtime.ladder import Ladder
from aiodocker_lite.snapshot import RootfsPlan, flatten, plan_rootfs
from aiodocker_lite.store import Store
from aiodocker_lite.store.container import Container


async def prepare_root(
    container: Container, store: Store, ladder: Ladder, owners: Owners
) -> tuple[Sequence[Path], RootfsPlan]:
    """The directories of a container's layers, and the plan that is made of them. Raises NoSuchImage, StoreError."""
    layers = store.directories(container.layers, str(owners))
    if layers is None:
        raise NoSuchImage(container.image)
    plan = plan_rootfs(
        layers,
        container.path,
        overlay=ladder.overlay,
        userxattr=not owners.privileged,
        model=store.root_model(container.layers),
    )
    if plan.upper is None:
        how = partial(subids.call, owners.maps, flatten) if owners.maps else flatten
        await to_thread.run_sync(how, plan)
    return layers, plan
