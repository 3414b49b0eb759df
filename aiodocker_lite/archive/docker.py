"""manifest.json, as `docker save` writes it: classic, or beside an OCI layout since Docker 25.

Docker Image Specification v1.2, "Combined Image JSON + Filesystem Changeset Format". It has no
manifest in the sense of a registry; one is made here, the same one for the same archive.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from aiodocker_lite.archive.contents import Contents, document, require, whole
from aiodocker_lite.archive.images import ArchivedImage
from aiodocker_lite.archive.section import Section
from aiodocker_lite.digest import Digest
from aiodocker_lite.errors import (
    DigestMismatch,
    InvalidArchive,
    InvalidReference,
    UnsupportedCompression,
)
from aiodocker_lite.inflate import SNIFFED, compression_of, unsupported_of
from aiodocker_lite.manifest import (
    DOCUMENT_MAX,
    OCI_CONFIG,
    OCI_LAYER,
    OCI_MANIFEST,
    Descriptor,
    ImageConfig,
    Manifest,
    parse_config,
    parse_manifest,
)
from aiodocker_lite.reference import Reference

MANIFEST = "manifest.json"
_MANIFEST_MAX = 1 << 20
_BLOBS = "blobs/"


@dataclass(frozen=True, slots=True)
class Entry:
    """One image of manifest.json: names, and paths in the archive."""

    names: tuple[Reference, ...]
    config: str
    layers: tuple[str, ...]


def read_entries(contents: Contents) -> tuple[Entry, ...]:
    """Read manifest.json. Raises InvalidArchive.

    An empty list is an archive without images, as Docker has it; null is refused, as by Docker.
    """
    entries = _parse(document(contents, MANIFEST, _MANIFEST_MAX), contents.archive)
    return tuple(_entry(entry, contents.archive) for entry in entries)


def read_images(contents: Contents, on_bytes: Callable[[int], None]) -> list[ArchivedImage]:
    """Every image of manifest.json; all of every layer is read, for nothing else says its digest.

    Raises InvalidArchive, DigestMismatch, InvalidManifest, UnsupportedMediaType.
    """
    once = _Once(on_bytes)
    return [_image(contents, entry, once) for entry in read_entries(contents)]


def names_by_id(contents: Contents) -> Mapping[Digest, tuple[Reference, ...]]:
    """The names that manifest.json gives, by image ID: of the bytes, whatever their path says (A01)."""
    names: dict[Section, list[Reference]] = {}
    for entry in read_entries(contents):
        # A platform that was not saved may be listed all the same.
        if (config := contents.find(entry.config)) is not None and config.size <= DOCUMENT_MAX:
            names.setdefault(config, []).extend(entry.names)
    return {Digest.of(config.read_at(0, config.size)): tuple(found) for config, found in names.items()}


class _Once:
    """What costs time, done once for each file, for an archive may name one ten thousand times."""

    def __init__(self, on_bytes: Callable[[int], None]) -> None:
        self._on_bytes = on_bytes
        self._digests: dict[tuple[Section, str], Digest] = {}
        self._configs: dict[Section, ImageConfig] = {}

    def digest(self, section: Section, algorithm: str) -> Digest:
        key = (section, algorithm)
        if key not in self._digests:
            state = hashlib.new(algorithm)
            for block in section.blocks():
                state.update(block)
                self._on_bytes(len(block))
            self._digests[key] = Digest(algorithm, state.hexdigest())
        return self._digests[key]

    def config(self, section: Section, path: str) -> ImageConfig:
        if section not in self._configs:
            content = whole(section, path, DOCUMENT_MAX)
            promised = Descriptor(OCI_CONFIG, Digest.of(content), len(content))
            self._configs[section] = parse_config(content, promised)
        return self._configs[section]


# --- images ------------------------------------------------------------------------------------


def _image(contents: Contents, entry: Entry, once: _Once) -> ArchivedImage:
    config = once.config(require(contents, entry.config), entry.config)
    _check_path(entry.config, config.digest)
    if len(entry.layers) != len(config.diff_ids):
        raise InvalidArchive(
            contents.archive,
            f"its {MANIFEST} names {len(entry.layers)} layers for {entry.config}, "
            f"which has {len(config.diff_ids)} diff IDs",
        )
    sections: dict[Digest, Section] = {}
    layers: list[Descriptor] = []
    for path, diff_id in zip(entry.layers, config.diff_ids, strict=True):
        section = require(contents, path)
        layer = _layer(path, section, diff_id, once)
        sections[layer.digest] = section
        layers.append(layer)
    described = Descriptor(OCI_CONFIG, config.digest, len(config.raw))
    return ArchivedImage(entry.names, _manifest(described, layers), config, sections)


def _layer(path: str, section: Section, diff_id: Digest, once: _Once) -> Descriptor:
    """What a registry would say about this layer. A plain one is what its diff ID promises."""
    first = section.read_at(0, SNIFFED)
    if unsupported := unsupported_of(first):
        raise UnsupportedCompression(f"layer {path}", unsupported)
    compression = compression_of(first)
    digest = once.digest(section, "sha256" if compression else diff_id.algorithm)
    _check_path(path, digest)
    if compression is None and digest != diff_id:
        raise DigestMismatch(f"layer {path}", str(diff_id), str(digest))
    return Descriptor(f"{OCI_LAYER}+{compression}" if compression else OCI_LAYER, digest, section.size)


def _check_path(path: str, digest: Digest) -> None:
    """In an OCI layout a path is a promise; the classic names are anybody's."""
    algorithm, slash, hexadecimal = path.removeprefix(_BLOBS).partition("/")
    if path.startswith(_BLOBS) and slash:
        promised = Digest.parse(f"{algorithm}:{hexadecimal}", f"the path '{path}'")
        if promised.algorithm == digest.algorithm and promised != digest:
            raise DigestMismatch(path, str(promised), str(digest))


def _manifest(config: Descriptor, layers: list[Descriptor]) -> Manifest:
    content = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": config.to_json(),
        "layers": [layer.to_json() for layer in layers],
    }
    raw = json.dumps(content, separators=(",", ":")).encode()
    manifest = parse_manifest(raw, Descriptor(OCI_MANIFEST, Digest.of(raw), len(raw)))
    assert isinstance(manifest, Manifest)
    return manifest


# --- manifest.json -----------------------------------------------------------------------------


def _parse(raw: bytes, archive: str) -> list[dict[str, Any]]:
    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            raise ValueError("a key stands twice")
        return found

    try:
        # As text: of bytes, the json module would also take UTF-16, and a byte order mark.
        entries = json.loads(raw.decode(), object_pairs_hook=once)
    except (ValueError, RecursionError) as error:
        reason = "nested too deep" if isinstance(error, RecursionError) else str(error)
        raise InvalidArchive(archive, f"its {MANIFEST} is not JSON ({reason})") from error
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        kind = "null" if entries is None else "not a list of objects"
        if isinstance(entries, dict) and "layers" in entries:
            kind = (
                "one image's manifest, as skopeo's dir: and podman's docker-dir have it; "
                "make an archive of it: skopeo copy dir:… oci-archive:image.tar"
            )
        raise InvalidArchive(archive, f"its {MANIFEST} is {kind}")
    return entries


def _entry(entry: dict[str, Any], archive: str) -> Entry:
    config = entry.get("Config")
    if not isinstance(config, str) or not config:
        raise InvalidArchive(archive, f"its {MANIFEST} has an image without a Config")
    lists: dict[str, list[str]] = {}
    for key in ("RepoTags", "Layers"):
        values = entry.get(key) or []
        if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
            raise InvalidArchive(archive, f"its {MANIFEST} has {key} that are not a list of strings")
        lists[key] = values
    names = dict.fromkeys(_name(text, archive) for text in lists["RepoTags"])
    return Entry(tuple(names), config, tuple(lists["Layers"]))


def _name(text: str, archive: str) -> Reference:
    try:
        name = Reference.parse(text)
    except InvalidReference as error:
        raise InvalidArchive(archive, f"its {MANIFEST} has the tag '{text}': {error.reason}") from error
    # A digest in a name is of a registry's manifest, which this archive does not have.
    return replace(name, tag=name.tag or "latest", digest=None)
