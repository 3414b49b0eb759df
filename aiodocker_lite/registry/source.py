"""What a conductor needs of a source of images; `client` is one, and a test or a user may bring another."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import Protocol

from aiodocker_lite.events import Quota
from aiodocker_lite.manifest import Descriptor
from aiodocker_lite.reference import Reference
from aiodocker_lite.registry.failover import Tell
from aiodocker_lite.registry.part import Part


class Registry(Protocol):
    """What a conductor needs of a source of images."""

    async def resolve(self, reference: Reference, tell: Tell = ...) -> Descriptor:
        """What a name stands for now: media type, digest and size of its manifest or index."""

    async def manifest(self, reference: Reference, promised: Descriptor, tell: Tell = ...) -> bytes:
        """The bytes of a manifest or index, unchecked, not many more than DOCUMENT_MAX."""

    async def blob(self, reference: Reference, blob: Descriptor, tell: Tell = ...) -> bytes:
        """The bytes of a small blob, unchecked, such as a configuration."""

    def open_blob(
        self,
        reference: Reference,
        blob: Descriptor,
        offset: int = 0,
        end: int | None = None,
        *,
        tell: Tell = ...,
    ) -> AbstractAsyncContextManager[Part]:
        """The bytes of a blob from an offset on, unchecked, as they arrive.

        Whoever knows no ranges sends more than was asked for: up to the part's `end`.
        """

    def open_foreign(
        self, reference: Reference, blob: Descriptor, offset: int = 0, end: int | None = None
    ) -> AbstractAsyncContextManager[Part]:
        """The same from an address that the manifest names; who is asked is not the registry."""

    def quota(self, registry: str) -> Quota | None:
        """How many pulls are left, if the registry has said so when a name was resolved."""

    def blame(self, blob: Descriptor) -> bool:
        """The bytes of a blob were wrong; whether the next request for it goes to somebody else."""
