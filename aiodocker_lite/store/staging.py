"""Directories that are filled out of sight and are in their place with a record, or not at all.

The record goes first: what a removal leaves that was killed counts for nothing.
"""

from __future__ import annotations

from pathlib import Path

from aiodocker_lite.store.durable import store_errors, sync_directory
from aiodocker_lite.store.locks import hold_directory
from aiodocker_lite.store.trees import put_away, remove_if_permitted, remove_tree

FILES = "fs"
"""What of such a directory overlayfs takes."""


def stage(staging: Path, ingests: Path) -> Path:
    """An empty directory to be filled, in one of this name; what killed processes had staged goes.

    Raises DiskFull, StoreUnwritable.
    """
    with store_errors(staging):
        if staging.exists():
            put_away(staging, ingests)
        for left in ingests.glob(f"{staging.name.partition('.')[0]}.*.layer"):
            remove_left(left)
        staging.mkdir(mode=0o700)
        files = staging / FILES
        files.mkdir()
        files.chmod(0o755)
    return files


def remove_left(path: Path) -> None:
    """Remove what was staged by a process that is dead, or try again another time. Raises StoreUnwritable.

    It stays where a worker has outlived its process and still writes there, or where it is of subordinate
    ids that this user has no longer.
    """
    with hold_directory(path / FILES) as is_idle:
        if is_idle:
            remove_if_permitted(path)


def unstage(staging: Path) -> None:
    """Throw away what was staged. Raises StoreUnwritable."""
    with store_errors(staging):
        if staging.exists():
            remove_tree(staging)


def make_room(path: Path, record: str, ingests: Path) -> None:
    """Remove what a killed removal left here, or was made for other owners. Raises StoreUnwritable."""
    with store_errors(path):
        if path.exists():
            _forget(path, record)
            put_away(path, ingests)


def remove(path: Path, record: str) -> None:
    """Remove a directory and its record. Raises StoreUnwritable."""
    _forget(path, record)
    remove_tree(path)


def _forget(path: Path, record: str) -> None:
    with store_errors(path):
        (path / record).unlink(missing_ok=True)
        sync_directory(path)
