"""Layers that a registry may not distribute: fetched as a stranger, from where their manifest says.

OCI image specification, "Non-Distributable Layers". An address in a manifest is anybody's: nobody's
credentials go there, no challenge of it is answered, and it is not inside this network (CVE-2020-15157).
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from yarl import URL

from aiodocker_lite.errors import RegistryMisbehaved, RegistryUnreachable
from aiodocker_lite.manifest import Descriptor
from aiodocker_lite.registry.addresses import is_loopback
from aiodocker_lite.registry.answers import failure_of
from aiodocker_lite.registry.part import Part, extent_of, range_header
from aiodocker_lite.registry.wire import Wire


@asynccontextmanager
async def open_foreign(
    wire: Wire, blob: Descriptor, extent: tuple[int, int], *, from_here: bool
) -> AsyncIterator[Part]:
    """The bytes of a blob from the first of its addresses; `from_here` says that its registry is on this machine.

    Raises RegistryError, SizeMismatch.
    """
    url = _first_address(blob, from_here=from_here)
    offset, end = extent
    sender = f"{url.host} (where layer {blob.digest.short} is)"
    headers = range_header(offset, end, blob.size)
    async with wire.asking(
        "GET", url, registry=sender, headers=headers, authorize=_nobody, public_only=not from_here
    ) as answer:
        if answer.status in (401, 403, 404, 410):
            raise RegistryUnreachable(sender, f"it answered {answer.status}")
        if answer.status not in (200, 206):
            raise failure_of(sender, answer.status, answer.headers, await answer.message())
        start, end = extent_of(answer, blob, offset, end)
        yield Part(answer, skip=offset - start, start=offset, end=end)


def _first_address(blob: Descriptor, *, from_here: bool) -> URL:
    for text in blob.urls:
        try:
            url = URL(text).with_user(None)
        except ValueError:
            continue
        if url.host and (
            url.scheme == "https" or (from_here and is_loopback(url.host) and url.scheme == "http")
        ):
            return url
    raise RegistryMisbehaved(f"the manifest of layer {blob.digest.short}", "it names no https address of it")


async def _nobody(hop: URL, at_home: bool) -> None:
    return None
