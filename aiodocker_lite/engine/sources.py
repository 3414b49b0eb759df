"""Which images are wanted: what files name, and what a lock pins."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

from aiodocker_lite.digest import Digest
from aiodocker_lite.errors import InvalidOption
from aiodocker_lite.lockfile import Locked
from aiodocker_lite.plan import Plan
from aiodocker_lite.platforms import Platform
from aiodocker_lite.reference import Reference
from aiodocker_lite.sources import KINDS, Choices, merged, read
from aiodocker_lite.wanted import Wanted

__all__ = ["KINDS", "Choices", "locked", "pinned", "read_sources"]


def read_sources(
    files: Iterable[str],
    kind: str | None = None,
    choices: Choices | None = None,
    note: Callable[[str], None] = lambda _: None,
) -> list[Wanted]:
    """The images that lists, Compose files, Kubernetes manifests and Dockerfiles name; `-` is standard input.

    `note` hears of what is left out. Blocks while it reads. Raises InvalidSource, and InvalidOption for a
    kind that is none of `KINDS`.
    """
    return merged([one for file in files for one in read(file, kind, choices, note)])


def pinned(wanted: Iterable[Wanted], locks: Iterable[Locked], file: str) -> list[Wanted]:
    """The same images at the digests of a lock, or all of the lock where none is wanted.

    Raises InvalidOption for what the lock, which comes from `file`, does not have.
    """
    known: dict[str, dict[Platform, Locked]] = {}
    for lock in locks:
        known.setdefault(lock.name, {})[Platform.parse(lock.platform)] = lock
    everything = [Wanted(Reference.parse(name), platform) for name in known for platform in known[name]]
    found = []
    for one in list(wanted) or everything:
        at = known.get(str(one.reference), {})
        platforms = tuple(at) if one.platform is None else (one.platform.normal(),)
        if not platforms or not at.keys() >= set(platforms):
            what = f"{one.reference.familiar}{f' for {one.platform}' if one.platform else ''}"
            raise InvalidOption("--locked", f"{file} does not have {what}; --lock {file} adds it")
        found += [replace(one, platform=each, pin=Digest.parse(at[each].digest)) for each in platforms]
    return found


def locked(plan: Plan) -> list[Locked]:
    """What a plan has found, to be pinned."""
    return [
        Locked(
            image.name,
            str(Platform.parse(image.platform).normal()),
            image.digest,
            tuple((layer.digest, layer.size) for layer in image.layers),
        )
        for image in plan.images
    ]
