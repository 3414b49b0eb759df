"""Which directories become a root file system, and what is made for that beforehand.

The overlay itself is mounted by the container's first process, for an unprivileged mount is only
possible inside its user namespace.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from aiodocker_lite import subids
from aiodocker_lite.errors import DiskFull, StoreUnwritable
from aiodocker_lite.snapshot.node import DIRECTORY, attributes_of, describe, is_opaque, opened


@dataclass(frozen=True, slots=True)
class RootfsPlan:
    """One root file system: an overlay that is still to be mounted, or a tree as it lies there."""

    root: Path
    """Where the container's `/` is: the mount point of the overlay, or the tree itself."""
    lowers: tuple[Path, ...]
    """The directories of the layers, lowest first."""
    upper: Path | None = None
    """What the container writes, and None for a plain tree."""
    work: Path | None = None
    """A directory that overlayfs needs beside `upper`."""
    model: Path | None = None
    """The directory that `/` is like; None for the uppermost of `lowers`."""
    userxattr: bool = False
    """The overlay's marks are user.* attributes, for whoever cannot have trusted.* ones."""


def plan_rootfs(
    layers: Sequence[Path],
    container: Path,
    *,
    overlay: bool,
    model: Path | None = None,
    userxattr: bool = False,
) -> RootfsPlan:
    """Plan the root file system of a container in its own directory, from its layers, lowest first.

    Its `/` is like the directory `model`, else like that of the uppermost layer.

    Makes empty directories and nothing else: a plan without overlay needs `flatten` before it is
    used. Raises DiskFull, StoreUnwritable.
    """
    root = container / "rootfs"
    with store_errors(container):
        lowers = _not_hidden(layers)
        if not overlay or not lowers:
            return RootfsPlan(root, lowers, model=model)
        upper, work = container / "upper", container / "work"
        root.mkdir(mode=0o700, exist_ok=True)
        work.mkdir(mode=0o700, exist_ok=True)
        if not upper.exists():
            _make_like(upper, model or lowers[-1])
    return RootfsPlan(root, lowers, upper, work, model, userxattr)


def _not_hidden(layers: Sequence[Path]) -> tuple[Path, ...]:
    """Without what lies below an opaque `/`, for overlayfs does not heed that mark on a layer's root."""
    opaque = (number for number in range(len(layers) - 1, 0, -1) if _is_opaque(layers[number]))
    return tuple(layers[next(opaque, 0) :])


def _is_opaque(layer: Path) -> bool:
    try:
        return is_opaque(layer)
    except PermissionError:
        maps = subids.granted()
        if maps is None:
            raise
        return bool(subids.call(maps, is_opaque, layer))


def _make_like(directory: Path, model: Path) -> None:
    """The merged `/` is described by the uppermost directory, which is this new one."""
    temporary = directory.with_name(f"{directory.name}.new")
    temporary.mkdir(mode=0o700, exist_ok=True)
    with opened(temporary, DIRECTORY) as target:
        describe(target, model.stat(), attributes_of(str(model)))
    temporary.rename(directory)


@contextmanager
def store_errors(path: Path) -> Iterator[None]:
    """Turn an OSError into DiskFull or StoreUnwritable."""
    try:
        yield
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskFull(str(path), reason) from error
        raise StoreUnwritable(str(path), reason) from error
