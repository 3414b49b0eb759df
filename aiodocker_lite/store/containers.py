"""What was run: a directory for each container, with its writable layer.

containers/<id>/config.json   image, name, command, options; removed first: without, it is none
                state.json    how it is, see `state`
                alive         locked by whoever runs it, as long as it runs; then its exit code
                restart       is there as long as it shall be started again when it has ended
                log.jsonl     what it wrote, if it was detached
                upper/ work/  the overlay's writable part
                rootfs/       where it is mounted, or the flattened tree
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import anyio
from anyio import to_thread

from aiodocker_lite.digest import Digest
from aiodocker_lite.errors import (
    ContainerNameTaken,
    ContainerRunning,
    LayerInUse,
    NoSuchContainer,
    StoreUnreadable,
    StoreUnwritable,
)
from aiodocker_lite.image import Image
from aiodocker_lite.options import RunOptions
from aiodocker_lite.store.container import CONFIG, Container, read_container
from aiodocker_lite.store.durable import store_errors, write_durably
from aiodocker_lite.store.locks import hold, take_unless_held
from aiodocker_lite.store.names import checked_name, free_name
from aiodocker_lite.store.paths import Paths
from aiodocker_lite.store.state import ALIVE, State, overwrite, stored_state, write_state
from aiodocker_lite.store.trees import remove_tree

_NO_CODE = b"   \n"
"""Room for an exit code, which can be kept on a full disk."""


class Containers:
    """The containers of a store."""

    def __init__(self, paths: Paths) -> None:
        self._paths = paths

    def all(self) -> list[Container]:
        """Every container, the oldest first. Raises StoreUnreadable."""
        found = [read_container(path) for path in self._directories()]
        return sorted(filter(None, found), key=lambda container: container.created)

    def find(self, text: str) -> Container:
        """The container of this name, this ID or the beginning of one. Raises NoSuchContainer."""
        containers = self.all()
        for container in containers:
            if text in (container.name, container.id):
                return container
        found = [container for container in containers if text and container.id.startswith(text)]
        if len(found) != 1:
            raise NoSuchContainer(text)
        return found[0]

    @asynccontextmanager
    async def living(
        self,
        image: Image,
        command: tuple[str, ...],
        *,
        name: str | None,
        remove: bool,
        arguments: tuple[str, ...] = (),
        options: RunOptions | None = None,
    ) -> AsyncIterator[Container]:
        """A new container that is alive while the block runs, and removed after it if it shall be.

        Raises ContainerNameTaken, InvalidOption, DiskFull, StoreUnwritable.
        """
        options = replace(options or RunOptions(), name=name, remove=remove)
        container, alive = await self.create(image, command, arguments, options)
        async with self.alive(container, alive):
            yield container

    async def create(
        self, image: Image, command: tuple[str, ...], arguments: tuple[str, ...], options: RunOptions
    ) -> tuple[Container, int]:
        """A new container, and its lock as a descriptor that the caller closes, or hands on.

        Raises ContainerNameTaken, InvalidOption, DiskFull, StoreUnwritable.
        """
        async with hold(self._paths.lock("containers")):
            dead = self._sweep()
            created = self._create(image, command, arguments, options)
        try:
            for path in dead:
                with suppress(StoreUnwritable):  # not the fault of this one, and tried again by the next
                    await to_thread.run_sync(remove_tree, path)
        except BaseException:
            async with self.alive(*created):
                raise
        return created

    def revive(self, container: Container) -> int | None:
        """The lock of a container that has ended, as a descriptor; None for one that runs.

        Raises NoSuchContainer, StoreUnwritable.
        """
        with store_errors(container.path):
            try:
                fd = take_unless_held(container.alive)
            except FileNotFoundError:
                raise NoSuchContainer(container.name) from None
            if fd is not None and not (container.path / CONFIG).exists():
                os.close(fd)
                raise NoSuchContainer(container.name)
        return fd

    @contextmanager
    def kept_from_running(self, identity: str) -> Iterator[bool]:
        """Whether the container of this ID does not run, nor begins to while the block runs. Raises StoreUnwritable."""
        path = self._paths.containers / identity / ALIVE
        with store_errors(path):
            try:
                fd = take_unless_held(path)
            except FileNotFoundError:  # it is gone, and comes never again
                fd = -1
        try:
            yield fd is not None
        finally:
            if fd is not None and fd >= 0:
                os.close(fd)

    @asynccontextmanager
    async def alive(self, container: Container, lock: int) -> AsyncIterator[None]:
        """While the block runs the container does, by this lock; after it, it is removed if it shall be."""
        try:
            yield
        finally:
            try:
                if container.remove:
                    with anyio.CancelScope(shield=True):
                        _forget(container.path)
                        await to_thread.run_sync(remove_tree, container.path)
            finally:
                os.close(lock)

    def write_exit(self, container: Container, code: int, *, oom_killed: bool = False) -> None:
        """Keep how it ended. The caller holds its lock. Raises DiskFull, StoreUnwritable."""
        state = replace(
            stored_state(container.path),
            status="exited",
            pid=0,
            start_ticks=0,
            finished=_now(),
            exit_code=code,
            oom_killed=oom_killed,
        )
        try:
            # For who waits with this file open: there may be no other in a moment.
            with store_errors(container.alive):
                overwrite(container.alive, f"{code:<{len(_NO_CODE) - 1}}\n".encode())
        finally:
            write_state(container.path, state)

    def write_starting(self, container: Container) -> None:
        """Forget how it ended. The caller holds its lock. Raises DiskFull, StoreUnwritable."""
        with store_errors(container.alive):
            overwrite(container.alive, _NO_CODE)
        write_state(container.path, State())

    def write_running(self, container: Container, pid: int, start_ticks: int, our_ticks: int) -> None:
        """Keep that it runs, as that process, for this one. The caller holds its lock. Raises DiskFull, StoreUnwritable."""
        restarts = stored_state(container.path).restarts
        engine = os.getpid()
        state = State("running", pid, start_ticks, engine, our_ticks, started=_now(), restarts=restarts)
        write_state(container.path, state)

    def write_restarting(self, container: Container) -> None:
        """Keep that it is about to be started again. The caller holds its lock. Raises DiskFull, StoreUnwritable."""
        state = stored_state(container.path)
        write_state(container.path, replace(state, status="restarting", restarts=state.restarts + 1))

    def write_given_up(self, container: Container, error: str = "") -> None:
        """Keep that it is not started again after all. The caller holds its lock. Raises DiskFull, StoreUnwritable."""
        write_state(container.path, replace(stored_state(container.path), status="exited", error=error))

    def write_failure(self, container: Container, error: str, code: int) -> None:
        """Keep why it could not be started. The caller holds its lock. Raises DiskFull, StoreUnwritable."""
        write_state(container.path, State("created", exit_code=code, error=error))

    def write_loss(self, container: Container, error: str) -> None:
        """Keep what went wrong besides. The caller holds its lock. Raises DiskFull, StoreUnwritable."""
        write_state(container.path, replace(stored_state(container.path), error=error))

    async def rename(self, container: Container, name: str) -> None:
        """Give it another name. Raises ContainerNameTaken, InvalidOption, NoSuchContainer, StoreUnwritable."""
        async with hold(self._paths.lock("containers")):
            current = self.find(container.id)
            renamed = replace(current, name=self._checked_name(name))
            self._write_config(renamed)

    def remove(self, container: Container) -> None:
        """Remove a container that does not run. Raises ContainerRunning, NoSuchContainer."""
        try:
            lock = self.revive(container)
        except NoSuchContainer:
            if not _forget(container.path):  # one whose making was interrupted has no lock
                raise
            lock = -1
        if lock is None:
            raise ContainerRunning(container.id)
        try:
            if lock >= 0 and not _forget(container.path):
                raise NoSuchContainer(container.name)
            remove_tree(container.path)
        finally:
            if lock >= 0:
                os.close(lock)

    async def leftovers(self) -> list[Path]:
        """What is left of containers whose removal was interrupted, or whose engine was killed."""
        async with hold(self._paths.lock("containers")):
            return self._sweep()

    def let_go_of(self, layer: Digest) -> None:
        """Make sure that a layer can be replaced. Raises LayerInUse while a container runs on it."""
        for container in self.all():
            if layer in container.layers and container.running:
                raise LayerInUse(layer.short, container.name)

    def _directories(self) -> list[Path]:
        try:
            return list(self._paths.containers.iterdir())
        except FileNotFoundError:
            return []
        except OSError as error:
            raise StoreUnreadable(str(self._paths.containers), error.strerror or str(error)) from error

    def _create(
        self, image: Image, command: tuple[str, ...], arguments: tuple[str, ...], options: RunOptions
    ) -> tuple[Container, int]:
        identity = secrets.token_hex(32)
        container = Container(
            id=identity,
            name=self._checked_name(options.name),
            image=image.name,
            manifest=image.manifest.digest,
            image_id=image.id,
            platform=image.config.platform,
            layers=image.config.diff_ids,
            defaults=image.config.defaults,
            arguments=arguments,
            command=command,
            options=options,
            created=_now(),
            remove=options.remove,
            path=self._paths.containers / identity,
        )
        lock = -1
        try:
            with store_errors(container.path):
                container.path.mkdir(mode=0o700)
                # Before it can be seen: nobody may take it for one that has ended.
                container.alive.touch(mode=0o600)
                container.alive.write_bytes(_NO_CODE)
                lock = _taken(container)
            self._write_config(container)
        except BaseException:
            if lock >= 0:
                os.close(lock)
            remove_tree(container.path)
            raise
        return container, lock

    def _write_config(self, container: Container) -> None:
        config = json.dumps(container.to_json()).encode()
        write_durably(container.path / CONFIG, config, beside=self._paths.ingests)

    def _checked_name(self, name: str | None) -> str:
        taken = {container.name: container.id for container in self.all()}
        if name is None:
            return free_name(taken)
        if checked_name(name) in taken:
            raise ContainerNameTaken(name, taken[name])
        return name

    def _sweep(self) -> list[Path]:
        """Forget what should have gone with its process, whose engine was killed.

        Returns what is to be removed, with what is left of earlier removals. The caller holds
        the lock, so no directory is one that is being made.
        """
        for container in self.all():
            if container.remove and not container.running:
                _forget(container.path)
        with store_errors(self._paths.containers):
            return [path for path in self._directories() if not (path / CONFIG).exists()]


def _now() -> str:
    return datetime.now(UTC).isoformat()


def _forget(path: Path) -> bool:
    """Make it no container any more; False if it was none."""
    with store_errors(path):
        try:
            (path / CONFIG).unlink()
        except FileNotFoundError:
            return False
        return True


def _taken(container: Container) -> int:
    lock = take_unless_held(container.alive)
    assert lock is not None, "nobody else knows of it"
    return lock
