"""``images.lock``: which digest each name was, and what its layers weigh.

JSON, one image a line and sorted, so that a change of one image is a change of one line. What
is read is taken exactly or not at all: a lock that was misunderstood would pin the wrong thing.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, fields

from aiodocker_lite.digest import Digest
from aiodocker_lite.errors import InvalidManifest, InvalidOption, InvalidReference, InvalidSource
from aiodocker_lite.platforms import Platform
from aiodocker_lite.reference import Reference

_VERSION = 1


@dataclass(frozen=True, slots=True, order=True)
class Locked:
    """One image as it was when the lock was written."""

    name: str
    """In full, such as ``docker.io/library/alpine:3``."""
    platform: str
    digest: str
    """What the registry gave for the name: of an index, where there is one."""
    layers: tuple[tuple[str, int], ...] = ()
    """Digest and bytes of each, from the lowest on."""


@dataclass(frozen=True, slots=True)
class Change:
    """One image that is not the same in two locks; None where one of them has none."""

    name: str
    platform: str
    before: str | None
    after: str | None
    fetch: int
    """Bytes of its layers that were in no image before."""


@dataclass(frozen=True, slots=True)
class Difference:
    """What it takes to come from one lock to another."""

    changes: tuple[Change, ...]
    fetch: int
    """Bytes of layers that are only in the later one, each once."""
    freed: int
    """Bytes of layers that are only in the earlier one, each once."""


def dump(images: Iterable[Locked]) -> str:
    """The text of a lock: the same for the same images, in whatever order."""
    lines = [
        f"    {json.dumps({f.name: getattr(one, f.name) for f in fields(one)})}"
        for one in sorted(set(images))
    ]
    body = ",\n".join(lines)
    return f'{{\n  "version": {_VERSION},\n  "images": [\n{body}\n  ]\n}}\n'


def parse(text: str, file: str) -> tuple[Locked, ...]:
    """The images of a lock, sorted. Raises InvalidSource, with the place."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidSource(file, f"is no lock of images: {error}") from None
    if not isinstance(found, dict) or "version" not in found:
        raise InvalidSource(file, "is no lock of images: it has no version")
    if found["version"] != _VERSION or isinstance(found["version"], bool):
        raise InvalidSource(file, f"has version {found['version']}, and only {_VERSION} is known here")
    images = found.get("images")
    if not isinstance(images, list) or found.keys() != {"version", "images"}:
        raise InvalidSource(file, "has more or less than a version and a list of images")
    locked = [_locked(one, f"{file}: images[{position}]") for position, one in enumerate(images)]
    seen: set[tuple[str, str]] = set()
    for one in locked:
        if (one.name, one.platform) in seen:
            raise InvalidSource(file, f"has {one.name} for {one.platform} twice")
        seen.add((one.name, one.platform))
    return tuple(sorted(locked))


def difference(old: Iterable[Locked], new: Iterable[Locked]) -> Difference:
    """What the later lock has that the earlier has not, in images and in bytes."""
    before = {(one.name, one.platform): one for one in old}
    after = {(one.name, one.platform): one for one in new}
    had = dict(layer for one in before.values() for layer in one.layers)
    has = dict(layer for one in after.values() for layer in one.layers)
    changes = []
    for key in sorted(before.keys() | after.keys()):
        was, now = before.get(key), after.get(key)
        if was and now and was.digest == now.digest:
            continue
        fetch = _bytes(dict(now.layers if now else ()), had)
        changes.append(Change(*key, was.digest if was else None, now.digest if now else None, fetch))
    return Difference(tuple(changes), _bytes(has, had), _bytes(had, has))


def _bytes(layers: dict[str, int], without: dict[str, int]) -> int:
    return sum(size for digest, size in layers.items() if digest not in without)


def _locked(found: object, place: str) -> Locked:
    names = {f.name for f in fields(Locked)}
    if not isinstance(found, dict) or found.keys() != names:
        raise InvalidSource(place, f"has not exactly {', '.join(sorted(names))}")
    name, platform, digest = (_text(found[key], f"{place}.{key}") for key in ("name", "platform", "digest"))
    layers = found["layers"]
    if not isinstance(layers, list):
        raise InvalidSource(f"{place}.layers", "is no list")
    try:
        reference = Reference.parse(name)
        Digest.parse(digest)
        normal = str(Platform.parse(platform))
    except (InvalidReference, InvalidManifest, InvalidOption) as error:
        raise InvalidSource(place, str(error)) from None
    if str(reference) != name or normal != platform:
        raise InvalidSource(place, f"is not spelled in full: {reference} for {normal}")
    if reference.digest and str(reference.digest) != digest:
        raise InvalidSource(place, "has another digest than its name")
    return Locked(
        name, platform, digest, tuple(_layer(one, f"{place}.layers[{at}]") for at, one in enumerate(layers))
    )


def _layer(found: object, place: str) -> tuple[str, int]:
    match found:
        case [str(digest), int(size)] if size >= 0 and not isinstance(size, bool):
            try:
                return str(Digest.parse(digest)), size
            except InvalidManifest as error:
                raise InvalidSource(place, str(error)) from None
    raise InvalidSource(place, "is no digest with a number of bytes")


def _text(found: object, place: str) -> str:
    if not isinstance(found, str):
        raise InvalidSource(place, "is no text")
    return found
