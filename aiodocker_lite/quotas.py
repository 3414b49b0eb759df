"""Registries that are asked for no more than they permit, or than we were told to ask for.

Manifests are counted, for they are what registries count as pulls. Where one permits no more for now, what is
left is put off, and not a request is made there until it does again.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import anyio

from aiodocker_lite.errors import PullsSpent, RateLimited
from aiodocker_lite.events import Progress, Quota, Retrying
from aiodocker_lite.manifest import Descriptor
from aiodocker_lite.plan import Pulls
from aiodocker_lite.reference import Reference
from aiodocker_lite.sizes import counted

if TYPE_CHECKING:
    from aiodocker_lite.registry.failover import Tell
    from aiodocker_lite.registry.source import Registry

_READ_AT_ONCE = 8
"""Images whose documents are read from one registry, while nobody counts."""
_LEAST = 1.0
"""Seconds between two refusals, for who says 0 and refuses again."""
_SHORT = 60.0
"""Seconds that a request waits though nobody said `wait`; see `Retries`."""


@dataclass(frozen=True, slots=True)
class PullLimits:
    """How many manifests each registry may be asked for, and whether a limit of its own is waited for."""

    most: int | None = None
    wait: bool = False


class PutOff(Exception):
    """The registry permits nothing at this moment. Not one of its errors, for those are asked about again."""

    def __init__(self, error: RateLimited) -> None:
        super().__init__(str(error))
        self.error = error


class _Desk:
    """One registry: how much it was asked for, and how much it still permits."""

    def __init__(self, registry: str, limits: PullLimits) -> None:
        self._registry = registry
        self._limits = limits
        # Where it is counted, one image after the other: else many would be half read when it is over.
        is_counted = limits.wait or limits.most is not None
        self.turns = anyio.CapacityLimiter(1 if is_counted else _READ_AT_ONCE)
        self.asked = 0
        self._left: int | None = None
        self._quota: Quota | None = None
        self.opens = 0.0
        """When requests pass again, while there is a refusal."""
        self.refusal: RateLimited | None = None
        self._only_pulls = True

    def hear(self, quota: Quota | None) -> None:
        """What it said when a name was resolved."""
        if quota is not None:
            self._quota, self._left = quota, quota.left

    def admit(self, *, is_pull: bool) -> None:
        """Let a request pass. Raises PullsSpent, PutOff."""
        if self.refusal is not None and anyio.current_time() >= self.opens:
            self.refusal, self._left = None, self._quota.limit if self._quota else None
        if self.refusal is not None and (is_pull or not self._only_pulls):
            raise PutOff(self.refusal)
        if not is_pull:
            return
        if self.asked == self._limits.most:
            raise PullsSpent(self._registry, self.asked)
        if self._left == 0 and self._limits.wait and self._quota is not None:
            reason = f"none of {self._quota.limit} pulls is left"
            self.refuse(RateLimited(self._registry, reason, None, self._quota.renewal), is_pull=True)
        self.asked += 1
        if self._left:
            self._left -= 1

    def refuse(self, error: RateLimited, *, is_pull: bool) -> None:
        """Nothing of this kind passes for as long as it asks for; after a pull was refused, other things do.

        Raises PutOff, or the error where the time is unknown or short.
        """
        if error.resets_in is None or (error.resets_in <= _SHORT and not self._limits.wait):
            raise error
        self.opens, self.refusal = anyio.current_time() + max(_LEAST, error.resets_in), error
        self._only_pulls = is_pull
        raise PutOff(error)

    def pulls(self) -> Pulls:
        quota = self._quota
        left, limit, window = (quota.left, quota.limit, quota.window) if quota else (None, None, None)
        return Pulls(registry=self._registry, needed=self.asked, left=left, limit=limit, window=window)


class Rationed:
    """A registry of all registries; see `registry.source.Registry`."""

    def __init__(self, registry: Registry, limits: PullLimits) -> None:
        self._registry = registry
        self._limits = limits
        self._desks: dict[str, _Desk] = {}
        self.open_blob, self.open_foreign = registry.open_blob, registry.open_foreign
        self.quota, self.blame = registry.quota, registry.blame

    @property
    def waits(self) -> bool:
        """What is put off is to be done later."""
        return self._limits.wait

    def turn(self, registry: str) -> anyio.CapacityLimiter:
        """Whose turn it is to have the documents of an image read."""
        return self._desk(registry).turns

    def pulls(self) -> tuple[Pulls, ...]:
        """How many manifests each was asked for."""
        return tuple(desk.pulls() for desk in self._desks.values())

    async def wait(self, count: int, progress: Progress) -> None:
        """Until the first of those that permit nothing now permits more; `count` images wait for that."""
        closed = [desk for desk in self._desks.values() if desk.refusal is not None]
        first = min(closed, key=lambda desk: desk.opens, default=None)
        if first is None:
            return  # the time was over before the last of them was looked at
        pause = max(0.0, first.opens - anyio.current_time())
        progress(Retrying(counted(count, "image"), str(first.refusal), pause, pause))
        await anyio.sleep_until(first.opens)

    async def resolve(self, reference: Reference, tell: Tell = lambda text: None) -> Descriptor:
        """What a name stands for now. Raises PutOff too."""
        async with self._asking(reference) as desk:
            found = await self._registry.resolve(reference, tell)
            desk.hear(self._registry.quota(reference.registry))
            return found

    async def manifest(
        self, reference: Reference, promised: Descriptor, tell: Tell = lambda text: None
    ) -> bytes:
        """The bytes of a manifest or index. Raises PullsSpent, PutOff too."""
        async with self._asking(reference, is_pull=True):
            return await self._registry.manifest(reference, promised, tell)

    async def blob(self, reference: Reference, blob: Descriptor, tell: Tell = lambda text: None) -> bytes:
        """The bytes of a small blob. Raises PutOff too."""
        async with self._asking(reference):
            return await self._registry.blob(reference, blob, tell)

    def waits_for(self, registry: str, error: RateLimited) -> bool:
        """A layer was refused: whether the image is to be tried again when the registry permits more."""
        try:
            self._desk(registry).refuse(error, is_pull=False)
        except PutOff:
            return self.waits
        except RateLimited:
            pass
        return False

    @asynccontextmanager
    async def _asking(self, reference: Reference, *, is_pull: bool = False) -> AsyncIterator[_Desk]:
        desk = self._desk(reference.registry)
        desk.admit(is_pull=is_pull)
        try:
            yield desk
        except RateLimited as error:
            desk.refuse(error, is_pull=is_pull)

    def _desk(self, registry: str) -> _Desk:
        if registry not in self._desks:
            self._desks[registry] = _Desk(registry, self._limits)
        return self._desks[registry]
