"""Names and the images they lead to: `index.json` of the OCI image layout.

Each entry is the manifest of one image for one platform, under one name; an image that lost its last
name keeps an entry without one. What other tools list there is left as it is, and never shown:
nobody has verified it. An image whose documents are damaged is shown as that, and stops no other.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace

import anyio
from anyio import to_thread

from aiodocker_lite.digest import Digest, chain_ids
from aiodocker_lite.errors import ContentError, EngineError, InvalidManifest, NoSuchImage, StoreCorrupt
from aiodocker_lite.image import Image, Verified
from aiodocker_lite.manifest import (
    Descriptor,
    ImageConfig,
    Index,
    Manifest,
    RunDefaults,
    as_oci,
    check_pairs,
    parse_config,
    parse_manifest,
    parse_object,
)
from aiodocker_lite.platforms import Platform
from aiodocker_lite.reference import Reference
from aiodocker_lite.store.blobs import Blobs
from aiodocker_lite.store.entries import Entry, by_name, tidy, without_names
from aiodocker_lite.store.index import index_flaws, is_index_sound, read_index, write_index
from aiodocker_lite.store.layers import LayerRecord, Layers
from aiodocker_lite.store.locks import hold, hold_now
from aiodocker_lite.store.paths import Paths
from aiodocker_lite.store.unused import let_go

_Change = Callable[[tuple[Entry, ...]], list[Entry]]


@dataclass(slots=True, eq=False)
class _Waiting:
    """A change of the index that is to be made, and what came of it."""

    change: _Change
    entries: tuple[Entry, ...] = ()
    error: Exception | None = None


class Images:
    """The images of a store."""

    def __init__(self, paths: Paths, blobs: Blobs, layers: Layers) -> None:
        self._paths = paths
        self._blobs = blobs
        self._layers = layers
        self._changes: list[_Waiting] = []
        self._turn = anyio.Lock()

    # --- reading -----------------------------------------------------------------------------

    def entries(self) -> tuple[Entry, ...]:
        """All of the index that is ours. Raises StoreUnreadable."""
        return read_index(self._paths, self._blobs)[0]

    def all(self) -> list[Image]:
        """Every image once, with all its names, in the order in which they came."""
        entries = self.entries()
        return [self._image(digest, entries) for digest in dict.fromkeys(e.manifest.digest for e in entries)]

    def find(self, text: str) -> Image:
        """The image of this name, or of this ID or beginning of an ID. Raises NoSuchImage."""
        entries = self.entries()
        entry = by_name(text, entries) or self._by_id(text, entries)
        if entry is None:
            raise NoSuchImage(text)
        return self._image(entry.manifest.digest, entries, entry.name)

    def is_name(self, text: str) -> bool:
        """Whether this text is the name of an image that is here, and not an ID."""
        return by_name(text, self.entries()) is not None

    def named(self, reference: Reference) -> Image | None:
        """The image that this reference leads to, or None."""
        entries = self.entries()
        entry = next((entry for entry in entries if entry.answers(reference)), None)
        return None if entry is None else self._image(entry.manifest.digest, entries, entry.name)

    def has_blobs(self, image: Image) -> bool:
        """Everything of an image is here but perhaps its unpacked layers."""
        layers = image.manifest.layers
        return bool(image.config.raw) and all(self._blobs.has(layer.digest, layer.size) for layer in layers)

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
        pending = read_index(self._paths, self._blobs)[1]
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

    def _by_id(self, text: str, entries: Sequence[Entry]) -> Entry | None:
        prefix = text.removeprefix("sha256:")
        if not prefix or prefix.strip("0123456789abcdef"):
            return None
        found: dict[Digest, Entry] = {}
        for entry in entries:
            try:
                image_id = self.manifest(entry.manifest).config.digest
            except StoreCorrupt:
                image_id = entry.manifest.digest  # what it is shown with
            if image_id.hex.startswith(prefix) or entry.manifest.digest.hex == prefix:
                # One image can be here with two manifests: packed by a registry, and by `docker save`.
                found.setdefault(image_id, entry)
        return next(iter(found.values())) if len(found) == 1 else None

    def promised(self, image: Image) -> Descriptor:
        """What the index says of an image's manifest. Raises NoSuchImage."""
        for entry in self.entries():
            if entry.manifest.digest == image.manifest.digest:
                return entry.manifest
        raise NoSuchImage(image.name)

    def documents(self, promised: Descriptor) -> tuple[Manifest, ImageConfig]:
        """Manifest and configuration of an image, checked. Raises StoreCorrupt."""
        manifest = self.manifest(promised)
        return manifest, self.config(manifest)

    def manifest(self, promised: Descriptor) -> Manifest:
        """The manifest of an image, checked. Raises StoreCorrupt."""
        with self._damage(promised):
            manifest = parse_manifest(self._blobs.read(promised.digest), promised)
        if isinstance(manifest, Index):
            raise StoreCorrupt(str(self._paths.index), f"{promised.digest} is an index, not an image")
        return manifest

    def config(self, manifest: Manifest) -> ImageConfig:
        """The configuration of an image, checked. Raises StoreCorrupt."""
        with self._damage(manifest.config):
            config = parse_config(self._blobs.read(manifest.config.digest), manifest.config)
            check_pairs(manifest, config)
        return config

    def _image(self, digest: Digest, entries: Sequence[Entry], first: Reference | None = None) -> Image:
        mine = [entry for entry in entries if entry.manifest.digest == digest]
        names = [entry.name for entry in mine if entry.name is not None]
        names.sort(key=lambda name: name != first)
        entry = next((e for e in mine if e.name == first), mine[0])
        try:
            manifest, config = self.documents(entry.manifest)
        except StoreCorrupt:
            return _unreadable(tuple(names), entry)
        records = [self._layers.find(diff_id) for diff_id in config.diff_ids]
        known = [record for record in records if record is not None]
        size = sum(record.size for record in known)
        verified = self._check(manifest, config, records)
        at = min((record.verified_at for record in known), default="")
        return Image(tuple(names), manifest, config, entry.pulled, size, verified, at)

    @contextmanager
    def _damage(self, blob: Descriptor) -> Iterator[None]:
        try:
            yield
        except ContentError as error:
            raise StoreCorrupt(str(self._paths.blob(blob.digest)), str(error)) from error

    def _check(
        self, manifest: Manifest, config: ImageConfig, records: Sequence[LayerRecord | None]
    ) -> Verified:
        missing = [
            layer.digest
            for layer, record in zip(manifest.layers, records, strict=True)
            if not self._blobs.has(layer.digest, layer.size) and (record is None or record.listing is None)
        ]
        if any(map(self._layers.is_set_aside, config.diff_ids)) or any(map(self._blobs.is_damaged, missing)):
            return "Damaged"
        return "No" if missing else "Blobs only" if None in records else "Yes"

    def last_used(self, image: Image) -> float:
        """When it was pulled, loaded or run last, in seconds since 1970: the time of its manifest's file."""
        try:
            return self._paths.blob(image.manifest.digest).stat().st_mtime
        except FileNotFoundError:
            return 0.0

    # --- writing -----------------------------------------------------------------------------

    def touch(self, image: Image) -> None:
        """It is used now. A store that this user may only read has nothing to remember."""
        with suppress(OSError):
            os.utime(self._paths.blob(image.manifest.digest))

    def index_flaws(self) -> list[str]:
        """What is wrong with the index and its copy, as sentences. Raises StoreUnreadable."""
        return index_flaws(self._paths, self._blobs)

    def mend_index(self) -> None:
        """Write an index that is damaged or gone anew, unless somebody is writing it. Raises StoreUnwritable.

        What nothing bears out stays in doubt, until it was told or is replaced.
        """
        if not is_index_sound(self._paths):
            self._write_again(lambda entry: entry)

    def settle_index(self) -> None:
        """Write the index and its copy with what is known, and doubt it no longer. Raises StoreUnwritable."""
        self._write_again(lambda entry: replace(entry, is_doubtful=False))

    def _write_again(self, look: Callable[[Entry], Entry]) -> None:
        with hold_now(self._paths.lock("index")) as alone:
            if alone:
                entries, others = read_index(self._paths, self._blobs)
                write_index(self._paths, tuple(map(look, entries)), others)

    async def add(
        self, names: Sequence[Reference], manifest: Manifest, config: ImageConfig, pulled: Digest
    ) -> Image:
        """Make an image visible under these names; all that it consists of is in the store.

        A name that led elsewhere leads here from now on. Raises DiskFull, StoreUnwritable.
        """
        oci = as_oci(manifest)
        await to_thread.run_sync(self.put, manifest, config)
        listed = replace(oci.descriptor, platform=config.platform)
        new = [Entry(name, manifest.descriptor, listed, pulled) for name in names or (None,)]
        entries = await self._change(lambda old: [*without_names(old, names), *new])
        image = self._image(manifest.digest, entries, new[0].name)
        self.touch(image)  # its documents may be left of one that was removed
        return image

    def put(self, manifest: Manifest, config: ImageConfig) -> None:
        """Have the documents of an image here and undamaged. Raises DiskFull, StoreUnwritable."""
        for document in (config, manifest, as_oci(manifest)):
            self._blobs.put(document.digest, document.raw)

    async def tag(self, image: Image, name: Reference) -> Image:
        """Give an image one more name. Raises NoSuchImage where it has been removed meanwhile."""

        def change(entries: tuple[Entry, ...]) -> list[Entry]:
            mine = [entry for entry in entries if entry.manifest.digest == image.manifest.digest]
            if not mine:
                raise NoSuchImage(image.name)
            new = replace(mine[0], name=name, pulled=image.pulled_digest)
            return [*without_names(entries, (name,)), new]

        entries = await self._change(change)
        return self._image(image.manifest.digest, entries, name)

    async def untag(self, digest: Digest, names: Sequence[Reference], *, keep: bool = False) -> None:
        """Take these names from the image of this manifest; without names left, it is forgotten if not kept."""

        def change(entries: tuple[Entry, ...]) -> list[Entry]:
            others = [entry for entry in entries if entry.manifest.digest != digest]
            mine = [entry for entry in entries if entry.manifest.digest == digest]
            left = [entry for entry in mine if entry.name and entry.name not in names]
            if mine and not left and not keep:
                self._let_go(mine[0])  # first: whoever collects after a kill shall find it
            return [*others, *(left or without_names(mine[:1] if keep else (), names))]

        await self._change(change)

    def _let_go(self, entry: Entry) -> None:
        """All of a forgotten image, as far as its documents can be read, waits for nobody."""
        blobs = {entry.manifest.digest, entry.listed.digest}
        diff_ids: tuple[Digest, ...] = ()
        with suppress(StoreCorrupt):
            manifest = self.manifest(entry.manifest)
            blobs.update((manifest.config.digest, *(layer.digest for layer in manifest.layers)))
            diff_ids = self.config(manifest).diff_ids
        let_go(map(self._paths.blob, blobs))
        let_go(map(self._paths.layer_record, diff_ids))
        let_go(map(self._paths.joint_record, chain_ids(diff_ids)))

    async def _change(self, change: _Change) -> tuple[Entry, ...]:
        """Change the index; whoever comes while it is being written waits for the next time, which serves all who wait."""
        mine = _Waiting(change)
        self._changes.append(mine)
        try:
            async with self._turn:
                if mine in self._changes:
                    async with hold(self._paths.lock("index")):
                        batch, self._changes = self._changes, []
                        with anyio.CancelScope(shield=True):
                            await to_thread.run_sync(self._change_all, batch)
        finally:
            if mine in self._changes:
                self._changes.remove(mine)
        if mine.error is not None:
            raise mine.error
        return mine.entries

    def _change_all(self, batch: list[_Waiting]) -> None:
        entries: tuple[Entry, ...] = ()
        try:
            entries, others = read_index(self._paths, self._blobs)
            for one in batch:
                try:
                    entries = tidy(one.change(entries))
                except EngineError as error:
                    one.error = error
            if not all(one.error for one in batch):
                write_index(self._paths, entries, others)
        except Exception as error:
            for one in batch:
                one.error = one.error or error
        for one in batch:
            one.entries = entries


def _unreadable(names: tuple[Reference, ...], entry: Entry) -> Image:
    """An image of which nothing is known but what the index says."""
    digest = entry.manifest.digest
    unknown = Descriptor("", digest, 0)
    platform = entry.listed.platform or Platform("unknown", "unknown")
    manifest = Manifest(b"", digest, entry.manifest.media_type, unknown, ())
    config = ImageConfig(b"", digest, platform, (), RunDefaults())
    return Image(names, manifest, config, entry.pulled, 0, "Damaged")
