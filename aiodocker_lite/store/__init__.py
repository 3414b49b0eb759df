"""Everything that owns bytes on disk: whole or absent.

    oci-layout  index.json  blobs/     a valid OCI image layout, at every instant
    layers/     unpacked layers by diff ID, each with layer.json, its record of what was verified
    joints/     what some layers need above them on the layers below them, by chain ID
    ingest/     what is on its way: partial blobs, layers being unpacked, temporary files
    containers/ what was run
    volumes/    what outlives containers, by name
    locks/      one file per digest; the kernel frees them when their process dies

What is visible was verified and is durable: it is written in `ingest/`, synced, renamed, and
the directory synced, in this order. Directories with files of images are closed to others (0700).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Self

from aiodocker_lite.digest import Digest, chain_ids
from aiodocker_lite.store import garbage
from aiodocker_lite.store.blobs import Blobs
from aiodocker_lite.store.containers import Containers
from aiodocker_lite.store.durable import store_errors
from aiodocker_lite.store.images import Images
from aiodocker_lite.store.joints import Joints
from aiodocker_lite.store.layers import Layers
from aiodocker_lite.store.locks import hold, hold_now
from aiodocker_lite.store.paths import Paths
from aiodocker_lite.store.seal import Sealer
from aiodocker_lite.store.unused import LET_GO
from aiodocker_lite.store.volumes import Volumes


class Store:
    """One store and its parts."""

    def __init__(self, root: Path) -> None:
        """Open the store at `root`, which is an empty one as long as nothing is there.

        Raises NotAStore, StoreUnreadable.
        """
        # The container's first process and the workers have other working directories.
        self.paths = Paths(root.absolute())
        self.paths.check()
        self.blobs = Blobs(self.paths)
        self.layers = Layers(self.paths)
        self.joints = Joints(self.paths)
        self.images = Images(self.paths, self.blobs, self.layers)
        self.containers = Containers(self.paths)
        self.volumes = Volumes(self.paths)
        self.sealer = Sealer(self.paths, self.layers)

    def create(self) -> Self:
        """Make what is missing of it, before anything is written. Raises DiskFull, StoreUnwritable."""
        self.paths.create()
        self.images.mend_index()
        return self

    @asynccontextmanager
    async def bringing(
        self, blob: Digest, diff_id: Digest, on_wait: Callable[[], None], size: int | None = None
    ) -> AsyncIterator[None]:
        """The right to bring this blob and this layer into the store: one holder over all processes.

        Whoever reads behind it (`behind.py`) learns its `size` from the lock. Always the blob first, then the layer, and nothing is waited for while both are held:
        so no two of them can wait for each other.
        """
        async with (
            hold(self.paths.lock(f"blob-{blob}"), on_wait=on_wait),
            hold(self.paths.lock(f"layer-{diff_id}"), on_wait=on_wait),
        ):
            if size is not None:
                with store_errors(self.paths.root):
                    self.paths.lock(f"blob-{blob}").write_text(str(size))
            yield

    def directories(self, diff_ids: Sequence[Digest], owners: str | None = None) -> list[Path] | None:
        """The overlay directories of an image, the lowest first; None where one is missing.

        Those that were made for other `owners` are missing too, if these are asked for.
        """
        found = []
        for diff_id, chain in zip(diff_ids, chain_ids(diff_ids), strict=True):
            record = self.layers.find(diff_id, owners)
            if record is None or (record.loose_ends and not self.joints.has(chain, record.owners)):
                return None
            found.append(self.layers.files(diff_id))
            joint = self.joints.files(chain) if record.loose_ends else None
            found.extend([joint] if joint else [])
        return found

    def has_unpacked(self, diff_ids: Sequence[Digest], owners: str) -> bool:
        """All directories of an image are here, with these owners."""
        return self.directories(diff_ids, owners) is not None

    def root_model(self, diff_ids: Sequence[Digest]) -> Path | None:
        """The directory whose attributes the root of an image has: of the last layer that describes it."""
        records = [record for record in map(self.layers.find, diff_ids) if record is not None]
        last = next((record for record in reversed(records) if record.describes_root), None)
        found = last or (records[0] if records else None)
        return self.layers.files(found.diff_id) if found else None

    def has_part(self, blob: Digest) -> bool:
        """Some of this blob has come, now or earlier. Raises StoreUnwritable."""
        path = self.paths.ingest(blob)
        with store_errors(path):
            return path.exists()

    def drop_part(self, blob: Digest) -> bool:
        """Remove what has come of a blob, unless somebody is bringing it; True if something was removed.

        Raises StoreUnwritable.
        """
        from aiodocker_lite.store.ingest import discard  # with aiofiles, which most commands do without

        path = self.paths.ingest(blob)
        if not self.has_part(blob):
            return False
        with hold_now(self.paths.lock(f"blob-{blob}")) as alone:
            if alone:
                discard(path)
            return alone

    def counting_on_content(self) -> AbstractAsyncContextManager[None]:
        """While the block runs, nothing that is in the store is collected."""
        return hold(self.paths.lock("content"), shared=True)

    def collect(self, unused_for: float = LET_GO) -> tuple[Digest, ...]:
        """Remove what nothing leads to any more, and was let go or not used for so many seconds; returns its digests."""
        return garbage.collect(self.paths, self.layers, self.joints, self.images, self.containers, unused_for)
