"""The moment in which verified bytes become visible: sync, rename, sync the names."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import anyio
from anyio import from_thread, to_thread

from aiodocker_lite.digest import Digest
from aiodocker_lite.spans import span
from aiodocker_lite.store.durable import store_errors, sync_directory, sync_filesystem
from aiodocker_lite.store.layers import LayerRecord, Layers
from aiodocker_lite.store.paths import Paths

_AHEAD = 0.5


@dataclass(slots=True, eq=False)
class _Finished:
    """What waits to be sealed, and what became of it."""

    blob: Digest | None
    layer: LayerRecord | None
    done: anyio.Event
    error: Exception | None = None


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
        Raises DiskFull, StoreUnwritable: for what could not be sealed, the others are.
        """
        mine = _Finished(blob, layer, anyio.Event())
        self._ready.append(mine)
        try:
            async with self._turn:
                if mine in self._ready:
                    batch, self._ready = self._ready, []
                    with anyio.CancelScope(shield=True):
                        await to_thread.run_sync(self._seal_all, batch)
        finally:
            if mine in self._ready:
                self._ready.remove(mine)
            else:
                # Whoever is cancelled throws his files away: not while they are being published.
                with anyio.CancelScope(shield=True):
                    await mine.done.wait()
        if mine.error is not None:
            raise mine.error

    async def sync_ahead(self) -> None:
        """Never return: sync now and then, so that the sync before a seal finds little left to write.

        Raises DiskFull, StoreUnwritable: an error of the disk is told once, and this may be the one to hear it.
        """
        while True:
            await anyio.sleep(_AHEAD)
            with store_errors(self._paths.root):
                await to_thread.run_sync(self._sync)

    def _seal_all(self, batch: list[_Finished]) -> None:
        try:
            for one in batch:
                with self._failing([one]):
                    if one.layer is not None:
                        self._layers.write_record(one.layer)
            with self._failing(batch):
                self._sync()
            with span("publish", layers=len(batch)):
                self._publish_all(batch)
        finally:
            from_thread.run_sync(_announce, batch)

    @contextmanager
    def _failing(self, batch: list[_Finished]) -> Iterator[None]:
        """What goes wrong is the error of these, and raised where they are waited for."""
        try:
            with store_errors(self._paths.root):
                yield
        except Exception as error:
            for one in batch:
                one.error = one.error or error

    def _sync(self) -> None:
        with span("sync"):
            sync_filesystem(self._paths.root)

    def _publish_all(self, batch: list[_Finished]) -> None:
        parents: dict[Path, list[_Finished]] = {}
        for one in batch:
            if one.error is None:
                with self._failing([one]):
                    for parent in self._publish(one):
                        parents.setdefault(parent, []).append(one)
        for parent, served in parents.items():
            with self._failing(served):
                sync_directory(parent)

    def _publish(self, one: _Finished) -> Iterator[Path]:
        if one.blob is not None:
            target = self._paths.blob(one.blob)
            self._paths.ingest(one.blob).rename(target)
            yield target.parent
        if one.layer is not None:
            target = self._paths.layer(one.layer.diff_id)
            if self._layers.find(one.layer.diff_id, one.layer.owners) is None:
                # Left by a removal that was killed, with a record that is damaged, or with other owners.
                self._layers.make_room(one.layer.diff_id)
                self._paths.staging(one.layer.diff_id).rename(target)
            yield target.parent


def _announce(batch: list[_Finished]) -> None:
    for one in batch:
        one.done.set()
