"""What an archive holds, as everybody behind this room sees it."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from types import TracebackType
from typing import Final, Literal

from aiodocker_lite.archive.section import Section
from aiodocker_lite.digest import Digest
from aiodocker_lite.manifest import ImageConfig, Manifest
from aiodocker_lite.reference import Reference

Format = Literal["docker-archive", "oci-archive"]
TITLES: Final[Mapping[Format, str]] = {"docker-archive": "a docker archive", "oci-archive": "an OCI archive"}
"""What to call an archive in a sentence."""


@dataclass(frozen=True, slots=True)
class ArchivedImage:
    """One image: its documents were verified, its layers are promised by digest and size only."""

    names: tuple[Reference, ...]
    """What the archive calls it, each with a tag; empty for an image without a name."""
    manifest: Manifest
    config: ImageConfig
    layers: Mapping[Digest, Section]
    misnamed: tuple[str, ...] = ()
    """What the archive calls it besides, and no image can be called."""


@dataclass(frozen=True, slots=True)
class Archive:
    """An open archive. Its sections can be read until it is closed."""

    format: Format
    images: tuple[ArchivedImage, ...]
    _files: ExitStack = field(repr=False)

    def close(self) -> None:
        """Close its files; a temporary copy disappears."""
        self._files.close()

    def __enter__(self) -> Archive:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
