"""The volumes of a container: where each is, made where it is missing, with what the image has at its place."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from anyio import to_thread

from aiodocker_lite import subids
from aiodocker_lite.errors import SetupFailed
from aiodocker_lite.layer.privileges import Owners
from aiodocker_lite.mount import Mount
from aiodocker_lite.snapshot import fill
from aiodocker_lite.store import Store
from aiodocker_lite.store.container import Container
from aiodocker_lite.store.durable import store_errors
from aiodocker_lite.store.locks import hold


async def provide_volumes(
    container: Container,
    layers: Sequence[Path],
    store: Store,
    owners: Owners,
) -> dict[str, Path]:
    """Where each volume of a container is, by its target: those of the options, and those of the image.

    One without a name is the container's own, and goes with it. Missing sources of docker's `-v` are made, too.
    Raises SetupFailed, StoreUnwritable.
    """
    found: dict[str, Path] = {}
    options = container.options
    _make_sources(options.mounts)
    for each in container.mounted:
        target, mount = each.target, each.mount
        if mount.kind != "volume" or each.source is None:
            continue
        if mount.source:
            async with hold(store.paths.lock(f"volume-{mount.source}")):
                found[target] = store.volumes.give(mount.source, container.id).path
                await _fill(layers, target, mount, found[target], owners)
        else:
            found[target] = each.source
            with store_errors(found[target]):
                found[target].mkdir(parents=True, exist_ok=True)
            await _fill(layers, target, mount, found[target], owners)
    return found


async def _fill(layers: Sequence[Path], target: str, mount: Mount, path: Path, owners: Owners) -> None:
    if "nocopy" in mount.options:
        return
    how = partial(subids.call, owners.maps, fill) if owners.maps else fill
    await to_thread.run_sync(how, layers, target, path)


def _make_sources(mounts: Sequence[Mount]) -> None:
    for mount in mounts:
        if mount.create and mount.source and not Path(mount.source).exists():
            try:
                Path(mount.source).mkdir(parents=True)
            except OSError as error:
                what = f"making the directory {mount.source}, which is to be mounted at {mount.target}"
                raise SetupFailed(what, error.strerror or str(error)) from error
