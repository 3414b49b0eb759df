"""Whose the files of images are for this user, and layers that were unpacked when that was different."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, NoReturn

from anyio import to_thread

from aiodocker_lite import subids
from aiodocker_lite.errors import NoSuchImage
from aiodocker_lite.events import Progress
from aiodocker_lite.image import Image
from aiodocker_lite.layer.privileges import Owners, may_apply_everything
from aiodocker_lite.runtime.ladder import probe
from aiodocker_lite.store import Store
from aiodocker_lite.store.durable import store_errors

if TYPE_CHECKING:
    from aiodocker_lite.bring import Tools


async def find_owners(store: Store) -> Owners:
    """Those that the image says, as far as this user may do that: found out by trying.

    Raises StoreUnwritable.
    """
    ingests = store.paths.ingests
    with store_errors(ingests):
        privileged = may_apply_everything(ingests)
    if privileged or subids.granted() is None:
        return Owners(privileged)
    return Owners(privileged, (await to_thread.run_sync(probe, ingests)).subordinate)


async def unpack_again(image: Image, open_tools: Callable[[], Awaitable[Tools]], progress: Progress) -> None:
    """Unpack the layers of an image that are here for other owners, or not at all, from their blobs.

    Raises LayerInUse, ContentError, StoreError.
    """
    from aiodocker_lite.gather import Order, bring_layers  # slow to import, and seldom needed

    def nowhere(offset: int, end: int) -> NoReturn:
        raise NoSuchImage(image.name)  # it was removed since it was found

    tools = await open_tools()
    async with tools.store.counting_on_content():
        await bring_layers([Order(image.manifest, image.config, lambda _: nowhere)], tools, progress)
