"""Removing what the store has no use for any more."""

from __future__ import annotations

import os
from pathlib import Path

from aiodocker_lite.removal import remove_directory
from aiodocker_lite.store.durable import store_errors


def remove_tree(path: Path) -> None:
    """Remove a directory with all that is in it; that somebody else removes it too is no error.

    Raises StoreUnwritable.
    """
    with store_errors(path):
        parent = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            remove_directory(path.name, parent)
        finally:
            os.close(parent)
