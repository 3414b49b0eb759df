"""Names and the images they lead to: `index.json` of the OCI image layout.

OCI image specification, image-layout.md and annotations.md. Each entry is the manifest of one
image for one platform, under one name; an image that lost its last name keeps an entry
without one. The digest that the registry gave for the name, of an index perhaps, is kept as an
annotation. What other tools list there is left as it is, and never shown: nobody has verified it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from anyio import to_thread

from aiodocker_lite.digest import Digest
from aiodocker_lite.errors import (
    ContentError,
    EngineError,
    InvalidManifest,
    InvalidReference,
    NoSuchImage,
    StoreCorrupt,
    StoreUnreadable,
)
from aiodocker_lite.image import Image, Verified
from aiodocker_lite.manifest import (
    OCI_MANIFEST,
    Descriptor,
    ImageConfig,
    Index,
    Manifest,
    as_oci,
    parse_config,
    parse_manifest,
    parse_object,
)
from aiodocker_lite.reference import Reference
from aiodocker_lite.store.blobs import Blobs
from aiodocker_lite.store.durable import write_durably
from aiodocker_lite.store.layers import Layers
from aiodocker_lite.store.locks import hold
from aiodocker_lite.store.paths import Paths

_NAME = "org.opencontainers.image.ref.name"
_PULLED = "org.aiodocker-lite.pulled.digest"
_MANIFEST = "org.aiodocker-lite.manifest"
"""Digest, size and media type of the manifest as it was pulled, where that is no OCI manifest."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the index: a name, if any, and the manifest it leads to."""

    name: Reference | None
    manifest: Descriptor
    """The manifest as it was pulled."""
    listed: Descriptor
    """What the layout lists: the same, or an OCI manifest of the same image."""
    pulled: Digest

    def answers(self, asked: Reference) -> bool:
        """This entry is what `asked` means: by digest if it has one, else by tag."""
        if self.name is None or self.name.name != asked.name:
            return False
        if asked.digest is not None:
            return asked.digest in (self.pulled, self.manifest.digest)
        return self.name.tag == asked.tag

    def to_json(self) -> dict[str, Any]:
        """The descriptor as it stands in index.json."""
        annotations = {_PULLED: str(self.pulled)}
        if self.name is not None:
            annotations[_NAME] = str(self.name)
        if self.manifest.digest != self.listed.digest:
            annotations[_MANIFEST] = json.dumps(self.manifest.to_json())
        return replace(self.listed, annotations=annotations).to_json()


class Images:
    """The images of a store."""

    def __init__(self, paths: Paths, blobs: Blobs, layers: Layers) -> None:
        self._paths = paths
        self._blobs = blobs
        self._layers = layers

    # --- reading -----------------------------------------------------------------------------

    def entries(self) -> tuple[Entry, ...]:
        """All of the index that is ours. Raises StoreCorrupt, StoreUnreadable."""
        return self._read_index()[0]

    def all(self) -> list[Image]:
        """Every image once, with all its names, in the order in which they came."""
        entries = self.entries()
        return [self._image(digest, entries) for digest in dict.fromkeys(e.manifest.digest for e in entries)]

    def find(self, text: str) -> Image:
        """The image of this name, or of this ID or beginning of an ID. Raises NoSuchImage."""
        entries = self.entries()
        entry = _by_name(text, entries) or self._by_id(text, entries)
        if entry is None:
            raise NoSuchImage(text)
        return self._image(entry.manifest.digest, entries, entry.name)

    def is_name(self, text: str) -> bool:
        """Whether this text is the name of an image that is here, and not an ID."""
        return _by_name(text, self.entries()) is not None

    def named(self, reference: Reference) -> Image | None:
        """The image that this reference leads to, or None, also where its documents are damaged."""
        entries = self.entries()
        entry = next((entry for entry in entries if entry.answers(reference)), None)
        if entry is None:
            return None
        try:
            return self._image(entry.manifest.digest, entries, entry.name)
        except StoreCorrupt:
            return None  # a pull brings them anew

    def names(self) -> tuple[Reference, ...]:
        """Every name in the store."""
        return tuple(entry.name for entry in self.entries() if entry.name is not None)

    def raw_manifest(self, reference: Reference) -> tuple[str, bytes] | None:
        """Media type and bytes of the manifest that this reference leads to, or None."""
        for entry in self.entries():
            # Asked for by the digest of an index, we have nothing with that digest.
            if entry.answers(reference) and reference.digest in (None, entry.manifest.digest):
                return entry.manifest.media_type, self._blobs.read(entry.manifest.digest)
        return None

    def needed_by_others(self) -> set[Digest]:
        """The blobs of what other tools list in the layout."""
        needed: set[Digest] = set()
        pending = self._read_index()[1]
        while pending:
            entry = pending.pop()
            try:
                digest = Digest.parse(entry.get("digest"))
                if digest in needed:
                    continue
                needed.add(digest)
                if not str(entry.get("mediaType")).endswith("+json"):
                    continue
                document = parse_object(self._blobs.read(digest), "a document in the store")
            except (InvalidManifest, StoreCorrupt):
                continue  # it leads nowhere
            for value in document.values():
                found = value if isinstance(value, list) else [value]
                pending += [item for item in found if isinstance(item, dict)]
        return needed

    def _read_index(self) -> tuple[tuple[Entry, ...], list[dict[str, Any]]]:
        """Our entries, and those of other tools. Raises StoreCorrupt, StoreUnreadable."""
        try:
            raw = self._paths.index.read_bytes()
        except FileNotFoundError:
            return (), []
        except OSError as error:
            raise StoreUnreadable(str(self._paths.index), error.strerror or str(error)) from error
        try:
            listed = json.loads(raw)["manifests"]
            ours = tuple(_read_entry(entry) for entry in listed if _is_ours(entry))
            return ours, [entry for entry in listed if not _is_ours(entry)]
        except (ValueError, KeyError, TypeError, AttributeError, EngineError) as error:
            raise StoreCorrupt(str(self._paths.index), str(error)) from error

    def _by_id(self, text: str, entries: Sequence[Entry]) -> Entry | None:
        prefix = text.removeprefix("sha256:")
        if not prefix or prefix.strip("0123456789abcdef"):
            return None
        found: dict[Digest, Entry] = {}
        for entry in entries:
            image_id = self._manifest(entry.manifest).config.digest
            if image_id.hex.startswith(prefix) or entry.manifest.digest.hex == prefix:
                # One image can be here with two manifests: packed by a registry, and by `docker save`.
                found.setdefault(image_id, entry)
        return next(iter(found.values())) if len(found) == 1 else None

    def _manifest(self, promised: Descriptor) -> Manifest:
        with self._damage(promised):
            manifest = parse_manifest(self._blobs.read(promised.digest), promised)
        if isinstance(manifest, Index):
            raise StoreCorrupt(str(self._paths.index), f"{promised.digest} is an index, not an image")
        return manifest

    def _image(self, digest: Digest, entries: Sequence[Entry], first: Reference | None = None) -> Image:
        mine = [entry for entry in entries if entry.manifest.digest == digest]
        names = [entry.name for entry in mine if entry.name is not None]
        names.sort(key=lambda name: name != first)
        entry = next((e for e in mine if e.name == first), mine[0])
        manifest = self._manifest(entry.manifest)
        with self._damage(manifest.config):
            config = parse_config(self._blobs.read(manifest.config.digest), manifest.config)
        size, verified = self._check(manifest, config)
        return Image(tuple(names), manifest, config, entry.pulled, size, verified)

    @contextmanager
    def _damage(self, blob: Descriptor) -> Iterator[None]:
        try:
            yield
        except ContentError as error:
            raise StoreCorrupt(str(self._paths.blob(blob.digest)), str(error)) from error

    def _check(self, manifest: Manifest, config: ImageConfig) -> tuple[int, Verified]:
        records = [self._layers.find(diff_id) for diff_id in config.diff_ids]
        size = sum(record.size for record in records if record is not None)
        if not all(self._blobs.has(layer.digest, layer.size) for layer in manifest.layers):
            return size, "No"
        return size, "Yes" if all(records) else "Blobs only"

    # --- writing -----------------------------------------------------------------------------

    async def add(
        self, names: Sequence[Reference], manifest: Manifest, config: ImageConfig, pulled: Digest
    ) -> Image:
        """Make an image visible under these names; all that it consists of is in the store.

        A name that led elsewhere leads here from now on. Raises DiskFull, StoreUnwritable.
        """
        oci = as_oci(manifest)
        for document in (config, manifest, oci):
            await to_thread.run_sync(self._blobs.put, document.digest, document.raw)
        listed = replace(oci.descriptor, platform=config.platform)
        new = [Entry(name, manifest.descriptor, listed, pulled) for name in names or (None,)]
        entries = await self._change(lambda old: [*_without_names(old, names), *new])
        return self._image(manifest.digest, entries, new[0].name)

    async def tag(self, image: Image, name: Reference) -> Image:
        """Give an image one more name. Raises NoSuchImage where it has been removed meanwhile."""

        def change(entries: tuple[Entry, ...]) -> list[Entry]:
            mine = [entry for entry in entries if entry.manifest.digest == image.manifest.digest]
            if not mine:
                raise NoSuchImage(image.name)
            new = replace(mine[0], name=name, pulled=image.pulled_digest)
            return [*_without_names(entries, (name,)), new]

        entries = await self._change(change)
        return self._image(image.manifest.digest, entries, name)

    async def untag(self, digest: Digest, names: Sequence[Reference], *, keep: bool = False) -> None:
        """Take these names from the image of this manifest; without names left, it is forgotten if not kept."""

        def change(entries: tuple[Entry, ...]) -> list[Entry]:
            others = [entry for entry in entries if entry.manifest.digest != digest]
            mine = [entry for entry in entries if entry.manifest.digest == digest]
            left = [entry for entry in mine if entry.name and entry.name not in names]
            return [*others, *(left or _without_names(mine[:1] if keep else (), names))]

        await self._change(change)

    async def _change(self, change: Callable[[tuple[Entry, ...]], list[Entry]]) -> tuple[Entry, ...]:
        async with hold(self._paths.lock("index")):
            ours, others = self._read_index()
            entries = _tidy(change(ours))
            names = {str(entry.name) for entry in entries}
            document = {
                "schemaVersion": 2,
                "mediaType": "application/vnd.oci.image.index.v1+json",
                "manifests": [
                    *(entry.to_json() for entry in entries),
                    *(_without_name(other, names) for other in others),
                ],
            }
            content = json.dumps(document, indent=1).encode()
            write = partial(write_durably, self._paths.index, content, beside=self._paths.ingests)
            await to_thread.run_sync(write)
            return entries


def _is_ours(entry: dict[str, Any]) -> bool:
    """We wrote it: it is an image, with the digest that was pulled, and its name is spelled as we do."""
    annotations = entry.get("annotations") or {}
    if entry.get("mediaType") != OCI_MANIFEST or _PULLED not in annotations:
        return False
    name = annotations.get(_NAME)
    try:
        return name is None or str(Reference.parse(name)) == name
    except InvalidReference:
        return False


def _without_name(other: dict[str, Any], names: set[str]) -> dict[str, Any]:
    """An entry of another tool; its name is taken away if it is ours now, for a name leads to one image."""
    annotations = other.get("annotations") or {}
    if annotations.get(_NAME) not in names:
        return other
    return {**other, "annotations": {key: annotations[key] for key in annotations if key != _NAME}}


def _read_entry(entry: dict[str, Any]) -> Entry:
    listed = Descriptor.from_json(entry, "an entry of index.json")
    name = listed.annotations.get(_NAME)
    original = listed.annotations.get(_MANIFEST)
    manifest = Descriptor.from_json(json.loads(original), "an entry of index.json") if original else listed
    pulled = listed.annotations.get(_PULLED)
    return Entry(
        Reference.parse(name) if name else None,
        manifest,
        listed,
        Digest.parse(pulled) if pulled else manifest.digest,
    )


def _by_name(text: str, entries: Sequence[Entry]) -> Entry | None:
    try:
        reference = Reference.parse(text)
    except InvalidReference:
        return None
    return next((entry for entry in entries if entry.answers(reference)), None)


def _without_names(entries: Sequence[Entry], names: Sequence[Reference]) -> list[Entry]:
    """These names lead nowhere now; what they led to stays, under its other names or without one."""
    return [replace(entry, name=None) if entry.name in names else entry for entry in entries]


def _tidy(entries: Sequence[Entry]) -> tuple[Entry, ...]:
    """Entries without a name only for manifests that have none, and nothing twice."""
    named = {entry.manifest.digest for entry in entries if entry.name is not None}
    kept = {
        (entry.name, entry.manifest.digest): entry
        for entry in entries
        if entry.name is not None or entry.manifest.digest not in named
    }
    return tuple(kept.values())
