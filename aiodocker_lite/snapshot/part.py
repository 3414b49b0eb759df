"""One directory of an image, as a container would see it, copied to where a volume is."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from aiodocker_lite.snapshot.merge import merge
from aiodocker_lite.snapshot.node import (
    is_opaque,
    is_whiteout,
)
from aiodocker_lite.snapshot.plan import store_errors

_LINKS_MAX = 40


def fill(layers: Sequence[Path], target: str, directory: Path) -> None:
    """Have an empty directory begin with what the layers, lowest first, have at a path; with its mode and owner too.

    What is not empty, and what the layers have no directory for, is left alone. Links are followed
    inside of the layers. Raises DiskFull, StoreUnwritable.
    """
    with store_errors(directory):
        if any(directory.iterdir()):
            return
        parts = _find(layers, target)
        if not parts:
            return
        links = directory.with_name(f"{directory.name}.links")
        links.mkdir(mode=0o700, exist_ok=True)
        try:
            merge(parts, directory, links, parts[-1])
        finally:
            shutil.rmtree(links, ignore_errors=True)


def _find(layers: Sequence[Path], target: str) -> list[Path]:
    """The directories of which the one at this path is made, lowest first; empty if it is none."""
    todo = [name for name in target.split("/") if name not in ("", ".")][::-1]
    above: list[list[Path]] = []
    here = list(reversed(layers))
    links = 0
    while todo:
        name = todo.pop()
        if name in ("", "."):
            continue
        if name == "..":
            here = above.pop() if above else here
            continue
        found, text = _step(here, name)
        if text is not None:
            links += 1
            if links > _LINKS_MAX:
                return []
            if text.startswith("/"):
                here, above = (above[0] if above else here), []
            todo.extend(reversed(text.split("/")))
        elif found:
            above.append(here)
            here = found
        else:
            return []
    return here[::-1]


def _step(here: list[Path], name: str) -> tuple[list[Path], str | None]:
    """The directories of this name, uppermost first, or the text of the link that hides them."""
    found: list[Path] = []
    for directory in here:
        path = directory / name
        try:
            status = path.lstat()
        except (FileNotFoundError, NotADirectoryError):
            status = None
        if status is not None:
            if path.is_symlink():
                return found, None if found else str(path.readlink())
            if is_whiteout(status) or not path.is_dir():
                break
            found.append(path)
            if is_opaque(path):
                break
        if is_opaque(directory):
            break
    return found, None
