"""An archive of images, from a file, a stream or a directory, opened and understood."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO, Final

from aiodocker_lite.archive import docker, oci
from aiodocker_lite.archive.contents import Contents, DirectoryContents, TarContents
from aiodocker_lite.archive.images import TITLES, Archive, ArchivedImage, Format
from aiodocker_lite.archive.plain import open_plain
from aiodocker_lite.errors import (
    ContentError,
    DigestMismatch,
    InvalidArchive,
    InvalidManifest,
    LimitExceeded,
    SizeMismatch,
    UnsupportedMediaType,
)
from aiodocker_lite.manifest import check_pairs
from aiodocker_lite.platforms import Platform

_ROOT_DIRECTORIES: Final = {
    "bin", "boot", "dev", "etc", "home", "lib", "lib64", "mnt", "opt", "proc", "root", "run", "sbin",
    "srv", "sys", "tmp", "usr", "var",
}  # fmt: skip


def _unwatched(count: int) -> None:
    pass


def read_archive(
    source: Path | BinaryIO,
    *,
    name: str,
    spool: Callable[[], BinaryIO],
    platform: Platform,
    spooled_max: int = 1 << 40,
    on_bytes: Callable[[int], None] = _unwatched,
) -> Archive:
    """Open an archive, find its images and check their documents; blocking, for use in a thread.

    `source` is a file, a directory, or a stream that is read to its end and stays open. `name`
    stands in errors. `spool` gives an empty temporary file, which takes the plain archive if
    `source` is compressed or cannot seek, and may have `spooled_max` bytes. `on_bytes` is called with
    the size of every block that was read, and with 0 while a silent stream is waited for; what
    it raises ends the reading, so it is the place to ask for cancellation.

    Raises InvalidArchive, DigestMismatch, SizeMismatch, UnsupportedMediaType, PlatformNotFound,
    DiskFull, StoreUnwritable.
    """
    with ExitStack() as files:
        contents: Contents
        if isinstance(source, Path) and source.is_dir():
            contents = DirectoryContents(source, name, files)
        else:
            contents = TarContents(open_plain(source, name, spool, spooled_max, on_bytes, files))
        kind = _recognise(contents)
        try:
            images = _images(contents, kind, platform, on_bytes)
            for image in images:
                check_pairs(image.manifest, image.config)
        except ContentError as error:
            raise _in_context(error, name, TITLES[kind]) from error
        return Archive(kind, tuple(images), files.pop_all())


def _images(
    contents: Contents, kind: Format, platform: Platform, on_bytes: Callable[[int], None]
) -> Sequence[ArchivedImage]:
    if contents.find(oci.INDEX) is None:
        return docker.read_images(contents, on_bytes)
    images = oci.read_images(contents, platform)
    if kind == "oci-archive":
        return images
    if not images or any(image.config.diff_ids and not image.manifest.layers for image in images):
        # Docker 25.0.0 wrote OCI manifests without layers; manifest.json has them.
        return docker.read_images(contents, on_bytes)
    names = docker.names_by_id(contents)
    return [
        replace(image, names=tuple(dict.fromkeys((*image.names, *names.get(image.config.digest, ())))))
        for image in images
    ]


def _recognise(contents: Contents) -> Format:
    """What writes such an archive. Raises InvalidArchive, with a guess at what else this is."""
    archive = contents.archive
    marks: tuple[tuple[str, Format], ...] = ((docker.MANIFEST, "docker-archive"), (oci.INDEX, "oci-archive"))
    for path, kind in marks:
        try:
            if contents.find(path) is not None:
                return kind
        except InvalidArchive as error:
            raise _in_context(error, archive, TITLES[kind]) from error
    paths = list(contents.paths())
    if not paths:
        raise InvalidArchive(archive, "it is an empty archive")
    first = {path.partition("/")[0] for path in paths}
    if "repositories" in first:
        reason = "it was saved by Docker before 1.10 (it has 'repositories' and no manifest.json)"
    elif len(first) == 1 and {f"{first.copy().pop()}/{f}" for f in (docker.MANIFEST, oci.INDEX)} & set(paths):
        directory = first.pop()
        reason = f"the image is inside of its directory '{directory}'; make it with tar -C {directory}"
    elif len(first & _ROOT_DIRECTORIES) > 1:
        reason = (
            "this looks like a root file system (docker export); an image has a manifest.json or index.json"
        )
    else:
        reason = "it has neither manifest.json nor index.json, so it is no archive of images"
    if not contents.has_end:
        reason += "; it has no end mark, so it may be incomplete"
    raise InvalidArchive(archive, reason)


def _in_context(error: ContentError, archive: str, title: str) -> ContentError:
    """The same error, saying in what it was found; its class stays where callers may want it."""
    match error:
        case InvalidArchive():
            return InvalidArchive(archive, f"it looks like {title}, but {error.reason}")
        case InvalidManifest() | LimitExceeded():
            return InvalidArchive(archive, f"it looks like {title}, but {error}")
        case DigestMismatch():
            what = f"{error.what} in {archive} ({title})"
            return DigestMismatch(what, error.expected, error.actual)
        case SizeMismatch():
            return SizeMismatch(f"{error.what} in {archive} ({title})", error.expected, error.actual)
        case UnsupportedMediaType():
            return type(error)(f"{error.what} in {archive} ({title})", error.media_type)
        case _:
            return error
