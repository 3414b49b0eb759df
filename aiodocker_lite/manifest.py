"""Manifests, indexes and image configurations: from bytes to values, and nothing by halves.

OCI image specification 1.1 (manifest.md, image-index.md, config.md) and Docker's "Image
Manifest V2, Schema 2". A document keeps its bytes: its digest is of these, so it is never
serialised again.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from aiodocker_lite.digest import Digest
from aiodocker_lite.errors import InvalidManifest, LimitExceeded, PlatformNotFound, UnsupportedMediaType
from aiodocker_lite.platforms import Platform, best_match
from aiodocker_lite.verify import verify

OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"

INDEXES = (OCI_INDEX, DOCKER_LIST)
MANIFESTS = (OCI_MANIFEST, DOCKER_MANIFEST)
_CONFIGS = (OCI_CONFIG, DOCKER_CONFIG)
_LAYERS = ("application/vnd.oci.image.layer.", "application/vnd.docker.image.rootfs.")
_FOREIGN = (
    "application/vnd.oci.image.layer.nondistributable.",
    "application/vnd.docker.image.rootfs.foreign.",
)

DOCUMENT_MAX = 4 * 1024 * 1024
"""Bytes of the largest manifest, index or configuration that is read."""
_ENTRIES_MAX = 10_000
_SIZE_MAX = 2**62

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Descriptor:
    """A promise about bytes: their type, digest and exact size (OCI descriptor.md)."""

    media_type: str
    digest: Digest
    size: int
    platform: Platform | None = None
    urls: tuple[str, ...] = ()
    annotations: Mapping[str, str] = field(default_factory=dict, hash=False)

    @property
    def is_foreign(self) -> bool:
        """A layer that registries may not distribute, such as those of Windows: `urls` say where it is."""
        return self.media_type.startswith(_FOREIGN)

    @classmethod
    def from_json(cls, entry: dict[str, Any], what: str) -> Descriptor:
        """Read what the specification writes; `what` names the place in InvalidManifest."""
        size = entry.get("size")
        if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size < _SIZE_MAX:
            raise InvalidManifest(what, f"its size is '{size}'")
        platform: dict[str, Any] = _member(entry, "platform", dict, what, {})
        return cls(
            _member(entry, "mediaType", str, what, ""),
            Digest.parse(entry.get("digest"), what),
            size,
            _platform(platform, what) if platform else None,
            _strings(entry, "urls", what),
            _string_map(entry, "annotations", what),
        )

    def to_json(self) -> dict[str, Any]:
        """The descriptor as the specification writes it."""
        out: dict[str, Any] = {"mediaType": self.media_type, "digest": str(self.digest), "size": self.size}
        if self.platform:
            out["platform"] = {"os": self.platform.os, "architecture": self.platform.architecture}
            if self.platform.variant:
                out["platform"]["variant"] = self.platform.variant
        if self.annotations:
            out["annotations"] = dict(self.annotations)
        return out


@dataclass(frozen=True, slots=True)
class Index:
    """A list of manifests, usually one for each platform."""

    raw: bytes = field(repr=False)
    digest: Digest
    media_type: str
    manifests: tuple[Descriptor, ...]


@dataclass(frozen=True, slots=True)
class Manifest:
    """One image for one platform: a configuration and its layers, lowest first."""

    raw: bytes = field(repr=False)
    digest: Digest
    media_type: str
    config: Descriptor
    layers: tuple[Descriptor, ...]

    @property
    def descriptor(self) -> Descriptor:
        """What promises these very bytes."""
        return Descriptor(self.media_type, self.digest, len(self.raw))


@dataclass(frozen=True, slots=True, kw_only=True)
class RunDefaults:
    """What the image says about running it (config.md, the `config` object)."""

    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    env: tuple[str, ...] = ()
    user: str = ""
    working_dir: str = ""
    stop_signal: str = ""
    volumes: tuple[str, ...] = ()
    exposed_ports: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, slots=True)
class ImageConfig:
    """The configuration: its digest is the image ID, its diff IDs name the unpacked layers."""

    raw: bytes = field(repr=False)
    digest: Digest
    platform: Platform
    diff_ids: tuple[Digest, ...]
    defaults: RunDefaults
    created: str = ""


def parse_manifest(raw: bytes, promised: Descriptor) -> Manifest | Index:
    """Check bytes against their descriptor and read them.

    Raises SizeMismatch, DigestMismatch, InvalidManifest, UnsupportedMediaType, LimitExceeded.
    """
    what = f"manifest {promised.digest.short}"
    document = _checked_document(raw, promised, what)
    media_type = document.get("mediaType", promised.media_type)
    if not isinstance(media_type, str):
        raise InvalidManifest(what, "its mediaType is not a string")
    if "layers" in document and "manifests" in document:
        # CVE-2021-41190: one document, two meanings.
        raise InvalidManifest(what, "it has both layers and manifests")
    if promised.media_type in INDEXES + MANIFESTS and media_type != promised.media_type:
        raise InvalidManifest(what, f"it says it is '{media_type}' and was sent as '{promised.media_type}'")
    if document.get("schemaVersion") == 1 or "fsLayers" in document:
        raise UnsupportedMediaType(f"{what} (pushed by Docker before 1.10; push it again)", "schema 1")
    if document.get("schemaVersion") != 2:
        raise InvalidManifest(what, "its schemaVersion is not 2")
    if media_type in INDEXES:
        return Index(
            raw, promised.digest, media_type, _descriptors(document, "manifests", what, Descriptor.from_json)
        )
    if media_type in MANIFESTS:
        config = Descriptor.from_json(_member(document, "config", dict, what), f"{what}, config")
        if config.media_type not in _CONFIGS:
            raise UnsupportedMediaType(f"{what} is not a container image; its config", config.media_type)
        layers = _descriptors(document, "layers", what, _layer_entry)
        return Manifest(raw, promised.digest, media_type, config, layers)
    raise UnsupportedMediaType(what, media_type)


def parse_config(raw: bytes, promised: Descriptor) -> ImageConfig:
    """Check an image configuration against its descriptor and read it.

    Raises SizeMismatch, DigestMismatch, InvalidManifest, LimitExceeded.
    """
    what = f"image configuration {promised.digest.short}"
    document = _checked_document(raw, promised, what)
    rootfs = _member(document, "rootfs", dict, what)
    diff_ids = _member(rootfs, "diff_ids", list, what)
    return ImageConfig(
        raw,
        promised.digest,
        Platform(
            _member(document, "os", str, what, "linux"),
            _member(document, "architecture", str, what, ""),
            _member(document, "variant", str, what, "") or None,
        ),
        tuple(Digest.parse(text, f"{what}, diff ID") for text in diff_ids),
        _run_defaults(_member(document, "config", dict, what, {}), what),
        _member(document, "created", str, what, ""),
    )


def choose_platform(index: Index, wanted: Platform) -> Descriptor:
    """The entry of an index that suits a platform. Raises PlatformNotFound, which lists what there is."""
    images = [entry for entry in index.manifests if not _is_attestation(entry)]
    position = best_match(wanted, [entry.platform for entry in images])
    if position is not None:
        return images[position]
    if len(images) == 1 and images[0].platform is None:
        return images[0]
    raise PlatformNotFound(str(wanted), tuple(dict.fromkeys(str(e.platform) for e in images if e.platform)))


def check_pairs(manifest: Manifest, config: ImageConfig) -> tuple[tuple[Descriptor, Digest], ...]:
    """Each layer with the digest of its uncompressed bytes. Raises InvalidManifest if they do not pair."""
    if len(manifest.layers) != len(config.diff_ids):
        raise InvalidManifest(
            f"manifest {manifest.digest.short}",
            f"it has {len(manifest.layers)} layers, and its configuration {len(config.diff_ids)} diff IDs",
        )
    return tuple(zip(manifest.layers, config.diff_ids, strict=True))


def as_oci(manifest: Manifest) -> Manifest:
    """The same image as an OCI manifest: what an OCI image layout may list.

    Configuration and layers are the same bytes; only their media types are said in OCI's words.
    """
    if manifest.media_type == OCI_MANIFEST:
        return manifest
    config = Descriptor(OCI_CONFIG, manifest.config.digest, manifest.config.size)
    layers = tuple(Descriptor(_oci_layer(b.media_type), b.digest, b.size) for b in manifest.layers)
    document = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": config.to_json(),
        "layers": [layer.to_json() for layer in layers],
    }
    raw = json.dumps(document).encode()
    return Manifest(raw, Digest.of(raw), OCI_MANIFEST, config, layers)


def _oci_layer(media_type: str) -> str:
    """Docker's ``….diff.tar.gzip`` in OCI's spelling, ``….v1.tar+gzip``."""
    _, tar, compression = media_type.rpartition("diff.tar")
    if not tar:
        return media_type
    return OCI_LAYER + compression.replace(".", "+", 1)


def _checked_document(raw: bytes, promised: Descriptor, what: str) -> dict[str, Any]:
    if len(raw) > DOCUMENT_MAX:
        raise LimitExceeded(f"the size of {what}", DOCUMENT_MAX, len(raw))
    verify(what, raw, promised.digest, promised.size)
    return parse_object(raw, what)


def parse_object(raw: bytes, what: str) -> dict[str, Any]:
    """Read one JSON object; a key that stands twice is refused, for two readers would differ."""

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            raise ValueError("a key stands twice")
        return found

    try:
        document = json.loads(raw, object_pairs_hook=once)
    except (ValueError, RecursionError) as error:
        raise InvalidManifest(what, f"it is not JSON ({str(error) or 'nested too deep'})") from error
    if not isinstance(document, dict):
        raise InvalidManifest(what, "it is not a JSON object")
    return document


def _member(document: dict[str, Any], key: str, kind: type[T], what: str, default: T | None = None) -> T:
    """One member of the right type; null is absent, as Go writes it."""
    value = document.get(key)
    if value is None:
        if default is None:
            raise InvalidManifest(what, f"it has no '{key}'")
        return default
    if not isinstance(value, kind):
        raise InvalidManifest(what, f"its '{key}' is a {type(value).__name__}, not a {kind.__name__}")
    return value


def _strings(document: dict[str, Any], key: str, what: str) -> tuple[str, ...]:
    values: list[Any] = _member(document, key, list, what, [])
    if not all(isinstance(value, str) for value in values):
        raise InvalidManifest(what, f"its '{key}' is not a list of strings")
    return tuple(values)


def _string_map(document: dict[str, Any], key: str, what: str) -> dict[str, str]:
    found: dict[str, Any] = _member(document, key, dict, what, {})
    if not all(isinstance(value, str) for value in found.values()):
        raise InvalidManifest(what, f"its '{key}' is not a map of strings")
    return found


def _command(document: dict[str, Any], key: str, what: str) -> tuple[str, ...]:
    # Very old images have a plain string where a list belongs.
    if isinstance(document.get(key), str):
        return (document[key],)
    return _strings(document, key, what)


def _run_defaults(config: dict[str, Any], what: str) -> RunDefaults:
    return RunDefaults(
        entrypoint=_command(config, "Entrypoint", what),
        command=_command(config, "Cmd", what),
        env=_strings(config, "Env", what),
        user=_member(config, "User", str, what, ""),
        working_dir=_member(config, "WorkingDir", str, what, ""),
        stop_signal=_member(config, "StopSignal", str, what, ""),
        volumes=tuple(_member(config, "Volumes", dict, what, {})),
        exposed_ports=tuple(_member(config, "ExposedPorts", dict, what, {})),
        labels=_string_map(config, "Labels", what),
    )


def _descriptors(
    document: dict[str, Any], key: str, what: str, read: Callable[[dict[str, Any], str], Descriptor]
) -> tuple[Descriptor, ...]:
    # An empty list is null, as Go writes it; without the key it is something else.
    entries: list[Any] = _member(document, key, list, what, [] if key in document else None)
    if len(entries) > _ENTRIES_MAX:
        raise LimitExceeded(f"the number of {key} in {what}", _ENTRIES_MAX, len(entries))
    for entry in entries:
        if not isinstance(entry, dict):
            raise InvalidManifest(what, f"an entry of its '{key}' is not an object")
    return tuple(read(entry, f"{what}, {key}[{position}]") for position, entry in enumerate(entries))


def _platform(entry: dict[str, Any], what: str) -> Platform:
    return Platform(
        _member(entry, "os", str, what, ""),
        _member(entry, "architecture", str, what, ""),
        _member(entry, "variant", str, what, "") or None,
    )


def _layer_entry(entry: dict[str, Any], what: str) -> Descriptor:
    layer = Descriptor.from_json(entry, what)
    if not layer.media_type.startswith(_LAYERS):
        raise UnsupportedMediaType(what, layer.media_type)
    return layer


def _is_attestation(entry: Descriptor) -> bool:
    """BuildKit keeps provenance and SBOMs in an index as images for the platform unknown/unknown."""
    platform = entry.platform
    return (platform is not None and platform.os == "unknown") or (
        "vnd.docker.reference.type" in entry.annotations
    )
