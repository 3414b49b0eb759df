"""The engine opens, lends and closes what conductors use: the store, the network, the processes.

Nothing heavy is imported before it is needed: listing images or running one that is here loads
no network code.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, cast

import anyio
from anyio import to_thread

from aiodocker_lite import events
from aiodocker_lite.errors import (
    ContainerFailed,
    DiskFull,
    EngineNotOpen,
    InvalidOption,
    NoSuchImage,
    PlatformNotFound,
    StoreCorrupt,
)
from aiodocker_lite.events import Progress
from aiodocker_lite.image import Image
from aiodocker_lite.options import ExecOptions, PullPolicy, RunOptions, Streams, pull_policy, text, words
from aiodocker_lite.platforms import Platform
from aiodocker_lite.reference import Reference
from aiodocker_lite.settings import Settings
from aiodocker_lite.store import Store
from aiodocker_lite.store.unused import DAY

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from aiodocker_lite.archive import SavedFormat
    from aiodocker_lite.bring import Tools
    from aiodocker_lite.layer.privileges import Owners
    from aiodocker_lite.mend import Checked as Checked
    from aiodocker_lite.prune import Pruned as Pruned
    from aiodocker_lite.prune import Room as Room
    from aiodocker_lite.registry.source import Registry
    from aiodocker_lite.remove import Removed as Removed
    from aiodocker_lite.run import Running
    from aiodocker_lite.runtime.ladder import Ladder
    from aiodocker_lite.runtime.process import ContainerProcess
    from aiodocker_lite.store.container import Container as Container
    from aiodocker_lite.store.logs import LogLine as LogLine
    from aiodocker_lite.store.state import State as State
    from aiodocker_lite.transfer import Side


@dataclass(frozen=True, slots=True)
class Finished:
    """A container that ended, and what it wrote."""

    exit_code: int
    stdout: bytes
    stderr: bytes


class Engine:
    """Pull, keep and run images, without a daemon.

    >>> async with Engine() as engine:
    ...     image = await engine.pull("alpine")
    ...     done = await engine.run(image, ["echo", "hello"])
    ...     assert done.stdout == b"hello\\n"
    """

    def __init__(
        self, settings: Settings | None = None, *, registry: Registry | None = None, lean: bool = False
    ) -> None:
        """Nothing is opened yet. `lean` starts faster, in a process where nobody else uses aiohttp."""
        self.settings = settings or Settings()
        self._lean = lean
        self._given_registry = registry
        self._registry = registry
        self._store: Store | None = None
        self._tools: Tools | None = None
        self._owners: Owners | None = None
        self._making_room = anyio.Lock()
        self._closing = AsyncExitStack()

    @property
    def store(self) -> Store:
        """Where everything is. Raises EngineNotOpen."""
        if self._store is None:
            raise EngineNotOpen
        return self._store

    async def __aenter__(self) -> Self:
        self._store = Store(Path(self.settings.root))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # Nothing can be opened any more that nobody would close.
        self._store, self._tools, self._registry = None, None, self._given_registry
        await self._closing.__aexit__(kind, error, trace)

    # --- getting images ----------------------------------------------------------------------

    async def pull(
        self,
        image: str | Reference,
        *,
        platform: str | Platform | None = None,
        progress: Progress = events.ignore,
        beside: Collection[Reference] = (),
    ) -> Image:
        """Bring an image from its registry into the store.

        A platform that is named here is insisted on. Where the store has a `max_store`, images that are pulled
        `beside` this one do not make room for it: it is refused, or removed again, where they do not fit together. Raises InvalidReference, RegistryError, ContentError, StoreError. Cancelling keeps what
        was downloaded; the next pull continues there.
        """
        from aiodocker_lite.fit import make_room
        from aiodocker_lite.pull import pull

        events.check(progress)
        reference = _reference(image)
        names = frozenset(name.as_kept for name in beside if name != reference)
        wanted = self._platform(platform)
        tools = await self._open_tools()
        if self.store.images.named(reference) is None:
            # The first worker starts while the network code is imported and the manifest is on its way.
            await tools.unpackers.warm_up()
        registry = await self._open_registry()
        try:
            found = await pull(
                reference,
                registry,
                tools,
                platform=wanted,
                strict=platform is not None,
                progress=progress,
                beside=names,
            )
        except DiskFull as error:
            error.add_note(
                f"what was downloaded is kept in {self.store.paths.ingests}, and the same command continues there"
            )
            raise
        self.store.images.touch(found)
        if self.settings.max_store is not None:
            async with self._making_room:
                await make_room(self.store, self.settings.max_store, found, progress, names)
        return found

    async def load(
        self,
        archive: str | Path | BinaryIO,
        *,
        platform: str | Platform | None = None,
        tags: bool = True,
        progress: Progress = events.ignore,
    ) -> list[Image]:
        """Bring the images of a `docker save` or OCI archive into the store, from a file or a stream.

        A directory will do: an OCI image layout, or an archive that was unpacked. A platform that is named
        here is insisted on. Without `tags`, the archive gives no names. Each image has the names that it
        got. Raises InvalidArchive, ContentError, StoreError.
        """
        from aiodocker_lite.load import load

        events.check(progress)
        source, name = _path_or_stream(archive, "read", "standard input")
        tools = await self._open_tools()
        wanted, strict = self._platform(platform), platform is not None
        return await load(source, name, tools, platform=wanted, strict=strict, tags=tags, progress=progress)

    async def save(
        self,
        images: Iterable[str | Image],
        archive: str | Path | BinaryIO,
        *,
        format: SavedFormat = "docker",
    ) -> None:
        """Write images to an archive that docker, podman and skopeo read: to a file, or to a stream.

        A name without a tag means all its tags; an `Image` goes with all its names. The file is there
        when it is whole and durable, or not at all. ``docker`` is an OCI layout that is a docker archive
        too, ``docker-archive`` has uncompressed layers, ``oci-archive`` is the layout alone.
        Raises NoSuchImage, BlobMissing, StoreCorrupt, ArchiveUnwritable, DiskFull, and BrokenPipeError
        where the reader of a stream has gone.
        """
        from aiodocker_lite.archive.write import FORMATS
        from aiodocker_lite.save import save

        if format not in FORMATS:
            raise InvalidOption("format", f"'{format}' is none of {', '.join(FORMATS)}")
        if isinstance(images, str | Image):
            raise InvalidOption("images", f"{images!r} is not a list of images, such as ['alpine']")
        names = [name for image in images for name in _names_of(image)]
        target, title = _path_or_stream(archive, "write", "standard output")
        await save(names, self.store, target, title, format=format)

    # --- images that are here ----------------------------------------------------------------

    async def images(self) -> list[Image]:
        """Every image in the store, damaged ones too. Raises StoreUnreadable."""
        return await to_thread.run_sync(self.store.images.all)

    async def image(self, name: str) -> Image:
        """The image of this name or ID. Raises NoSuchImage."""
        return self.store.images.find(text("image", name))

    async def tag(self, image: str | Image, name: str | Reference) -> Image:
        """Give an image one more name; one that led elsewhere leads here now."""
        found = image if isinstance(image, Image) else await self.image(image)
        reference = _reference(name)
        self.store.create()
        return await self.store.images.tag(found, reference)

    async def remove(self, name: str, *, force: bool = False) -> Removed:
        """Take a name away, or with an ID all names; without names left, the image goes too.

        As in docker, what a running container uses only loses its name, and `force` is for what
        ended ones use. Raises NoSuchImage, ImageInUse.
        """
        from aiodocker_lite.remove import remove

        return await remove(text("image", name), self.store, force=force)

    async def verify(
        self,
        images: Sequence[str | Image] = (),
        *,
        repair: bool = False,
        on_checked: Callable[[Checked], None] = lambda _: None,
        progress: Progress = events.ignore,
    ) -> list[Checked]:
        """Check every document, blob and unpacked file of these images, or of all.

        What is damaged is not used any more: with `repair` it is unpacked or fetched again, and else by the
        next pull. `on_checked` is told of each image as soon as it is checked. Raises NoSuchImage, StoreError.
        """
        from aiodocker_lite.mend import verify

        events.check(progress)
        found = [image if isinstance(image, Image) else await self.image(image) for image in images]
        flaws = await to_thread.run_sync(self.store.images.index_flaws)
        tools = await self._open_tools()
        if flaws:
            await to_thread.run_sync(self.store.images.rewrite_index)
        for flaw in flaws:
            progress(events.Notice(flaw))
        if not images:
            found = await self.images()
        return await verify(found, tools, self._open_registry if repair else None, on_checked, progress)

    # --- room ----------------------------------------------------------------------------------

    async def prune(
        self,
        *,
        all_images: bool = False,
        partial_older_than: float = DAY,
        partial_max: int | None = None,
    ) -> Pruned:
        """Remove containers that have ended, images that no container uses, and partial downloads.

        Of images those without a name, or all; of downloads those that were not continued for so many
        seconds, and of the others the oldest where they are more than `partial_max` bytes. Whole layers of pulls
        that did not end go after the same time, and with `all_images` at once. What somebody uses, or is
        bringing, stays. Raises StoreError.
        """
        from aiodocker_lite.prune import prune

        return await prune(
            self.store,
            all_images=all_images,
            partial_older_than=partial_older_than,
            partial_max=partial_max,
        )

    async def usage(self) -> list[Room]:
        """What images, containers and partial downloads take of the disk. Raises StoreError."""
        from aiodocker_lite.prune import usage

        return await to_thread.run_sync(usage, self.store)

    # --- running -----------------------------------------------------------------------------

    async def find_or_pull(
        self,
        image: str | Image,
        *,
        pull: PullPolicy = "missing",
        platform: str | Platform | None = None,
        progress: Progress = events.ignore,
        beside: Collection[Reference] = (),
    ) -> Image:
        """The image of this name or ID, pulled if it is not here, not whole, or for another platform only.

        With `pull="always"` a name is resolved anew; with "never" NoSuchImage is raised for what is not
        here, and PlatformNotFound for what is here for another platform.
        """
        events.check(progress)
        policy = pull_policy(pull)
        pull_it = partial(self.pull, platform=platform, progress=progress, beside=beside)
        if isinstance(image, Image):
            return image
        try:
            found = self.store.images.find(text("image", image))
        except NoSuchImage:
            reference = Reference.parse(image)
            if policy == "never":
                raise NoSuchImage(reference.familiar) from None
            if policy == "missing":
                progress(events.Notice(f"Unable to find image '{reference.familiar}' locally"))
            return await pull_it(reference)
        if policy == "always" and self.store.images.is_name(image):
            return await pull_it(image)
        wanted = self._platform(platform)
        if platform is not None and found.config.platform.normal() not in wanted.accepts():
            if policy == "never":
                raise PlatformNotFound(str(wanted), (str(found.config.platform),))
            return await pull_it(image)
        if found.verified != "Yes" and not self.store.images.has_blobs(found):
            if not found.names:
                self.store.images.documents(found.manifest.descriptor)
                raise StoreCorrupt(str(self.store.paths.blobs), f"blobs of image {found.name} are missing")
            if policy == "never":
                raise NoSuchImage(found.name)
            progress(events.Notice(f"Image '{found.name}' is not complete"))
            return await pull_it(found.names[0])
        here = Platform.here()
        if platform is None and not here.runs(found.config.platform):
            progress(
                events.Notice(
                    f"Warning: The requested image's platform ({found.config.platform}) does not match "
                    f"the detected host platform ({here}) and no specific platform was requested"
                )
            )
        self.store.images.touch(found)
        return found

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

        options, streams = options or RunOptions(), streams or Streams()
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

        options, argv = options or RunOptions(), words("command", command)
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

    # --- containers --------------------------------------------------------------------------

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
        on_line: Callable[[LogLine], None],
        *,
        follow: bool = False,
        tail: int | None = None,
        since: str = "",
        until: str = "",
    ) -> None:
        """Tell what a detached container wrote: all, or the last `tail` lines; with `follow`, until its end.

        `since` and `until` are moments in UTC, as `LogLine.time`. Raises NoSuchContainer, NoLog, StoreUnreadable.
        """
        from aiodocker_lite import lifecycle

        container = await self.container(name)
        await lifecycle.logs(container, on_line, follow=follow, tail=tail, since=since, until=until)

    async def container_sizes(self, container: Container) -> tuple[int, int]:
        """Bytes that it has written, and these with its image's. Raises StoreUnreadable."""
        from aiodocker_lite import lifecycle

        return await to_thread.run_sync(lifecycle.sizes, container, self.store)

    async def copy_from(
        self, name: str, path: str, to: str | BinaryIO, *, follow: bool = False, archive: bool = False
    ) -> None:
        """Copy a file or directory out of it, as `docker cp` does, or write it as a tar to an open file.

        Raises NoSuchContainer, NotInContainer, StoreError.
        """
        from aiodocker_lite import transfer

        async with self._side(name, path) as side:
            if isinstance(to, str):
                how = partial(transfer.copy, side, transfer.host_side(to), follow=follow, archive=archive)
            else:
                how = partial(transfer.read_out, side, to, follow=follow)
            await to_thread.run_sync(how)

    async def copy_into(
        self, name: str, path: str, what: str | BinaryIO, *, follow: bool = False, archive: bool = False
    ) -> None:
        """Copy a file or directory into it, as `docker cp` does, or unpack a tar from an open file there.

        Raises NoSuchContainer, NotInContainer, StoreError.
        """
        from aiodocker_lite import transfer

        async with self._side(name, path) as side:
            if isinstance(what, str):
                how = partial(transfer.copy, transfer.host_side(what), side, follow=follow, archive=archive)
            else:
                how = partial(transfer.write_in, side, what)
            await to_thread.run_sync(how)

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

    # --- registries --------------------------------------------------------------------------

    async def login(self, registry: str, username: str, password: str) -> Path:
        """Check a user name and password with a registry and keep them; returns the file that says where.

        Raises LoginFailed, RegistryUnavailable, UnusableConfig.
        """
        from aiodocker_lite.registry.client import HttpRegistry
        from aiodocker_lite.registry.keyring import Keyring

        for option, given in (("registry", registry), ("username", username), ("password", password)):
            text(option, given)
        keyring = Keyring(self.settings)
        async with HttpRegistry(self.settings, credentials=keyring.find) as client:
            await client.login(registry, username, password)
        return await keyring.keep(registry, username, password)

    async def logout(self, registry: str) -> bool:
        """Forget what `login` kept for a registry; False if there was nothing. Raises UnusableConfig."""
        from aiodocker_lite.registry.keyring import Keyring

        return await Keyring(self.settings).forget(registry)

    @asynccontextmanager
    async def serve(self, host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[tuple[str, int]]:
        """Be a read-only registry with the images of the store; yields the address it listens on."""
        from aiodocker_lite.serve import Shelf, serve

        images = self.store.images
        shelf = Shelf(names=images.names, manifest=images.raw_manifest, blob=self.store.blobs.path)
        async with serve(shelf, host, port) as address:
            yield address

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
        return found, ladder, owners

    # --- what is lent ------------------------------------------------------------------------

    def _platform(self, chosen: str | Platform | None) -> Platform:
        if chosen is None:
            return self.settings.platform
        return chosen if isinstance(chosen, Platform) else Platform.parse(text("platform", chosen))

    async def _find_owners(self) -> Owners:
        if self._owners is None:
            from aiodocker_lite.owners import find_owners

            self._owners = await find_owners(self.store)
        return self._owners

    async def _open_tools(self) -> Tools:
        if self._tools is None:
            from aiodocker_lite.bring import Tools
            from aiodocker_lite.layer.pool import Unpackers

            self.store.create()
            owners = await self._find_owners()
            self._tools = Tools(
                self.settings,
                self.store,
                await self._closing.enter_async_context(Unpackers(self.settings.workers, owners.maps)),
                anyio.CapacityLimiter(self.settings.downloads),
                owners,
            )
        return self._tools

    async def _open_registry(self) -> Registry:
        if self._registry is None:
            if self._lean:
                from aiodocker_lite.registry.lean import import_aiohttp

                import_aiohttp()
            from aiodocker_lite.registry.client import HttpRegistry
            from aiodocker_lite.registry.keyring import Keyring

            client = HttpRegistry(self.settings, credentials=Keyring(self.settings).find)
            self._registry = await self._closing.enter_async_context(client)
        return self._registry


def _path_or_stream(archive: object, method: str, stream: str) -> tuple[Path | BinaryIO, str]:
    """What was given for an archive, and what to call it in errors. Raises InvalidOption."""
    if isinstance(archive, str | Path):
        return Path(archive), str(archive)
    if not hasattr(archive, method):
        raise InvalidOption("archive", f"{archive!r} is neither a path nor an open file")
    return cast("BinaryIO", archive), stream


def _names_of(image: str | Image) -> list[str]:
    """What to ask the store for, to get this image with all its names."""
    if isinstance(image, Image):
        return [str(name) for name in image.names] or [image.manifest.digest.hex]
    return [text("image", image)]


def _reference(image: str | Reference) -> Reference:
    return image if isinstance(image, Reference) else Reference.parse(text("image", image))
