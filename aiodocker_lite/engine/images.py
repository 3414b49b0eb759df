"""The engine, as far as it is about images: brought, kept, listed, checked, removed."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Literal, cast

from anyio import to_thread

from aiodocker_lite import events
from aiodocker_lite.engine.lent import Lender
from aiodocker_lite.errors import DiskFull, InvalidOption, NoSuchImage, PlatformNotFound, StoreCorrupt
from aiodocker_lite.events import Progress
from aiodocker_lite.image import Image
from aiodocker_lite.options import PullPolicy, pull_policy, text
from aiodocker_lite.platforms import Platform
from aiodocker_lite.reference import Reference
from aiodocker_lite.store.unused import DAY

if TYPE_CHECKING:
    from aiodocker_lite.archive import SavedFormat
    from aiodocker_lite.mend import Checked
    from aiodocker_lite.prune import Pruned, Room
    from aiodocker_lite.remove import Removed


class Images(Lender):
    """What is done to images."""

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
            await to_thread.run_sync(self.store.images.settle_index)
        for flaw in flaws:
            progress(events.Notice(flaw))
        if not images:
            found = await self.images()
        return await verify(found, tools, self._open_registry if repair else None, on_checked, progress)

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

    # --- room ----------------------------------------------------------------------------------

    async def prune(
        self,
        *,
        all_images: bool = False,
        partial_older_than: float = DAY,
        partial_max: int | None = None,
        only: Literal["containers", "images"] | None = None,
    ) -> Pruned:
        """Remove containers that have ended, images that no container uses, and partial downloads.

        Of images those without a name, or all; of downloads those that were not continued for so many
        seconds, and of the others the oldest where they are more than `partial_max` bytes. Whole layers of pulls
        that did not end go after the same time, and with `all_images` at once. What somebody uses, or is
        bringing, stays. With `only` it is these. Raises StoreError.
        """
        from aiodocker_lite.prune import prune

        return await prune(
            self.store,
            all_images=all_images,
            partial_older_than=partial_older_than,
            partial_max=partial_max,
            only=only,
        )

    async def usage(self) -> list[Room]:
        """What images, containers and partial downloads take of the disk. Raises StoreError."""
        from aiodocker_lite.prune import usage

        return await to_thread.run_sync(usage, self.store)


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
