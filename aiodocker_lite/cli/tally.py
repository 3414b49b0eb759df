"""What the events of a job add up to: bytes, layers, images, rate and what is left.

One image or many: a layer that several of them share is one layer.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from enum import StrEnum
from typing import assert_never

from aiodocker_lite.digest import Digest
from aiodocker_lite.events import (
    Event,
    ImageFailed,
    ImagePlanned,
    ImageReady,
    JobProgress,
    LayerDownloaded,
    LayerExists,
    LayerReady,
    LayerStarted,
    LayerUnpacked,
    Notice,
    PlanReady,
    Quota,
    Resolved,
    Retrying,
    Waiting,
)

_WINDOW = 10.0
"""Seconds that the rate looks back."""
_SAMPLE = 0.2
_SOONEST = 0.5
"""A rate over fewer seconds than this says nothing."""


class Phase(StrEnum):
    """What happens to a layer at this moment."""

    DOWNLOADING = "downloading"
    UNPACKING = "unpacking"
    WAITING = "waiting for another pull"


@dataclass(slots=True)
class Layer:
    """How far one layer is; all sizes are compressed bytes."""

    digest: Digest
    size: int
    kept: int = 0
    """Bytes that were here before."""
    received: int = 0
    unpacked: int = 0
    started: bool = False
    waiting: bool = False
    exists: bool = False
    ready: bool = False

    @property
    def finished(self) -> bool:
        """Whether nothing is left to do."""
        return self.ready or self.exists

    @property
    def phase(self) -> Phase | None:
        """None for a layer that is finished, or that nobody is at work on."""
        if self.finished:
            return None
        if self.waiting:
            return Phase.WAITING
        if self.started and self.received < self.size:
            return Phase.DOWNLOADING
        return Phase.UNPACKING if self.unpacked else None

    @property
    def remaining(self) -> int:
        """Bytes that must still pass, once through the network and once through the unpacker."""
        return 2 * self.size - self.received - self.unpacked


@dataclass(frozen=True, slots=True)
class Arrived:
    """An image that is ready, and what it took."""

    name: str
    fetched: bool
    seconds: float
    size: int
    """Compressed bytes of its layers."""
    kept: int
    """How many of them were here before."""


@dataclass(frozen=True, slots=True)
class _Open:
    """An image on its way."""

    layers: frozenset[Digest]
    began: float


class Tally:
    """Takes events, answers questions; knows the time only as it is told."""

    def __init__(self, now: float) -> None:
        self._layers: dict[Digest, Layer] = {}
        self._open: dict[tuple[str, Digest], _Open] = {}
        self._idle_since = now
        self.transferred = 0
        """Bytes that came in, also those that were thrown away."""
        self._samples: deque[tuple[float, int]] = deque()
        self.images_ready = 0
        self.images_failed = 0
        self.images_wanted = 0
        """Of a job that has said so."""

    def add(self, event: Event, now: float) -> Arrived | None:
        """Count one event; the last one of an image gives a summary of it."""
        match event:
            case Resolved():
                began = now if self._open else self._idle_since
                layers = [self._layer(layer.digest, layer.size).digest for layer in event.layers]
                self._open[event.name, event.digest] = _Open(frozenset(layers), began)
            case LayerStarted():
                layer = self._layer(event.layer, event.size)
                layer.started = True
                layer.waiting = layer.exists = layer.ready = False
                layer.kept = layer.received = event.have
                layer.unpacked = min(layer.unpacked, event.have)
                self._sample(now)
            case LayerDownloaded():
                layer = self._layer(event.layer, event.size)
                self.transferred += max(0, event.received - layer.received)
                layer.received = event.received
                self._sample(now)
            case LayerUnpacked():
                layer = self._layer(event.layer, event.size)
                layer.waiting = False
                layer.unpacked = event.consumed
                if not layer.started:
                    # Bytes of an earlier run, or a blob that only has to be unpacked.
                    layer.kept = layer.received = event.consumed
            case LayerReady():
                layer = self._layer(event.layer, event.size)
                layer.ready, layer.waiting = True, False
                layer.kept = layer.kept if layer.started else layer.size
                layer.received = layer.unpacked = layer.size
            case LayerExists():
                layer = self._layer(event.layer, event.size)
                # For the second image that shares it, a layer exists because the first one brought it.
                layer.exists, layer.waiting = not layer.ready, False
            case Waiting():
                found = self._layers.get(event.layer)
                # It may be the pull of another image by this process: locks do not tell.
                if found is not None and not found.started and not found.finished:
                    found.waiting = True
            case ImageReady():
                return self._arrive(event, now)
            case ImageFailed():
                self.drop(event.name)
            case JobProgress():
                self.images_wanted, self.images_failed = event.images, event.failed
            case Retrying() | Quota() | Notice() | ImagePlanned() | PlanReady():
                pass
            case _:
                assert_never(event)
        return None

    def drop(self, name: str) -> None:
        """This image will not arrive, nor will the layers that only it wants."""
        gone = [key for key in self._open if key[0] == name]
        layers = {digest for key in gone for digest in self._open.pop(key).layers}
        for digest in layers.difference(*(image.layers for image in self._open.values())):
            if not self._layers[digest].finished:
                del self._layers[digest]

    @property
    def busy(self) -> bool:
        """Whether an image is on its way."""
        return bool(self._open)

    @property
    def images(self) -> int:
        """Images that are wanted, as far as anybody has heard."""
        return max(self.images_wanted, self.images_ready + len(self._open))

    @property
    def names(self) -> list[str]:
        """Images on their way."""
        return [name for name, _ in self._open]

    @property
    def wanted(self) -> list[Layer]:
        """Layers that are, or were, to be fetched: all but those that existed."""
        return [layer for layer in self._layers.values() if not layer.exists]

    @property
    def total(self) -> int:
        """Compressed bytes of all wanted layers."""
        return sum(layer.size for layer in self.wanted)

    @property
    def received(self) -> int:
        """How many of them are on this machine."""
        return sum(layer.received for layer in self.wanted)

    @property
    def unpacked(self) -> int:
        """How many of them went through the unpacker."""
        return sum(layer.unpacked for layer in self.wanted)

    def active(self) -> list[Layer]:
        """Layers that we are at work on, the one with most left to do first."""
        ours = (Phase.DOWNLOADING, Phase.UNPACKING)
        found = [layer for layer in self._layers.values() if layer.phase in ours]
        # Equal within a factor of two is equal: a list that swaps its lines all the time cannot be read.
        return sorted(found, key=lambda layer: -layer.remaining.bit_length())

    def pending(self) -> int:
        """How many layers are not finished."""
        return sum(not layer.finished for layer in self._layers.values())

    def waiting(self) -> int:
        """How many layers another pull brings."""
        return sum(layer.phase is Phase.WAITING for layer in self._layers.values())

    def rate(self, now: float) -> float | None:
        """Bytes a second over the last seconds; None while it is too early to tell."""
        if not self._samples:
            return None
        self._sample(now)  # when nothing comes in, that is to be seen, too
        # The youngest sample outside of the window is the one to compare with.
        while len(self._samples) > 1 and self._samples[1][0] <= now - _WINDOW:
            self._samples.popleft()
        since, then = self._samples[0]
        return (self.transferred - then) / (now - since) if now - since >= _SOONEST else None

    def eta(self, now: float) -> float | None:
        """Seconds until the last byte is here, if it goes on like this."""
        rate = self.rate(now)
        return (self.total - self.received) / rate if rate else None

    def _layer(self, digest: Digest, size: int) -> Layer:
        return self._layers.setdefault(digest, Layer(digest, size))

    def _sample(self, now: float) -> None:
        if not self._samples or now - self._samples[-1][0] >= _SAMPLE:
            self._samples.append((now, self.transferred))

    def _arrive(self, event: ImageReady, now: float) -> Arrived:
        # An archive's image may get another name than it was announced with; its digest stays.
        keys = [key for key in self._open if key[1] == event.digest]
        key = (event.name, event.digest) if (event.name, event.digest) in keys else next(iter(keys), None)
        image = self._open.pop(key) if key else _Open(frozenset(), now if self._open else self._idle_since)
        self.images_ready += 1
        if not self._open:
            self._idle_since = now
        layers = [self._layers[digest] for digest in image.layers if digest in self._layers]
        return Arrived(
            event.name,
            event.fetched,
            now - image.began,
            sum(layer.size for layer in layers),
            sum(layer.size if layer.exists else layer.kept for layer in layers),
        )
