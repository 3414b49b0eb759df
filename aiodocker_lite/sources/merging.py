"""The same image wanted twice is one image, with both who want it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from aiodocker_lite.digest import Digest
from aiodocker_lite.platforms import Platform
from aiodocker_lite.reference import Reference
from aiodocker_lite.wanted import Wanted


def merged(wanted: Iterable[Wanted]) -> list[Wanted]:
    """Each reference once for each platform it is wanted for, in the order in which they came first."""
    found: dict[tuple[Reference, Platform | None, Digest | None], tuple[Wanted, dict[str, None]]] = {}
    for one in wanted:
        # A tag beside a digest changes nothing of what is brought.
        _, sources = found.setdefault((one.reference.as_kept, one.platform, one.pin), (one, {}))
        sources.update(dict.fromkeys(one.sources))
    return [replace(first, sources=tuple(sources)) for first, sources in found.values()]
