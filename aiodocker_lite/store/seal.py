"""The moment in which verified bytes become visible: sync, rename, sync the names."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import anyio
from anyio import to_thread

from aiodocker_lite import syscalls
from aiodocker_lite.digest import Digest
from aiodocker_lite.store.durable import store_errors, sync_directory
from aiodocker_lite.store.layers import LayerRecord, Layers
from aiodocker_lite.store.paths import Paths


@dataclass(slots=True)
class _Finished:
    blob: Digest | None
    layer: LayerRecord | None
    sealed: bool = False


class Sealer:
    """Seals blobs and layers, all that are ready with one sync of the file system."""

    def __init__(self, paths: Paths, layers: Layers) -> None:
        self._paths = paths
        self._layers = layers
        self._turn = anyio.Lock()
        self._ready: list[_Finished] = []

    async def seal(self, blob: Digest | None, layer: LayerRecord | None) -> None:
        """Make a verified ingest and a verified staged layer durable and visible.

        Whoever comes while a sync is under way waits for the next one, which serves all who
        wait: an image of many layers costs a few syncs, most of them while others still unpack.
        Raises DiskFull, StoreUnwritable.
        """
        mine = _Finished(blob, layer)
        self._ready.append(mine)
        try:
            async with self._turn:
                if not mine.sealed:
                    batch, self._ready = self._ready, []
                    await to_thread.run_sync(self._seal_all, batch)
        finally:
            if mine in self._ready:
                self._ready.remove(mine)

    def _seal_all(self, batch: list[_Finished]) -> None:
        parents: set[Path] = set()
        with store_errors(self._paths.root):
            for one in batch:
                if one.layer is not None:
                    self._layers.write_record(one.layer)
            fd = os.open(self._paths.root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                syscalls.syncfs(fd)
            finally:
                os.close(fd)
            for one in batch:
                if one.blob is not None:
                    parents.add(_publish(self._paths.ingest(one.blob), self._paths.blob(one.blob)))
                if one.layer is not None:
                    diff_id = one.layer.diff_id
                    parents.add(_publish(self._paths.staging(diff_id), self._paths.layer(diff_id)))
            for parent in parents:
                sync_directory(parent)
        for one in batch:
            one.sealed = True


def _publish(source: Path, target: Path) -> Path:
    source.rename(target)
    return target.parent
