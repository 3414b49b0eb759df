"""An OCI image layout: index.json, indexes, manifests, and blobs by digest.

OCI image specification 1.1, image-layout.md and annotations.md. Which names its images get:

- `io.containerd.image.name` is a full name (docker, containerd and buildx write it);
- `org.opencontainers.image.ref.name` is one if it has a repository and not only a tag, for the
  specification allows both. Of a bare tag, podman makes the name of a repository, and
  containerd asks for one: here the image stays without a name, and is found by its ID.

Names are hints: one that is not a valid name is no name, and whoever loads it hears it. Entries under one name are one image
for several platforms. Entries without a name are different images, unless their platforms
differ: then those for the platform that is wanted are taken.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from aiodocker_lite.archive.contents import Contents, document, require
from aiodocker_lite.archive.images import ArchivedImage
from aiodocker_lite.archive.section import Section
from aiodocker_lite.digest import Digest
from aiodocker_lite.errors import (
    InvalidArchive,
    InvalidManifest,
    InvalidReference,
    LimitExceeded,
    PlatformNotFound,
    SizeMismatch,
    UnsupportedMediaType,
)
from aiodocker_lite.manifest import (
    DOCUMENT_MAX,
    OCI_INDEX,
    Descriptor,
    Index,
    Manifest,
    choose_platform,
    parse_config,
    parse_manifest,
    parse_object,
)
from aiodocker_lite.platforms import Platform
from aiodocker_lite.reference import Reference

INDEX = "index.json"
LAYOUT = "oci-layout"
_LAYOUT_MAX = 4096
_DEPTH_MAX = 4
FULL_NAME = "io.containerd.image.name"
REF_NAME = "org.opencontainers.image.ref.name"


def read_images(contents: Contents, platform: Platform) -> list[ArchivedImage]:
    """Every image of index.json, for one platform; their layers are looked up but not read.

    Raises InvalidArchive, PlatformNotFound, DigestMismatch, SizeMismatch, InvalidManifest,
    UnsupportedMediaType.
    """
    _check_layout(contents)
    index = _index(contents)
    images: dict[Digest, ArchivedImage] = {}
    names: dict[Digest, dict[Reference, None]] = {}
    misnamed: dict[Digest, dict[str, None]] = {}
    known: dict[Digest, Manifest] = {}
    skipped: UnsupportedMediaType | None = None
    for name, entry in _wanted(contents, index, platform):
        try:
            manifest = _descend(contents, entry, platform, known)
            if manifest.digest not in images:
                images[manifest.digest] = _image(contents, manifest)
        except UnsupportedMediaType as error:
            if name is not None:
                raise
            # Signatures, attestations and other artifacts lie beside images, without a name.
            skipped = skipped or error
            continue
        names.setdefault(manifest.digest, {}).update({name: None} if name else {})
        wrong = None if name else _wrong_name(entry)
        misnamed.setdefault(manifest.digest, {}).update({wrong: None} if wrong else {})
    if skipped is not None and not images:
        raise skipped
    return [
        replace(image, names=tuple(names[digest]), misnamed=tuple(misnamed[digest]))
        for digest, image in images.items()
    ]


def _index(contents: Contents) -> Index:
    raw = document(contents, INDEX, DOCUMENT_MAX)
    try:
        index = parse_manifest(raw, Descriptor(OCI_INDEX, Digest.of(raw), len(raw)))
    except InvalidManifest as error:
        raise InvalidArchive(contents.archive, f"its {INDEX} is not valid: {error.reason}") from error
    if not isinstance(index, Index):
        raise InvalidArchive(contents.archive, f"its {INDEX} is not an index")
    return index


def _check_layout(contents: Contents) -> None:
    # Written by all, missed by nobody: without the file, the index speaks for itself.
    if contents.find(LAYOUT) is None:
        return
    version = parse_object(document(contents, LAYOUT, _LAYOUT_MAX), f"its {LAYOUT}").get("imageLayoutVersion")
    if not isinstance(version, str) or not version.startswith("1."):
        raise InvalidArchive(contents.archive, f"its image layout version is '{version}', not 1.x")


# --- which entries ---------------------------------------------------------------------------


def _wanted(
    contents: Contents, index: Index, platform: Platform
) -> Iterator[tuple[Reference | None, Descriptor]]:
    groups: dict[str, list[Descriptor]] = {}
    for entry in index.manifests:
        name_there = entry.annotations.get(FULL_NAME) or entry.annotations.get(REF_NAME, "")
        groups.setdefault(name_there, []).append(entry)
    for group in groups.values():
        name = name_of(group[0])
        for entry in _for_platform(contents, index, group, platform, named=name is not None):
            yield name, entry


def _for_platform(
    contents: Contents, index: Index, group: list[Descriptor], platform: Platform, *, named: bool
) -> list[Descriptor]:
    """Of entries under one name the best one, of entries without a name all that suit as well.

    An image that is alone is wanted, whatever its platform: somebody put it there on purpose.
    """
    if len(group) == 1:
        return group
    anywhere = [entry for entry in group if entry.platform is None]
    somewhere = [entry for entry in group if entry.platform is not None]
    if not somewhere:
        return anywhere[:1] if named else anywhere
    try:
        best = choose_platform(_present(contents, replace(index, manifests=tuple(somewhere))), platform)
    except PlatformNotFound:
        if not anywhere:
            raise
        return anywhere[:1] if named else anywhere
    if named:
        return [best]
    return [entry for entry in group if entry.platform in (None, best.platform)]


def name_of(entry: Descriptor) -> Reference | None:
    """The name that an entry of index.json gives to its image, if it is one."""
    full, text = entry.annotations.get(FULL_NAME), entry.annotations.get(REF_NAME, "")
    if full is None and _is_bare(text):
        return None
    try:
        name = Reference.parse(full or text)
    except InvalidReference:
        return None
    return replace(name, digest=None) if name.tag else None


def _is_bare(text: str) -> bool:
    return not any(c in text for c in "/:@")


def _wrong_name(entry: Descriptor) -> str | None:
    """What an entry calls its image, if nothing can be called so: a tag that stands alone is none of that."""
    full, text = entry.annotations.get(FULL_NAME), entry.annotations.get(REF_NAME, "")
    called = full or text
    try:
        Reference.parse(f"any:{text}" if full is None and _is_bare(text) else called)
    except InvalidReference:
        return called or None
    return None


# --- from an entry to an image ---------------------------------------------------------------


def _descend(
    contents: Contents, entry: Descriptor, platform: Platform, known: dict[Digest, Manifest], depth: int = 0
) -> Manifest:
    """From an entry through indexes to the manifest for this platform; `known` are those found before."""
    if entry.digest in known:
        return known[entry.digest]
    found = parse_manifest(_document(contents, entry, "manifest"), entry)
    if isinstance(found, Index):
        if depth == _DEPTH_MAX:
            raise InvalidArchive(contents.archive, f"its indexes are nested more than {_DEPTH_MAX} deep")
        best = choose_platform(_present(contents, found), platform)
        found = _descend(contents, best, platform, known, depth + 1)
    known[entry.digest] = found
    return found


def _present(contents: Contents, index: Index) -> Index:
    """Only what the archive holds: `docker save` lists platforms that it does not write."""
    present = tuple(e for e in index.manifests if contents.find(blob_path(e.digest)) is not None)
    return replace(index, manifests=present) if present else index


def _image(contents: Contents, manifest: Manifest) -> ArchivedImage:
    config = parse_config(_document(contents, manifest.config, "image configuration"), manifest.config)
    layers = {layer.digest: _blob(contents, layer, "layer") for layer in manifest.layers}
    return ArchivedImage((), manifest, config, layers)


def _document(contents: Contents, promised: Descriptor, what: str) -> bytes:
    if promised.size > DOCUMENT_MAX:
        raise LimitExceeded(f"the size of {what} {promised.digest.short}", DOCUMENT_MAX, promised.size)
    return _blob(contents, promised, what).read_at(0, promised.size)


def _blob(contents: Contents, promised: Descriptor, what: str) -> Section:
    section = require(contents, blob_path(promised.digest))
    if section.size != promised.size:
        raise SizeMismatch(f"{what} {promised.digest.short}", promised.size, section.size)
    return section


def blob_path(digest: Digest) -> str:
    """Where a layout has a blob."""
    return f"blobs/{digest.algorithm}/{digest.hex}"
