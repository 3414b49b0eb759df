"""What a prefetch is going to bring, and what came of it: plain data, from JSON and to it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from aiodocker_lite import records
from aiodocker_lite.errors import InvalidOption
from aiodocker_lite.events import PlanReady


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A manifest or a configuration."""

    media_type: str
    digest: str
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedLayer:
    """One layer of an image, and what of it is on this machine."""

    digest: str
    diff_id: str
    size: int
    have: int = 0
    """Bytes of its blob that need not be fetched."""
    unpacked: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedImage:
    """One image that can be brought."""

    name: str
    digest: str
    """What the registry gave for the name: of an index, where there is one."""
    platform: str
    manifest: Document
    config: Document
    layers: tuple[PlannedLayer, ...]
    sources: tuple[str, ...] = ()
    here: bool = False
    """All of it is here under this name, and up to date."""

    @property
    def size(self) -> int:
        """Compressed bytes of its layers."""
        return sum({layer.digest: layer.size for layer in self.layers}.values())

    @property
    def missing(self) -> int:
        """Bytes to fetch, if it were the only one."""
        return sum({layer.digest: layer.size - layer.have for layer in self.layers}.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """One image that cannot be had, and why."""

    name: str
    platform: str | None = None
    """Where another one than the default was asked for."""
    sources: tuple[str, ...] = ()
    error: str
    """The slug of the error."""
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Pulls:
    """How many manifests one registry is asked for, and how many it still gives, where it has said so."""

    registry: str
    needed: int
    left: int | None = None
    limit: int | None = None
    window: int | None = None
    """Seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """All images of a job."""

    images: tuple[PlannedImage, ...] = ()
    failures: tuple[Failure, ...] = ()
    pulls: tuple[Pulls, ...] = ()

    @property
    def layers(self) -> tuple[PlannedLayer, ...]:
        """Every layer once."""
        found: dict[str, PlannedLayer] = {}
        for image in self.images:
            for layer in image.layers:
                # What is known later may already be here because of an earlier image.
                found.setdefault(layer.digest, layer)
        return tuple(found.values())

    @property
    def shared(self) -> tuple[PlannedLayer, ...]:
        """Layers that are in more than one image; one image under several names is one."""
        images = {image.manifest.digest: {layer.digest for layer in image.layers} for image in self.images}
        counts = Counter(digest for layers in images.values() for digest in layers)
        return tuple(layer for layer in self.layers if counts[layer.digest] > 1)

    @property
    def missing(self) -> int:
        """Bytes to fetch."""
        return sum(layer.size - layer.have for layer in self.layers)

    @property
    def disk(self) -> int:
        """Bytes that are needed at least: nobody knows how large layers will be, but hardly smaller than their blobs."""
        return self.missing + sum(layer.size for layer in self.layers if not layer.unpacked)

    def totals(self) -> PlanReady:
        """What it all adds up to."""
        unique = sum(layer.size for layer in self.layers)
        return PlanReady(
            images=len(self.images),
            failed=len(self.failures),
            layers=len(self.layers),
            shared=len(self.shared),
            total=sum(image.size for image in self.images),
            unique=unique,
            have=unique - self.missing,
            disk=self.disk,
        )

    def to_json(self) -> dict[str, Any]:
        """As an object for JSON."""
        found: dict[str, Any] = records.to_json(self)
        return found

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> Plan:
        """What `to_json` gave. Raises InvalidOption."""
        try:
            return records.from_json(cls, found)
        except (TypeError, AttributeError) as error:
            raise InvalidOption("plan", f"it is no plan: {error}") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Brought:
    """One image that is here."""

    name: str
    digest: str
    platform: str
    fetched: bool
    """False where all of it was here before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What came of a job: each image that is here, and each that is not, with its reason."""

    plan: Plan
    images: tuple[Brought, ...]
    failures: tuple[Failure, ...]
    fetched: int
    """Bytes of layers that came over the network."""
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """As an object for JSON."""
        found: dict[str, Any] = records.to_json(self)
        return found
