"""Which image a path means, and by which path an image can be asked for.

A full name (`quay.io/a/b`), else the repository on Docker Hub (with or without `library/`), else the
repository of this name on the one other registry that has it. containerd names the registry it asks a
mirror for in the query (`?ns=quay.io`); then no other one is meant.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final

from aiodocker_lite.errors import InvalidReference
from aiodocker_lite.reference import DOCKER_HUB, Reference
from aiodocker_lite.serve.answers import Refused, unknown_name

_PATH_COMPONENT: Final = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*")


def parse_path(path: str, registry: str | None) -> Reference:
    """The repository that stands in a path; `registry` is a mirror's `ns`."""
    try:
        asked = Reference.parse(f"{registry}/{path}" if registry else path)
    except InvalidReference as error:
        raise Refused(400, "NAME_INVALID", f"'{path}' is not a repository name: {error.reason}") from error
    if ":" in path.rpartition("/")[2] or "@" in path:
        raise Refused(400, "NAME_INVALID", f"'{path}' is not a repository name")
    return asked


def find_repository(path: str, registry: str | None, known: Mapping[str, Reference]) -> Reference:
    """The one of `known` (repositories by full name) that a path means; `registry` is a mirror's `ns`."""
    asked = parse_path(path, registry)
    if asked.name in known:
        return known[asked.name]
    elsewhere = [] if registry else [name for name in known.values() if name.repository == path]
    if len(elsewhere) > 1:
        registries = ", ".join(sorted(name.registry for name in elsewhere))
        raise unknown_name(path, f"there is one on each of {registries}; ask for one with its registry")
    if not elsewhere:
        raise unknown_name(path)
    return elsewhere[0]


def catalog_of(names: Iterable[Reference]) -> list[str]:
    """For each repository the path that a client can ask for: its full name where that is a path.

    One on a registry with a port has a path only while its own name is nowhere else.
    """
    known = {name.name: name for name in names}
    paths = (_path_to(name, known) for name in known.values())
    return sorted(path for path in paths if path is not None)


def _path_to(name: Reference, known: Mapping[str, Reference]) -> str | None:
    full = name.familiar_name if name.registry == DOCKER_HUB else name.name
    for path in (full, name.repository):
        try:
            if _is_path(path) and find_repository(path, None, known) == name:
                return path
        except Refused:
            continue
    return None


def _is_path(text: str) -> bool:
    """The specification's grammar of names, which has no port."""
    return all(_PATH_COMPONENT.fullmatch(part) for part in text.split("/"))
