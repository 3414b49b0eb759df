"""The engine, as far as it is about containers that somebody else started, perhaps."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, BinaryIO

from anyio import to_thread

from aiodocker_lite.engine.lent import Lender
from aiodocker_lite.options import ExecOptions, Streams, text

if TYPE_CHECKING:
    from aiodocker_lite.runtime.process import ContainerProcess
    from aiodocker_lite.runtime.usage import Process, Usage
    from aiodocker_lite.store.container import Container
    from aiodocker_lite.store.logs import LogLines
    from aiodocker_lite.transfer import Side


class Containers(Lender):
    """What is done to containers by name."""

    async def containers(self) -> list[Container]:
        """Every container of the store, running or not."""
        return await to_thread.run_sync(self.store.containers.all)

    async def container(self, name: str) -> Container:
        """The container of this name, ID or beginning of an ID. Raises NoSuchContainer."""
        return await to_thread.run_sync(self.store.containers.find, text("container", name))

    @asynccontextmanager
    async def exec(
        self,
        name: str,
        command: Sequence[str],
        options: ExecOptions | None = None,
        *,
        streams: Streams | None = None,
    ) -> AsyncIterator[ContainerProcess]:
        """Start one more process in a container that runs, and have that killed when the block is left.

        Raises NoSuchContainer, ContainerNotRunning, InvalidOption, RunError.
        """
        from aiodocker_lite.exec import execute_in

        async with execute_in(await self.container(name), command, options, streams) as process:
            yield process

    async def describe_container(self, name: str) -> dict[str, Any]:
        """What `docker inspect` shows of it. Raises NoSuchContainer."""
        from aiodocker_lite.store.described import describe

        return describe(await self.container(name))

    async def start_container(self, name: str) -> bool:
        """Start one that has ended, detached, with what it has written; False for one that runs.

        Raises NoSuchContainer, RunError, StoreError.
        """
        from aiodocker_lite import lifecycle

        return await lifecycle.start(await self.container(name), self.store)

    async def stop_container(self, name: str, *, signal: str | None = None, grace: int | None = None) -> int:
        """Ask it to end, by default as its options and its image say, and kill it after `grace` seconds.

        Negative seconds are for ever. Returns its exit code. Raises NoSuchContainer, InvalidOption.
        """
        from aiodocker_lite import lifecycle

        return await lifecycle.stop(await self.container(name), signal=signal, grace=grace)

    async def kill_container(self, name: str, signal: str = "KILL") -> None:
        """Send a signal to its first process. Raises NoSuchContainer, ContainerNotRunning, InvalidOption."""
        from aiodocker_lite import lifecycle

        await lifecycle.kill(await self.container(name), signal)

    async def wait_container(self, name: str) -> int:
        """Wait for its end; returns its exit code. Raises NoSuchContainer."""
        from aiodocker_lite import lifecycle

        return await lifecycle.wait(await self.container(name))

    async def logs(
        self,
        name: str,
        on_lines: Callable[[LogLines], None],
        *,
        follow: bool = False,
        tail: int | None = None,
        since: str = "",
        until: str = "",
    ) -> None:
        """Tell what a detached container wrote: all, or the last `tail` lines; with `follow`, until its end.

        `since` and `until` are moments in UTC, as `LogLines.time`. Raises NoSuchContainer, NoLog, StoreUnreadable.
        """
        from aiodocker_lite import lifecycle

        container = await self.container(name)
        await lifecycle.logs(container, on_lines, follow=follow, tail=tail, since=since, until=until)

    async def container_usage(self, name: str) -> Usage:
        """What it uses of the machine in this moment. Raises NoSuchContainer, ContainerNotRunning."""
        from aiodocker_lite import lifecycle

        return await to_thread.run_sync(lifecycle.usage, await self.container(name))

    async def container_processes(self, name: str) -> list[Process]:
        """Its processes, as this machine sees them. Raises NoSuchContainer, ContainerNotRunning."""
        from aiodocker_lite import lifecycle

        return await to_thread.run_sync(lifecycle.top, await self.container(name))

    async def container_sizes(self, container: Container) -> tuple[int, int]:
        """Bytes that it has written, and these with its image's. Raises StoreUnreadable."""
        from aiodocker_lite import lifecycle

        return await to_thread.run_sync(lifecycle.sizes, container, self.store)

    async def copy_from(
        self, name: str, path: str, to: str | BinaryIO, *, follow: bool = False, archive: bool = False
    ) -> list[str]:
        """Copy a file or directory out of it, as `docker cp` does, or write it as a tar to an open file.

        Returns sentences about what did not become what it was. Raises NoSuchContainer, NotInContainer, StoreError.
        """
        from aiodocker_lite import transfer

        async with self._side(name, path) as side:
            if isinstance(to, str):
                target = transfer.host_side(to)
                how = partial(transfer.copy, side, target, follow=follow, archive=archive)
                return await to_thread.run_sync(how)
            await to_thread.run_sync(partial(transfer.read_out, side, to, follow=follow))
            return []

    async def copy_into(
        self, name: str, path: str, what: str | BinaryIO, *, follow: bool = False, archive: bool = False
    ) -> None:
        """Copy a file or directory into it, as `docker cp` does, or unpack a tar from an open file there.

        Raises NoSuchContainer, NotInContainer, StoreError.
        """
        from aiodocker_lite import transfer

        async with self._side(name, path) as side:
            if isinstance(what, str):
                source = transfer.host_side(what)
                await to_thread.run_sync(partial(transfer.copy, source, side, follow=follow, archive=archive))
            else:
                await to_thread.run_sync(partial(transfer.write_in, side, what))

    @asynccontextmanager
    async def _side(self, name: str, path: str) -> AsyncIterator[Side]:
        from aiodocker_lite.runtime.ladder import probe
        from aiodocker_lite.transfer import side_of

        container = await self.container(name)
        ladder, owners = probe(self.store.paths.ingests), await self._find_owners()
        async with side_of(container, text("path", path), self.store, ladder, owners) as side:
            yield side

    async def rename_container(self, name: str, new: str) -> None:
        """Give it another name. Raises NoSuchContainer, ContainerNameTaken, InvalidOption."""
        await self.store.containers.rename(await self.container(name), text("name", new))

    async def remove_container(self, name: str, *, force: bool = False) -> None:
        """Remove it; with `force` also one that runs. Raises NoSuchContainer, ContainerRunning."""
        from aiodocker_lite import lifecycle

        await lifecycle.remove(await self.container(name), self.store, force=force)
