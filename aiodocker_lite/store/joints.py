"""Joints by chain ID: the overlay directory above a layer that depends on the layers below it.

Most layers need none. Which ones were looked at, and found to need none, is kept as well.
"""

from __future__ import annotations

import json
from pathlib import Path

from aiodocker_lite.digest import Digest
from aiodocker_lite.store import staging
from aiodocker_lite.store.aside import set_aside
from aiodocker_lite.store.durable import cannot_read, store_errors, sync_directory, sync_filesystem
from aiodocker_lite.store.paths import JOINT_RECORD, Paths
from aiodocker_lite.store.staging import FILES


class Joints:
    """The joints of a store."""

    def __init__(self, paths: Paths) -> None:
        self._paths = paths

    def has(self, chain: Digest, owners: str) -> bool:
        """Whether it is known what the uppermost layer of this chain needs, unpacked with these owners.

        Raises StoreUnreadable, StoreCorrupt.
        """
        path = self._paths.joint_record(chain)
        try:
            return bool(json.loads(path.read_bytes())["owners"] == owners)
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return False
        except OSError as error:
            raise cannot_read(path, error) from error

    def files(self, chain: Digest) -> Path | None:
        """The directory that overlayfs takes above the layer; None where it needs none."""
        found = self._paths.joint(chain) / FILES
        return found if found.exists() else None

    def stage(self, chain: Digest) -> Path:
        """An empty directory to be filled; the caller holds the lock. Raises DiskFull, StoreUnwritable."""
        return staging.stage(self._paths.staging_joint(chain), self._paths.ingests)

    def seal(self, chain: Digest, owners: str, *, needed: bool) -> None:
        """Make what was staged durable and visible. Raises DiskFull, StoreUnwritable."""
        staged, target = self._paths.staging_joint(chain), self._paths.joint(chain)
        with store_errors(target):
            if not needed:
                (staged / FILES).rmdir()
            (staged / JOINT_RECORD).write_text(json.dumps({"needed": needed, "owners": owners}))
            sync_filesystem(staged)
            staging.make_room(target, JOINT_RECORD, self._paths.ingests)
            staged.rename(target)
            sync_directory(target.parent)

    def unstage(self, chain: Digest) -> None:
        """Throw away what was staged. Raises StoreUnwritable."""
        staging.unstage(self._paths.staging_joint(chain))

    def set_aside(self, chain: Digest) -> None:
        """Have a damaged joint be none any more. Raises StoreUnwritable."""
        set_aside(self._paths.joint(chain))

    def remove(self, chain: Digest) -> None:
        """Remove a joint. Raises StoreUnwritable."""
        staging.remove(self._paths.joint(chain), JOINT_RECORD)
