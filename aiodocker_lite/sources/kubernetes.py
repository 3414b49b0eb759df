"""Kubernetes objects: whatever has a pod inside, at any depth.

A pod is known by its fields and not by the kind above it, so that custom resources with a template
count. Kubernetes API: PodSpec has containers, initContainers, ephemeralContainers, and
volumes with an image.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator

from aiodocker_lite.errors import InvalidSource
from aiodocker_lite.sources.naming import named
from aiodocker_lite.sources.yamls import DEPTH_MAX, documents
from aiodocker_lite.wanted import Wanted

_CONTAINERS = {"containers", "initContainers", "ephemeralContainers"}
_PLACE_MAX = 500


def objects(text: str, file: str) -> Iterator[object]:
    """The documents of a file of YAML or JSON. Raises InvalidSource."""
    if text.lstrip().startswith("{"):
        # YAML does not take all of JSON: not halves of a surrogate pair.
        try:
            yield json.loads(text)
        except RecursionError:
            raise InvalidSource(file, f"is nested deeper than {DEPTH_MAX}") from None
        except ValueError:
            pass
        else:
            return
    yield from documents(text, file)


def images(found: Iterable[object], file: str) -> Iterator[Wanted]:
    """Every image of every pod of these objects."""
    for one in found:
        yield from _walk(one, f"{file}: ", file, 0)


def _walk(value: object, at: str, file: str, depth: int) -> Iterator[Wanted]:
    """`at` says where `value` is: below the file, or below the nearest object that has a name."""
    if depth > DEPTH_MAX:
        raise InvalidSource(file, f"is nested deeper than {DEPTH_MAX}")
    if isinstance(value, list):
        for position, item in enumerate(value):
            if isinstance(item, dict | list):
                yield from _walk(item, f"{at}[{position}]", file, depth + 1)
    elif isinstance(value, dict):
        at = f"{file}: {name}: " if (name := _name(value)) else at
        for key, item in value.items():
            inner = _below(at, key)
            if isinstance(item, list):
                yield from _listed(key, item, inner)
            if isinstance(item, dict | list):
                yield from _walk(item, inner, file, depth + 1)


def _listed(key: str, items: list[object], at: str) -> Iterator[Wanted]:
    """The images of a list of containers, or of volumes."""
    if key not in _CONTAINERS and key != "volumes":
        return
    for position, item in enumerate(items):
        image, field = item.get("image") if isinstance(item, dict) else None, "image"
        if key == "volumes":
            image, field = image.get("reference") if isinstance(image, dict) else None, "image.reference"
        # A patch, or a container that its controller fills in, has none.
        if isinstance(image, str) and image:
            yield named(image, f"{at}[{position}].{field}")


def _below(at: str, key: str) -> str:
    """Where a key's value is, as far as anybody reads that."""
    if len(at) > _PLACE_MAX:
        return at
    return f"{at}{key}" if at.endswith(" ") else f"{at}.{key}"


def _name(value: dict[str, object]) -> str | None:
    """Kind and name of an object, where this is one."""
    kind, metadata = value.get("kind"), value.get("metadata")
    name = metadata.get("name") if isinstance(metadata, dict) else None
    return f"{kind} {name}"[:_PLACE_MAX] if isinstance(kind, str) and isinstance(name, str) else None
