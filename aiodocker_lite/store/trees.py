"""Removing what the store has no use for any more."""

from __future__ import annotations

import time
from pathlib import Path

from aiodocker_lite import subids
from aiodocker_lite.errors import StoreUnwritable
from aiodocker_lite.removal import remove_path
from aiodocker_lite.store.durable import store_errors


def remove_tree(path: Path) -> None:
    """Remove a directory with all that is in it; that somebody else removes it too is no error.

    What belongs to this user's subordinate ids goes too. Raises StoreUnwritable.
    """
    with store_errors(path):
        try:
            remove_path(str(path))
        except PermissionError:
            maps = subids.granted()
            if maps is None:
                raise
            try:
                subids.call(maps, remove_path, str(path))
            except PermissionError as error:
                reason = "it has files of users that are not, or no longer, subordinate to this one"
                raise StoreUnwritable(str(path), reason) from error


def remove_if_permitted(path: Path) -> bool:
    """The same, but False where it is of subordinate ids that this user has no longer."""
    try:
        remove_tree(path)
    except StoreUnwritable as error:
        if not isinstance(error.__cause__, PermissionError):
            raise
        return False
    return True


def put_away(path: Path, ingests: Path) -> None:
    """Have no directory at this path; what cannot be removed is left among the ingests, to be collected.

    Raises StoreUnwritable.
    """
    if not remove_if_permitted(path):
        with store_errors(path):
            path.rename(ingests / f"{path.name.removesuffix('.layer')}-{time.monotonic_ns()}.layer")
