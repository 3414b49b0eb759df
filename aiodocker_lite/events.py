"""What a pull, a prefetch, a load or a run reports while it works: one closed union of small values.

A callback is called on the event loop and must not block; byte counts are reported at most
once for every batch that is written.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from aiodocker_lite.digest import Digest
from aiodocker_lite.errors import InvalidOption
from aiodocker_lite.manifest import Descriptor
from aiodocker_lite.platforms import Platform


@dataclass(frozen=True, slots=True)
class Resolved:
    """The name is a digest now, and the layers are known."""

    name: str
    digest: Digest
    platform: Platform
    layers: tuple[Descriptor, ...]


@dataclass(frozen=True, slots=True)
class LayerStarted:
    """A layer is wanted; `have` bytes of it were kept from an earlier try."""

    layer: Digest
    size: int
    have: int


@dataclass(frozen=True, slots=True)
class LayerExists:
    """Nothing to do: the layer is in the store."""

    layer: Digest
    size: int


@dataclass(frozen=True, slots=True)
class LayerDownloaded:
    """So many bytes of the layer are on disk, of `size`."""

    layer: Digest
    received: int
    size: int


@dataclass(frozen=True, slots=True)
class LayerUnpacked:
    """So many compressed bytes of the layer went through the unpacker, of `size`."""

    layer: Digest
    consumed: int
    size: int


@dataclass(frozen=True, slots=True)
class LayerReady:
    """The layer is verified, unpacked and durable."""

    layer: Digest
    size: int
    entries: int


@dataclass(frozen=True, slots=True)
class Waiting:
    """Another process is at work on this content; we continue when it is done."""

    layer: Digest


@dataclass(frozen=True, slots=True)
class Retrying:
    """A request failed and is tried again after `pause` seconds."""

    what: str
    reason: str
    pause: float
    asked: float = 0.0
    """How many seconds whoever answered asked for, with `Retry-After`; at most a minute."""


@dataclass(frozen=True, slots=True)
class ImageReady:
    """The image can be run; `fetched` is False where everything was there already."""

    name: str
    digest: Digest
    fetched: bool


@dataclass(frozen=True, slots=True)
class Quota:
    """How many pulls a registry still allows, by its own account; `window` is in seconds."""

    registry: str
    left: int
    limit: int
    window: int
    reset: float | None = None
    """Seconds until it starts anew, where that is said."""

    @property
    def renewal(self) -> float:
        """Seconds until there are as many as ever: a whole window where nothing more is known."""
        return self.window if self.reset is None else self.reset

    @property
    def is_scarce(self) -> bool:
        """Less than a fifth is left."""
        return 5 * self.left < self.limit


@dataclass(frozen=True, slots=True)
class ImagePlanned:
    """Of an image that is wanted, everything is known; `here` is True where nothing needs to be brought."""

    name: str
    digest: Digest
    platform: Platform
    layers: tuple[Descriptor, ...]
    here: bool


@dataclass(frozen=True, slots=True)
class PlanReady:
    """What many images add up to. A shared layer is in more than one of them; `unique` bytes count it once.

    `have` of these are here, and `disk` more are needed at least, for blobs and unpacked layers.
    """

    images: int
    failed: int
    layers: int
    shared: int
    total: int
    unique: int
    have: int
    disk: int


@dataclass(frozen=True, slots=True)
class ImageFailed:
    """This image will not be ready; the others go on."""

    name: str
    error: str
    """The slug of the error."""
    reason: str


@dataclass(frozen=True, slots=True)
class JobProgress:
    """How many images a job has, and what has become of them; the rest is on its way."""

    images: int
    ready: int
    failed: int


@dataclass(frozen=True, slots=True)
class Notice:
    """Something a user should know, as one sentence."""

    text: str


Event: TypeAlias = (
    Resolved
    | LayerStarted
    | LayerExists
    | LayerDownloaded
    | LayerUnpacked
    | LayerReady
    | Waiting
    | Retrying
    | ImageReady
    | Quota
    | ImagePlanned
    | PlanReady
    | ImageFailed
    | JobProgress
    | Notice
)
Progress: TypeAlias = Callable[[Event], None]


def ignore(event: Event) -> None:
    """The progress of somebody who does not watch."""


def check(progress: Progress) -> None:
    """Raise InvalidOption for what would not be called, or be called and never awaited."""
    if not callable(progress):
        raise InvalidOption("progress", f"{progress!r} cannot be called")
    call = getattr(progress, "__call__", None)  # noqa: B004 (of an object with such a method)
    if inspect.iscoroutinefunction(progress) or inspect.iscoroutinefunction(call):
        raise InvalidOption("progress", "it is called and not awaited; give it a function that is not async")
