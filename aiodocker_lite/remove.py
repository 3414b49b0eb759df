"""A name, or an image, out of the store: which names go, and whether a container still needs it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from anyio import to_thread

from aiodocker_lite.digest import Digest
from aiodocker_lite.errors import ImageInUse, InvalidReference
from aiodocker_lite.reference import Reference
from aiodocker_lite.store import Store


@dataclass(frozen=True, slots=True)
class Removed:
    """What `remove` took away: names, and the digests of what nothing leads to any more."""

    untagged: tuple[Reference, ...]
    deleted: tuple[Digest, ...]


async def remove(name: str, store: Store, *, force: bool) -> Removed:
    """Take a name away, or with an ID all names; without names left, the image goes too.

    As in docker, `force` is for several names and for what ended containers use; an image that a
    running one uses only loses its name. Raises NoSuchImage, ImageInUse.
    """
    image = store.images.find(name)
    by_name = _is_spelled(name, image.names)
    names = image.names[:1] if by_name else image.names
    if len(names) > 1 and not force:
        raise ImageInUse(name, "(must be forced) - image is referenced in multiple repositories")
    in_use = False
    for container in store.containers.all() if len(names) == len(image.names) else ():
        if container.manifest == image.manifest.digest:
            state = "running" if container.running else "stopped"
            user = f"image is being used by {state} container {container.id[:12]} ({container.name})"
            in_use = in_use or container.running
            if not force:
                raise ImageInUse(name, f"(must be forced) - {user}")
            if container.running and not by_name:
                raise ImageInUse(name, f"(cannot be forced) - {user}")
    store.create()
    await store.images.untag(image.manifest.digest, names, keep=in_use)
    return Removed(names, await to_thread.run_sync(store.collect))


def _is_spelled(text: str, names: Sequence[Reference]) -> bool:
    """The text is a way to write the first of these names, and not an image ID."""
    try:
        return bool(names) and Reference.parse(text).name == names[0].name
    except InvalidReference:
        return False
