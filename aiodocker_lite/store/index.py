"""Reading and writing `index.json`, and what can be known without it.

It is copied before it is replaced. Where it is lost, the copy has the names, and the manifests among
the blobs are the rest: nothing is taken for unused because of one damaged file. It ends with its own digest,
so that a name is not believed that nobody wrote; what other tools write has another look, and is taken as it is.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from aiodocker_lite.digest import Digest
from aiodocker_lite.errors import ContentError, DiskFull, EngineError, StoreCorrupt, StoreUnreadable
from aiodocker_lite.manifest import (
    DOCUMENT_MAX,
    OCI_MANIFEST,
    Descriptor,
    Manifest,
    as_oci,
    parse_config,
    parse_manifest,
    parse_object,
)
from aiodocker_lite.store.blobs import Blobs
from aiodocker_lite.store.durable import reading_errors, store_errors, write_durably
from aiodocker_lite.store.entries import Entry, is_ours, read_entry, without_name
from aiodocker_lite.store.paths import Paths

Listing = tuple[tuple[Entry, ...], list[dict[str, Any]]]
"""Our entries, and those of other tools as they are."""

_SUM = b',\n "annotations": {\n  "org.aiodocker-lite.index.sha256": "'
"""What comes before the digest of everything before it. Other tools indent in another way, or not at all."""


def read_index(paths: Paths, blobs: Blobs) -> Listing:
    """What the index has; of one that is damaged or gone, what can be known. Raises StoreUnreadable."""
    found = _read(paths.index)
    return found if found is not None else _rebuilt(paths, blobs)


def is_index_sound(paths: Paths) -> bool:
    """The index is here, and can be read. Raises StoreUnreadable."""
    return _read(paths.index) is not None


def index_flaws(paths: Paths, blobs: Blobs) -> list[str]:
    """What is wrong with the index and its copy, as sentences. Raises StoreUnreadable."""
    here = read_index(paths, blobs)[0]
    if doubtful := ", ".join(_title(entry) for entry in here if entry.is_doubtful):
        return [f"Warning: index.json and its copy were damaged or gone, so names may be wrong: {doubtful}"]
    if is_index_sound(paths):
        # Other tools make no copy, nor does an empty store have one.
        with reading_errors(paths.index):
            has_sum = _SUM in paths.index.read_bytes()
        if has_sum and _read(paths.index_copy) is None:
            return ["index.copy.json was damaged or gone, and is written anew"]
        return []
    said = (_read(paths.index, believing=True) or ((), []))[0]
    names = ", ".join(_title(entry) for entry in here if entry not in said)
    return [f"index.json was damaged, and is mended{f': {names}' if names else ''}"] if here else []


def _title(entry: Entry) -> str:
    return str(entry.name or entry.manifest.digest.short)


def write_index(paths: Paths, entries: Sequence[Entry], others: Sequence[dict[str, Any]]) -> None:
    """Replace the index, and its copy. Raises DiskFull, StoreUnwritable."""
    names = {str(entry.name) for entry in entries}
    document = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [
            *(entry.to_json() for entry in entries),
            *(without_name(other, names) for other in others),
        ],
    }
    content = json.dumps(document, indent=1).encode().removesuffix(b"\n}")
    content += _SUM + _end(content)
    try:
        _write_copy(paths, content)
        write_durably(paths.index, content, beside=paths.ingests)
    except DiskFull:
        # Whoever removes something to make room needs some first: that of the copy.
        with store_errors(paths.index_copy):
            paths.index_copy.unlink(missing_ok=True)
        write_durably(paths.index, content, beside=paths.ingests)
        with suppress(DiskFull):  # the index is the one that counts
            _write_copy(paths, content)


def _write_copy(paths: Paths, content: bytes) -> None:
    with store_errors(paths.index_copy):
        # Not synced: a power cut damages this one at most, and bad luck the other one.
        temporary = paths.ingests / f"{paths.index_copy.name}.{os.urandom(6).hex()}.tmp"
        try:
            temporary.write_bytes(content)
            temporary.rename(paths.index_copy)
        finally:
            temporary.unlink(missing_ok=True)


def _end(content: bytes) -> bytes:
    return hashlib.sha256(content).hexdigest().encode() + b'"\n }\n}'


def _read(path: Path, *, believing: bool = False) -> Listing | None:
    """What it has, or None if it is damaged; `believing` what can be read, whatever its digest is."""
    try:
        # A pipe in this place is nothing, and not waited for.
        with open(path, "rb", opener=_without_waiting) as file:
            content = file.read()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StoreUnreadable(str(path), error.strerror or str(error)) from error
    found = _parsed(content, believing=believing)
    return None if found is None else (found[0], list(found[1]))


# Hundreds of images are looked for one after the other, and it is the same index for most of them.
@lru_cache(maxsize=2)
def _parsed(content: bytes, *, believing: bool) -> Listing | None:
    try:
        before, is_summed, end = content.rpartition(_SUM)
        if is_summed and end != _end(before) and not believing:
            return None
        document = json.loads(content)
        listed = document["manifests"]
        if listed is None and document["schemaVersion"] == 2:
            listed = []  # as umoci writes it
        ours = tuple(read_entry(entry) for entry in listed if is_ours(entry))
        return ours, [entry for entry in listed if not is_ours(entry)]
    except (ValueError, KeyError, TypeError, AttributeError, EngineError):
        return None


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)


def _rebuilt(paths: Paths, blobs: Blobs) -> Listing:
    borne_out = _read(paths.index_copy)
    ours, others = (
        borne_out or _read(paths.index, believing=True) or _read(paths.index_copy, believing=True) or ((), [])
    )
    known = {digest for entry in ours for digest in (entry.manifest.digest, entry.listed.digest)}
    known.update(Digest.parse(other["digest"]) for other in others if _has_digest(other))
    found = (*ours, *_nameless(paths, blobs, known))
    return found if borne_out else tuple(replace(entry, is_doubtful=True) for entry in found), others


def _has_digest(other: dict[str, Any]) -> bool:
    try:
        Digest.parse(other.get("digest"))
    except ContentError:
        return False
    return True


def _nameless(paths: Paths, blobs: Blobs, known: set[Digest]) -> Iterator[Entry]:
    """Entries for all other images whose documents and layers are here."""
    found = [manifest for manifest in _manifests(paths) if manifest.digest not in known]
    # A manifest of Docker's is kept with an OCI manifest of the same image, which the layout lists.
    twins = {as_oci(manifest).digest for manifest in found if manifest.media_type != OCI_MANIFEST}
    for manifest in found:
        if manifest.digest in twins:
            continue
        needed = (as_oci(manifest).descriptor, *manifest.layers)
        try:
            config = parse_config(blobs.read(manifest.config.digest), manifest.config)
        except (ContentError, StoreCorrupt):
            continue
        if all(blobs.has(blob.digest, blob.size) for blob in needed):
            listed = replace(as_oci(manifest).descriptor, platform=config.platform)
            yield Entry(None, manifest.descriptor, listed, manifest.digest)


def _manifests(paths: Paths) -> Iterator[Manifest]:
    """Every manifest among the blobs."""
    for path in sorted(paths.blobs.glob("*/*")):
        try:
            size = path.stat().st_size
            if size > DOCUMENT_MAX:
                continue
            with path.open("rb") as file:
                if (raw := file.read(1)) != b"{":
                    continue
                raw += file.read()
            digest = Digest.parse(f"{path.parent.name}:{path.name}")
            media_type = parse_object(raw, path.name).get("mediaType", OCI_MANIFEST)
            manifest = parse_manifest(raw, Descriptor(str(media_type), digest, size))
        except (OSError, ContentError):
            continue  # it is no manifest, or a damaged one
        if isinstance(manifest, Manifest):
            yield manifest
