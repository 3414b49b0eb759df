"""Images as values: from {"path": b"content"} to blobs, manifests, indexes and an OCI layout.

app = image(layer({"bin/": b"", "bin/hello": b"..."}), platform="linux/arm64")
write_layout(tmp_path, {"latest": index(app, other, attestation=True)})
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import sys
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from aiodocker_lite.digest import Digest
from aiodocker_lite.manifest import (
    DOCKER_CONFIG,
    DOCKER_LIST,
    DOCKER_MANIFEST,
    OCI_CONFIG,
    OCI_INDEX,
    OCI_LAYER,
    OCI_MANIFEST,
    Descriptor,
)
from aiodocker_lite.platforms import Platform

Compression = Literal["gzip", "zstd", "plain"]
_DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar"
_DOCKER_SUFFIXES = {"gzip": ".gzip", "zstd": ".zstd", "plain": ""}
_OCI_SUFFIXES = {"gzip": "+gzip", "zstd": "+zstd", "plain": ""}


@dataclass(frozen=True)
class Blob:
    """Bytes with a media type; everything in a layout is one."""

    media_type: str
    raw: bytes = field(repr=False)

    @property
    def digest(self) -> Digest:
        return Digest.of(self.raw)

    @property
    def descriptor(self) -> Descriptor:
        return Descriptor(self.media_type, self.digest, len(self.raw))


@dataclass(frozen=True)
class Layer(Blob):
    """A blob that unpacks to a tar with this digest."""

    diff_id: Digest


@dataclass(frozen=True)
class Image:
    """A manifest, and all that it names."""

    manifest: Blob
    config: Blob
    layers: tuple[Layer, ...]
    platform: Platform

    @property
    def top(self) -> Blob:
        """What a tag leads to."""
        return self.manifest

    @property
    def blobs(self) -> tuple[Blob, ...]:
        return (self.config, *self.layers)

    @property
    def documents(self) -> tuple[Blob, ...]:
        """What a registry serves below `manifests/`."""
        return (self.manifest,)


@dataclass(frozen=True)
class Index:
    """A list of images, and perhaps an attestation, as BuildKit pushes it."""

    top: Blob
    images: tuple[Image, ...]

    @property
    def blobs(self) -> tuple[Blob, ...]:
        return tuple(blob for image in self.images for blob in image.blobs)

    @property
    def documents(self) -> tuple[Blob, ...]:
        return (self.top, *(image.manifest for image in self.images))


def layer(
    files: Mapping[str, bytes], compression: Compression = "gzip", *, docker: bool = False, mode: int = 0o644
) -> Layer:
    """A layer with these files; a name that ends in "/" is a directory. For more, see `layer_of`."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, content in files.items():
            entry = tarfile.TarInfo(name.rstrip("/"))
            entry.mtime = 1_600_000_000
            if name.endswith("/"):
                entry.type, entry.mode = tarfile.DIRTYPE, 0o755
            else:
                entry.size, entry.mode = len(content), mode
            tar.addfile(entry, io.BytesIO(content))
    return layer_of(packed.getvalue(), compression, docker=docker)


def layer_of(tar: bytes, compression: Compression = "gzip", *, docker: bool = False) -> Layer:
    """A layer whose tar is made of exactly these bytes."""
    base, suffixes = (_DOCKER_LAYER, _DOCKER_SUFFIXES) if docker else (OCI_LAYER, _OCI_SUFFIXES)
    return Layer(base + suffixes[compression], compress(tar, compression), Digest.of(tar))


def compress(content: bytes, compression: Compression) -> bytes:
    """The same result for the same content, on every run."""
    if compression == "gzip":
        return gzip.compress(content, 6, mtime=0)
    return _zstd(content) if compression == "zstd" else content


def image(
    *layers: Layer,
    platform: str = "linux/amd64",
    docker: bool = False,
    config: Mapping[str, Any] | None = None,
) -> Image:
    """An image of these layers; `config` is the `config` object, such as {"Cmd": ["/bin/sh"]}."""
    where = Platform.parse(platform)
    settings = _blob(
        DOCKER_CONFIG if docker else OCI_CONFIG,
        {
            "architecture": where.architecture,
            "os": where.os,
            **({"variant": where.variant} if where.variant else {}),
            "created": "2020-09-13T12:26:40Z",
            "config": dict(config or {"Cmd": ["/bin/sh"]}),
            "rootfs": {"type": "layers", "diff_ids": [str(each.diff_id) for each in layers]},
            "history": [{"created": "2020-09-13T12:26:40Z", "created_by": "a test"} for _ in layers],
        },
    )
    media_type = DOCKER_MANIFEST if docker else OCI_MANIFEST
    manifest = _blob(
        media_type,
        {
            "schemaVersion": 2,
            "mediaType": media_type,
            "config": settings.descriptor.to_json(),
            "layers": [each.descriptor.to_json() for each in layers],
        },
    )
    return Image(manifest, settings, layers, where)


def index(*images: Image, docker: bool = False, attestation: bool = False) -> Index:
    """An index of these images; `attestation` adds an entry that is no image, for the first of them."""
    entries = [_entry(each, {"platform": _platform(each.platform)}) for each in images]
    if attestation:
        proof = _attestation()
        marks = {
            "vnd.docker.reference.type": "attestation-manifest",
            "vnd.docker.reference.digest": str(images[0].manifest.digest),
        }
        nowhere = {"architecture": "unknown", "os": "unknown"}
        entries.append(_entry(proof, {"platform": nowhere, "annotations": marks}))
        images = (*images, proof)
    media_type = DOCKER_LIST if docker else OCI_INDEX
    return Index(
        _blob(media_type, {"schemaVersion": 2, "mediaType": media_type, "manifests": entries}), images
    )


def write_layout(directory: Path, images: Mapping[str, Image | Index]) -> Path:
    """An OCI image layout with these images by name; returns the directory."""
    blobs = directory / "blobs" / "sha256"
    blobs.mkdir(parents=True, exist_ok=True)
    entries = []
    for name, each in images.items():
        for blob in (*each.blobs, *each.documents):
            (blobs / blob.digest.hex).write_bytes(blob.raw)
        mark = {"org.opencontainers.image.ref.name": name}
        entries.append({**each.top.descriptor.to_json(), "annotations": mark})
    (directory / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    (directory / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": entries}))
    return directory


def noise(size: int, seed: str = "") -> bytes:
    """Bytes that do not compress, the same on every run."""
    return hashlib.shake_128(seed.encode()).digest(size)


def _attestation() -> Image:
    """BuildKit's way to keep a statement about an image where only images can be kept."""
    statement = _blob("application/vnd.in-toto+json", {"_type": "https://in-toto.io/Statement/v0.1"})
    proof = Layer(statement.media_type, statement.raw, statement.digest)
    made = image(proof)
    return Image(made.manifest, made.config, made.layers, Platform("unknown", "unknown"))


def _entry(each: Image, more: Mapping[str, Any]) -> dict[str, Any]:
    return {**each.manifest.descriptor.to_json(), **more}


def _platform(platform: Platform) -> dict[str, str]:
    variant = {"variant": platform.variant} if platform.variant else {}
    return {"architecture": platform.architecture, "os": platform.os, **variant}


def _blob(media_type: str, document: Mapping[str, Any]) -> Blob:
    return Blob(media_type, json.dumps(document).encode())


def _zstd(content: bytes) -> bytes:
    if sys.version_info >= (3, 14):
        from compression import zstd
    else:
        from backports import zstd
    return bytes(zstd.compress(content))
