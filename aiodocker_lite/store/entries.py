"""One line of `index.json`: a name, and the image it leads to.

OCI image specification, image-layout.md and annotations.md. The digest that the registry gave for
the name, of an index perhaps, is kept as an annotation.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from aiodocker_lite.digest import Digest
from aiodocker_lite.errors import InvalidReference
from aiodocker_lite.manifest import OCI_MANIFEST, Descriptor
from aiodocker_lite.reference import Reference

_NAME = "org.opencontainers.image.ref.name"
_PULLED = "org.aiodocker-lite.pulled.digest"
_MANIFEST = "org.aiodocker-lite.manifest"
"""Digest, size and media type of the manifest as it was pulled, where that is no OCI manifest."""
_DOUBTFUL = "org.aiodocker-lite.doubtful"


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the index: a name, if any, and the manifest it leads to."""

    name: Reference | None
    manifest: Descriptor
    """The manifest as it was pulled."""
    listed: Descriptor
    """What the layout lists: the same, or an OCI manifest of the same image."""
    pulled: Digest
    is_doubtful: bool = False
    """It was read from an index that nothing bore out: name and digest may be wrong."""

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
        if self.is_doubtful:
            annotations[_DOUBTFUL] = "true"
        return replace(self.listed, annotations=annotations).to_json()


def is_ours(entry: dict[str, Any]) -> bool:
    """We wrote it: it is an image, with the digest that was pulled, and its name is spelled as we do."""
    annotations = entry.get("annotations") or {}
    if entry.get("mediaType") != OCI_MANIFEST or _PULLED not in annotations:
        return False
    name = annotations.get(_NAME)
    try:
        return name is None or str(Reference.parse(name)) == name
    except InvalidReference:
        return False


def without_name(other: dict[str, Any], names: set[str]) -> dict[str, Any]:
    """An entry of another tool; its name is taken away if it is ours now, for a name leads to one image."""
    annotations = other.get("annotations") or {}
    if annotations.get(_NAME) not in names:
        return other
    return {**other, "annotations": {key: annotations[key] for key in annotations if key != _NAME}}


def read_entry(entry: dict[str, Any]) -> Entry:
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
        is_doubtful=_DOUBTFUL in listed.annotations,
    )


def by_name(text: str, entries: Sequence[Entry]) -> Entry | None:
    try:
        reference = Reference.parse(text)
    except InvalidReference:
        return None
    return next((entry for entry in entries if entry.answers(reference)), None)


def without_names(entries: Sequence[Entry], names: Sequence[Reference]) -> list[Entry]:
    """These names lead nowhere now; what they led to stays, under its other names or without one."""
    return [replace(entry, name=None) if entry.name in names else entry for entry in entries]


def tidy(entries: Sequence[Entry]) -> tuple[Entry, ...]:
    """Entries without a name only for manifests that have none, and nothing twice."""
    named = {entry.manifest.digest for entry in entries if entry.name is not None}
    kept = {
        (entry.name, entry.manifest.digest): entry
        for entry in entries
        if entry.name is not None or entry.manifest.digest not in named
    }
    return tuple(kept.values())
