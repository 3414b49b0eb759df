"""What turned out to be damaged: out of the way, and still there as the sign that something is missing."""

from __future__ import annotations

from pathlib import Path

from aiodocker_lite.store.durable import store_errors, sync_directory
from aiodocker_lite.store.trees import remove_tree

DAMAGED = ".damaged"
"""What the name of a blob, a layer or a joint ends with that is not to be used."""


def is_aside(path: Path) -> bool:
    """What belongs to this path was set aside, and is not here anew."""
    return not path.exists() and _aside(path).exists()


def set_aside(path: Path) -> None:
    """Have nothing at this path; who runs on what was there can go on. Raises StoreUnwritable."""
    aside = _aside(path)
    with store_errors(path):
        if not path.exists():
            return
        if aside.is_dir():
            remove_tree(aside)
        path.rename(aside)
        sync_directory(path.parent)


def _aside(path: Path) -> Path:
    return path.with_name(f"{path.name}{DAMAGED}")
