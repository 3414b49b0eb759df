"""An image that somebody wants to have, and where that is written."""

from __future__ import annotations

from dataclasses import dataclass

from aiodocker_lite.digest import Digest
from aiodocker_lite.platforms import Platform
from aiodocker_lite.reference import Reference


@dataclass(frozen=True, slots=True)
class Wanted:
    """One image to be brought: for the platform it is asked for, else for the default one."""

    reference: Reference
    platform: Platform | None = None
    sources: tuple[str, ...] = ()
    """Who asks for it, for people: ``compose.yaml: services.db.image``."""
    pin: Digest | None = None
    """What the name has to lead to, whatever it leads to now."""
