"""Joints by chain ID: the overlay directory above a layer that depends on the layers below it.

Most layers need none. Which ones were looked at, and found to need none, is kept as well.
"""

from __future__ import annotations

import json
from pathlib import Path

from aiodocker_lite.digest import Digest
from aiodocker_lite.errors import StoreCorrupt
from aiodocker_lite.store.aside import set_aside
from aiodocker_lite.store.durable import store_errors, sync_directory, sync_filesystem
from aiodocker_lite.store.paths import Paths
from aiodocker_lite.store.trees import put_away, remove_tree

_RECORD = "joint.json"
_FILES = "fs"


class Joints:
    """The joints of a store."""

    def __init__(self, paths: Paths) -> None:
        self._paths = paths

    def has(self, chain: Digest, owners: str) -> bool:
        """Whether it is known what the uppermost layer of this chain needs, unpacked with these owners."""
        path = self._paths.joint(chain) / _RECORD
        try:
            return bool(json.loads(path.read_bytes())["owners"] == owners)
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return False
        except OSError as error:
            raise StoreCorrupt(str(path), error.strerror or str(error)) from error

    def files(self, chain: Digest) -> Path | None:
        """The directory that overlayfs takes above the layer; None where it needs none."""
        found = self._paths.joint(chain) / _FILES
        return found if found.exists() else None

    def stage(self, chain: Digest) -> Path:
        """An empty directory to be filled; the caller holds the lock. Raises DiskFull, StoreUnwritable."""
        staging = self._paths.staging_joint(chain)
        with store_errors(staging):
            if staging.exists():
                put_away(staging, self._paths.ingests)
            staging.mkdir(mode=0o700)
            files = staging / _FILES
            files.mkdir()
            files.chmod(0o755)
        return files

    def seal(self, chain: Digest, owners: str, *, needed: bool) -> None:
        """Make what was staged durable and visible. Raises DiskFull, StoreUnwritable."""
        staging, target = self._paths.staging_joint(chain), self._paths.joint(chain)
        with store_errors(target):
            if not needed:
                (staging / _FILES).rmdir()
            (staging / _RECORD).write_text(json.dumps({"needed": needed, "owners": owners}))
            sync_filesystem(staging)
            if target.exists():  # left by a removal that was killed, or with other owners
                self._forget(target)
                put_away(target, self._paths.ingests)
            staging.rename(target)
            sync_directory(target.parent)

    def unstage(self, chain: Digest) -> None:
        """Throw away what was staged. Raises StoreUnwritable."""
        staging = self._paths.staging_joint(chain)
        if staging.exists():
            remove_tree(staging)

    def set_aside(self, chain: Digest) -> None:
        """Have a damaged joint be none any more. Raises StoreUnwritable."""
        set_aside(self._paths.joint(chain))

    def remove(self, chain: Digest) -> None:
        """Remove a joint; the record first, as of a layer. Raises StoreUnwritable."""
        path = self._paths.joint(chain)
        self._forget(path)
        remove_tree(path)

    def _forget(self, path: Path) -> None:
        with store_errors(path):
            (path / _RECORD).unlink(missing_ok=True)
            sync_directory(path)
