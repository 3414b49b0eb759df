"""The engine opens, lends and closes what conductors use: the store, the network, the processes.

Nothing heavy is imported before it is needed: listing images or running one that is here loads
no network code.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from anyio import to_thread

from aiodocker_lite import events
from aiodocker_lite.engine.containers import Containers
from aiodocker_lite.engine.images import Images
from aiodocker_lite.engine.jobs import Jobs
from aiodocker_lite.engine.registries import Registries
from aiodocker_lite.errors import ContainerFailed, InvalidOption
from aiodocker_lite.events import Progress
from aiodocker_lite.image import Image
from aiodocker_lite.options import PullPolicy, RunOptions, Streams, known_signal, pull_policy, words
from aiodocker_lite.platforms import Platform
from aiodocker_lite.restart import RestartPolicy

if TYPE_CHECKING:
    from aiodocker_lite.host import Finding as Finding
    from aiodocker_lite.layer.privileges import Owners
    from aiodocker_lite.mend import Checked as Checked
    from aiodocker_lite.plan import Plan as Plan
    from aiodocker_lite.plan import Report as Report
    from aiodocker_lite.prune import Pruned as Pruned
    from aiodocker_lite.prune import Room as Room
    from aiodocker_lite.remove import Removed as Removed
    from aiodocker_lite.run import Running as Running
    from aiodocker_lite.runtime.ladder import Ladder
    from aiodocker_lite.runtime.usage import Process as Process
    from aiodocker_lite.runtime.usage import Usage as Usage
    from aiodocker_lite.store.container import Container as Container
    from aiodocker_lite.store.logs import LogLines as LogLines
    from aiodocker_lite.store.state import State as State


@dataclass(frozen=True, slots=True)
class Finished:
    """A container that ended, and what it wrote."""

    exit_code: int
    stdout: bytes
    stderr: bytes


class Engine(Images, Jobs, Containers, Registries):
    """Pull, keep and run images, without a daemon.

    >>> async with Engine() as engine:
    ...     image = await engine.pull("alpine")
    ...     done = await engine.run(image, ["echo", "hello"])
    ...     assert done.stdout == b"hello\\n"
    """

    async def info(self, version: str = "") -> dict[str, Any]:
        """What this machine gives to containers, under docker's names where it has them."""
        from aiodocker_lite.host import describe

        runtime = self.settings.runtime
        return await to_thread.run_sync(
            lambda: describe(self._probed(), self.store.paths.root, version, runtime)
        )

    async def doctor(self) -> list[Finding]:
        """What is missing here, what does not work because of it, and the command that mends it."""
        from aiodocker_lite.host import examine

        return await to_thread.run_sync(lambda: examine(self._probed(), self.settings.runtime))

    def _probed(self) -> Ladder:
        from aiodocker_lite.runtime.ladder import probe

        place = self.store.paths.ingests
        return probe(place if place.exists() else None)

    @asynccontextmanager
    async def start(
        self,
        image: str | Image,
        command: Sequence[str] = (),
        options: RunOptions | None = None,
        *,
        streams: Streams | None = None,
        pull: PullPolicy = "missing",
        platform: str | Platform | None = None,
        progress: Progress = events.ignore,
        on_found: Callable[[Image], None] = lambda _: None,
    ) -> AsyncIterator[Running]:
        """Start a container, and have it ended when the block is left.

        `on_found` is told the image when it is here and the container is about to be started.
        Raises what `pull` raises if the image is not here, and RunError.
        """
        from aiodocker_lite.run import start

        options, streams = self._chosen(options), streams or Streams()
        if not RestartPolicy.parse(options.restart).is_none:
            reason = "only a detached container (-d) is started again, by the process that it belongs to"
            raise InvalidOption("--restart", reason)
        argv = words("command", command)
        found, ladder, owners = await self._prepare(image, options, pull, platform, progress)
        on_found(found)
        async with start(found, argv, options, streams, self.store, ladder, owners, progress) as running:
            yield running

    async def detach(
        self,
        image: str | Image,
        command: Sequence[str] = (),
        options: RunOptions | None = None,
        *,
        pull: PullPolicy = "missing",
        platform: str | Platform | None = None,
        progress: Progress = events.ignore,
        on_created: Callable[[Container], None] = lambda _: None,
    ) -> Container:
        """Start a container that belongs to a process of its own, and outlives this one.

        `on_created` is told the container before its command is executed; if that fails, it stays, as
        created. Raises what `start` raises.
        """
        from aiodocker_lite.monitor import detach
        from aiodocker_lite.run import create

        options, argv = self._chosen(options), words("command", command)
        found, _, owners = await self._prepare(image, options, pull, platform, progress)
        container, lock = await create(found, argv, options, self.store, owners)
        try:
            on_created(container)
            await detach(container, lock)
        finally:
            os.close(lock)
        return container

    async def run(
        self,
        image: str | Image,
        command: Sequence[str] = (),
        options: RunOptions | None = None,
        *,
        input: bytes | None = None,
        check: bool = True,
        pull: PullPolicy = "missing",
        platform: str | Platform | None = None,
        progress: Progress = events.ignore,
    ) -> Finished:
        """Run a command in a new container to its end, and return what it wrote.

        Raises what `start` raises, and ContainerFailed for an exit code other than 0 if `check`.
        """
        from aiodocker_lite.run import communicate

        if input is not None and not isinstance(input, bytes | bytearray | memoryview):
            raise InvalidOption("input", "it is not bytes")
        streams = Streams.captured(has_input=input is not None)
        async with self.start(
            image, command, options, streams=streams, pull=pull, platform=platform, progress=progress
        ) as running:
            finished = Finished(*await communicate(running, input))
        if check and finished.exit_code:
            said = finished.stderr.decode(errors="replace")
            raise ContainerFailed(" ".join(running.container.command), finished.exit_code, said)
        return finished

    def _chosen(self, options: RunOptions | None) -> RunOptions:
        """With the runtime of the settings, where no other is chosen."""
        options = options or RunOptions()
        return options if options.runtime else replace(options, runtime=self.settings.runtime)

    async def _prepare(
        self,
        image: str | Image,
        options: RunOptions,
        pull: PullPolicy,
        platform: str | Platform | None,
        progress: Progress,
    ) -> tuple[Image, Ladder, Owners]:
        """An image that can be run, and how far and as whose."""
        from aiodocker_lite.run import find_ladder

        events.check(progress)
        pull_policy(pull)
        self.store.create()
        # First: what is refused shall be refused before anything is pulled.
        ladder = find_ladder(self.store, options, progress)
        found = await self.find_or_pull(image, pull=pull, platform=platform, progress=progress)
        owners = await self._find_owners()
        if found.verified != "No" and not self.store.has_unpacked(found.config.diff_ids, str(owners)):
            if self.store.images.has_blobs(found) or not found.names:
                from aiodocker_lite.owners import unpack_again

                await unpack_again(found, self._open_tools, progress)
            else:
                found = await self.pull(found.names[0], platform=platform, progress=progress)
        self.store.images.touch(found)
        named = found.config.defaults.stop_signal
        if named and not options.stop_signal and not known_signal(named):
            progress(
                events.Notice(
                    f"Warning: There is no signal '{named}', which the image wants to be stopped with. Using SIGTERM."
                )
            )
        return found, ladder, owners
