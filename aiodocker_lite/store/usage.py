"""How much room things take, and what of it nobody uses."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from aiodocker_lite.digest import Digest
from aiodocker_lite.image import Image
from aiodocker_lite.store.aside import DAMAGED
from aiodocker_lite.store.durable import reading_errors, store_errors
from aiodocker_lite.store.layers import Layers
from aiodocker_lite.store.locks import is_held
from aiodocker_lite.store.paths import Paths

_PART = re.compile(r"(sha256|sha512)-([0-9a-f]+)")


@dataclass(frozen=True, slots=True)
class Part:
    """What has come of a blob."""

    digest: Digest
    size: int
    changed: float
    """When the last of it came, in seconds since 1970."""
    active: bool
    """Somebody is bringing it."""


def parts(paths: Paths) -> list[Part]:
    """All partial downloads, the oldest first. Raises StoreUnreadable."""
    found = []
    with reading_errors(paths.ingests):
        for path in _entries(paths.ingests):
            if (match := _PART.fullmatch(path.name)) is None:
                continue
            digest = Digest(match[1], match[2])
            try:
                how = path.stat()
            except FileNotFoundError:
                continue
            found.append(Part(digest, _taken(how), how.st_mtime, is_held(paths.lock(f"blob-{digest}"))))
    return sorted(found, key=lambda part: part.changed)


def part_size(paths: Paths, blob: Digest) -> int:
    """Bytes that have come of a blob, for whoever is about to bring the rest. Raises StoreUnwritable."""
    path = paths.ingest(blob)
    with store_errors(path):
        return _taken(path.stat()) if path.exists() else 0


def content_sizes(paths: Paths, layers: Layers) -> dict[Path, int]:
    """Bytes of every blob and unpacked layer, by its path. Raises StoreUnreadable."""
    sizes = {}
    with reading_errors(paths.root):
        for path in paths.blobs.glob("*/*"):
            try:
                sizes[path] = path.stat().st_size
            except FileNotFoundError:
                continue
        for path in paths.layers.glob("*/*"):
            is_damaged = path.suffix == DAMAGED
            record = None if is_damaged else layers.find(Digest(path.parent.name, path.name))
            sizes[path] = tree_size(path) if record is None else record.size
    return sizes


def paths_of(image: Image, paths: Paths) -> list[Path]:
    """The blobs and unpacked layers of an image."""
    manifest, config = image.manifest, image.config
    blobs = (manifest.digest, config.digest, *(layer.digest for layer in manifest.layers))
    return [*map(paths.blob, blobs), *map(paths.layer, config.diff_ids)]


def tree_size(path: Path, *, apparent: bool = False) -> int:
    """Bytes that a directory takes on the disk, as far as this user may look into it.

    `apparent` ones are those of its files' contents. Raises StoreUnreadable.
    """
    total = 0
    seen: set[int] = set()
    pending = [str(path)]
    with reading_errors(path):
        while pending:
            try:
                with os.scandir(pending.pop()) as entries:
                    for entry in entries:
                        how = entry.stat(follow_symlinks=False)
                        if how.st_nlink == 1 or entry.inode() not in seen:
                            total += how.st_blocks * 512 if not apparent else _content(how)
                        seen.add(entry.inode())
                        if entry.is_dir(follow_symlinks=False):
                            pending.append(entry.path)
            except (FileNotFoundError, PermissionError):
                continue
    return total


def _content(how: os.stat_result) -> int:
    return 0 if stat.S_ISDIR(how.st_mode) else how.st_size


def _taken(how: os.stat_result) -> int:
    """What a file takes that may have gaps."""
    return min(how.st_size, how.st_blocks * 512)


def _entries(directory: Path) -> Iterator[Path]:
    try:
        yield from directory.iterdir()
    except FileNotFoundError:
        return
