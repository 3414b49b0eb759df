"""The engine, as far as it is about many images as one job."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

from anyio import to_thread

from aiodocker_lite import events
from aiodocker_lite.engine.lent import Lender
from aiodocker_lite.errors import InvalidOption
from aiodocker_lite.events import Progress
from aiodocker_lite.image import Image
from aiodocker_lite.options import text
from aiodocker_lite.platforms import Platform
from aiodocker_lite.reference import Reference
from aiodocker_lite.store.unused import DAY
from aiodocker_lite.wanted import Wanted

if TYPE_CHECKING:
    from aiodocker_lite.plan import Plan, Report


class Jobs(Lender):
    """What is done to many images at once."""

    async def plan(
        self,
        wanted: Iterable[str | Reference | Wanted],
        *,
        platform: str | Platform | None = None,
        max_pulls: int | None = None,
        wait_quota: bool = False,
        progress: Progress = events.ignore,
    ) -> Plan:
        """What `prefetch` would bring for the same arguments; nothing is written.

        Manifests are read for it, which registries may count as pulls. Raises InvalidReference, InvalidOption.
        """
        from aiodocker_lite.prefetch import plan
        from aiodocker_lite.quotas import PullLimits

        events.check(progress)
        images = self._wanted(wanted, platform)
        limits = PullLimits(_checked("max_pulls", max_pulls), wait_quota)
        return await plan(
            images,
            await self._open_registry(),
            self.store,
            self.settings,
            platform=self._platform(platform),
            limits=limits,
            progress=progress,
        )

    async def prefetch(
        self,
        wanted: Iterable[str | Reference | Wanted],
        *,
        platform: str | Platform | None = None,
        keep_going: bool = True,
        max_pulls: int | None = None,
        wait_quota: bool = False,
        progress: Progress = events.ignore,
    ) -> Report:
        """Bring many images into the store as one job: each name is resolved once, each digest fetched once.

        One that cannot be had is in the report, with its reason, and stops nothing but what it alone
        needs; or the whole job, if not `keep_going`. Each registry is asked for at most `max_pulls` manifests;
        with `wait_quota` a limit of its own is waited for. A platform that is named, here or with an image,
        is insisted on. Cancelling keeps what was downloaded. Raises InvalidReference, InvalidOption, StoreError.
        """
        from aiodocker_lite.fit import make_room
        from aiodocker_lite.prefetch import prefetch
        from aiodocker_lite.quotas import PullLimits

        events.check(progress)
        images = self._wanted(wanted, platform)
        limits = PullLimits(_checked("max_pulls", max_pulls), wait_quota)
        names, most = frozenset(image.reference.as_kept for image in images), self.settings.max_store
        tools = await self._open_tools()
        await tools.unpackers.warm_up()

        async def on_named(image: Image) -> None:
            self.store.images.touch(image)
            if most is not None:
                async with self._making_room:
                    await make_room(self.store, most, image, progress, names)

        report = await prefetch(
            images,
            await self._open_registry(),
            tools,
            platform=self._platform(platform),
            limits=limits,
            keep_going=keep_going,
            on_named=on_named,
            progress=progress,
        )
        if most is not None:
            # Nothing could go while the job counted on what was there.
            await to_thread.run_sync(self.store.collect, DAY)
        return report

    def _wanted(
        self, images: Iterable[str | Reference | Wanted], platform: str | Platform | None
    ) -> list[Wanted]:
        if isinstance(images, str | Reference | Wanted):
            raise InvalidOption("wanted", f"{images!r} is not a list of images, such as ['alpine']")
        chosen = None if platform is None else self._platform(platform)
        found = [image if isinstance(image, Wanted) else Wanted(_reference(image)) for image in images]
        return [replace(image, platform=image.platform or chosen) for image in found]


def _reference(image: str | Reference) -> Reference:
    return image if isinstance(image, Reference) else Reference.parse(text("image", image))


def _checked(option: str, number: int | None) -> int | None:
    if number is not None and number < 0:
        raise InvalidOption(option, "it must be at least 0")
    return number
