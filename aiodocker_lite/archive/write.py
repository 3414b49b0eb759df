"""Images of the store into an archive, in one of three formats.

docker          an OCI image layout with docker's manifest.json beside it, as Docker writes it since
                version 25: one archive for whoever reads either. Manifests and blobs are what was pulled,
                byte for byte, so docker before version 23, which reads no zstd, cannot load an image in zstd.
docker-archive  what Docker wrote before: manifest.json, and every layer as an uncompressed tar.
oci-archive     an OCI image layout and nothing else; an image that was pulled with a manifest of
                docker's own type has an OCI one here, of the same configuration and layers.

The file `repositories` is written by none: whatever reads manifest.json ignores it, and Docker reads that
since version 1.10. OCI image specification, image-layout.md; Docker Image Specification v1.2.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias, get_args

from aiodocker_lite.archive.docker import MANIFEST
from aiodocker_lite.archive.oci import FULL_NAME, INDEX, LAYOUT, REF_NAME, blob_path
from aiodocker_lite.archive.pack import Packer, Write
from aiodocker_lite.digest import Digest
from aiodocker_lite.errors import InvalidLayer
from aiodocker_lite.image import Image
from aiodocker_lite.inflate import Damaged, compression_of, decompressed
from aiodocker_lite.manifest import OCI_INDEX, Descriptor, as_oci, check_pairs

SavedFormat: TypeAlias = Literal["docker", "docker-archive", "oci-archive"]
FORMATS: tuple[SavedFormat, ...] = get_args(SavedFormat)
ReadBlob: TypeAlias = Callable[[Descriptor], Iterator[bytes]]
"""The bytes of a blob in blocks, checked against its descriptor; to be read to the end."""

_Paths: TypeAlias = tuple[str, list[str]]
"""Where the configuration and the layers of an image are in the archive."""


@dataclass(frozen=True, slots=True)
class _Member:
    """A file of the archive: bytes, or a layer that is read when its turn comes."""

    path: str
    content: bytes | Descriptor
    inflated: bool = False


def write_archive(images: Sequence[Image], format: SavedFormat, read_blob: ReadBlob, write: Write) -> None:
    """Write an archive of these images, each under the names it has; blocking, for use in a thread.

    The same images in the same order are the same bytes. Memory is bounded by the size of a
    block: a layer that is to be inflated is read twice, for its size stands before its content.
    Raises InvalidLayer, and what `read_blob` and `write` raise.
    """
    if format == "oci-archive":
        images = [replace(image, manifest=as_oci(image.manifest)) for image in images]
    if format == "docker-archive":
        documents = [_manifest_json(images, _classic_paths)]
        members = [member for image in images for member in _classic(image)]
    else:
        documents = [_Member(LAYOUT, _json({"imageLayoutVersion": "1.0.0"})), _index(images)]
        if format == "docker":
            documents.append(_manifest_json(images, _layout_paths))
        members = [member for image in images for member in _blobs(image)]
    # What says what there is stands first, for readers that cannot go back.
    unique = {member.path: member for member in members}
    packer = Packer(write)
    for member in (*documents, *(unique[path] for path in sorted(unique))):
        _pack(packer, member, read_blob)
    packer.end()


def _pack(packer: Packer, member: _Member, read_blob: ReadBlob) -> None:
    content = member.content
    if isinstance(content, bytes):
        packer.file(member.path, len(content), (content,))
    elif member.inflated:
        size = sum(len(block) for block in _inflated(content, read_blob))
        packer.file(member.path, size, _inflated(content, read_blob))
    else:
        packer.file(member.path, content.size, read_blob(content))


def _inflated(layer: Descriptor, read_blob: ReadBlob) -> Iterator[bytes]:
    """The tar of a layer, whatever its media type says."""
    blocks = read_blob(layer)
    first = next(blocks, b"")
    kind = compression_of(first)
    rest = _chain(first, blocks)
    try:
        yield from decompressed(rest, kind) if kind else rest
    except Damaged as error:
        raise InvalidLayer(layer.digest.short, str(error)) from error


def _chain(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    yield first
    yield from rest


# --- an OCI image layout -------------------------------------------------------------------------


def _index(images: Sequence[Image]) -> _Member:
    entries = []
    for image in images:
        for name in image.names or (None,):
            # The full name in both: a bare tag, as docker has it in the second, may stand for several images.
            annotations = {FULL_NAME: str(name), REF_NAME: str(name)} if name else {}
            entries.append(replace(image.manifest.descriptor, annotations=annotations).to_json())
    return _Member(INDEX, _json({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}))


def _blobs(image: Image) -> Iterator[_Member]:
    for document in (image.manifest, image.config):
        yield _Member(blob_path(document.digest), document.raw)
    for layer in image.manifest.layers:
        yield _Member(blob_path(layer.digest), layer)


def _layout_paths(image: Image) -> _Paths:
    return blob_path(image.config.digest), [blob_path(layer.digest) for layer in image.manifest.layers]


# --- as docker saved before ----------------------------------------------------------------------


def _classic(image: Image) -> Iterator[_Member]:
    config, layers = _classic_paths(image)
    yield _Member(config, image.config.raw)
    for path, (layer, _) in zip(layers, check_pairs(image.manifest, image.config), strict=True):
        yield _Member(path, layer, inflated=True)


def _classic_paths(image: Image) -> _Paths:
    return f"{image.config.digest.hex}.json", [
        f"{diff_id.hex}/layer.tar" for diff_id in image.config.diff_ids
    ]


# --- manifest.json -------------------------------------------------------------------------------


def _manifest_json(images: Sequence[Image], paths: Callable[[Image], _Paths]) -> _Member:
    entries: dict[Digest, dict[str, Any]] = {}
    for image in images:
        config, layers = paths(image)
        # Packed in two ways, it is one image all the same.
        entry = entries.setdefault(
            image.config.digest, {"Config": config, "RepoTags": None, "Layers": layers}
        )
        # In full: of a short name, podman makes one of localhost.
        entry["RepoTags"] = [*(entry["RepoTags"] or ()), *map(str, image.names)] or None
    return _Member(MANIFEST, _json(list(entries.values())))


def _json(document: object) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode()
