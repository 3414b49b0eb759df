"""Events of pulls that never were."""

from __future__ import annotations

from aiodocker_lite.digest import Digest
from aiodocker_lite.events import Resolved
from aiodocker_lite.manifest import Descriptor
from aiodocker_lite.platforms import Platform


def layer(number: int, size: int = 1_000_000) -> Descriptor:
    """A layer whose short name is its number."""
    return Descriptor("", Digest("sha256", f"{number:012}".ljust(64, "0")), size)


def resolved(name: str, *layers: Descriptor) -> Resolved:
    """An image of these layers; its digest comes from its name."""
    return Resolved(name, Digest.of(name.encode()), Platform("linux", "amd64"), layers)
