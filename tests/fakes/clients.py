"""What tests of our own client need besides the registry of `aiodocker_lite.testing`."""

from __future__ import annotations

from collections.abc import Callable

from aiodocker_lite.registry.auth import FindCredential
from aiodocker_lite.registry.client import HttpRegistry
from aiodocker_lite.registry.credentials import Credential

NewClient = Callable[..., HttpRegistry]
"""A credential or None, and settings by name, to a client that is closed with the test."""


def knowing(credential: Credential | None) -> FindCredential:
    """What has this credential for whatever registry."""

    async def find(name: str) -> Credential | None:
        return credential

    return find
