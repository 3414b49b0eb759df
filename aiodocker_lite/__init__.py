"""aiodocker_lite brings an image's bytes through a verifier into a directory, and starts a process in it.

    async with Engine() as engine:
        image = await engine.pull("alpine")
        done = await engine.run(image, ["echo", "hello"])

The map. Arrows point down only: a room never imports another room, and what two rooms share is
a word, or a plain callable that a conductor passes in (`tests/test_architecture.py`).

    words       errors digest reference platforms manifest verify inflate removal events settings
                syscalls subids image options mount copying sizes spans ports programs records wanted lockfile emit restart plan: what everybody speaks, standard library only
                (and the decompressors)
    rooms       registry/   everything that asks over HTTP
                fetch/      one blob, however many requests it takes
                layer/      what a layer is: decompress, tar, whiteout, beneath, unpack, join; worker and pool
                store/      what owns bytes on disk: blobs, ingest, layers, images, containers, locks
                archive/    docker-save and OCI archives
                snapshot    layers to one root file system
                users       passwd and group of an image, read without trust
                bundle      image configuration and options to an OCI runtime spec
                runtime/    what starts and watches processes
                network/    programs that connect a network namespace
                serve/      the store as a read-only registry
                sources/    files that name images: lists, Compose, Kubernetes, Dockerfiles
                trace       spans of time to a trace for Perfetto, and to an explanation
    conductors  pull prefetch look quotas load save bring gather owners rootfs run exec connect volumes remove check mend prune fit host monitor lifecycle transfer: the only files that know the order
    engine/     opens, lends and closes what conductors use
    cli/        the only importer of typer, rich and uvloop: one file for each family of verbs
    testing/    a registry of faults, for tests of whatever talks to registries; nothing else imports it

Importing this package loads neither an event loop nor anything of a third party.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOMES = {
    "Checked": "mend",
    "Digest": "digest",
    "Engine": "engine",
    "ExecOptions": "options",
    "Finished": "engine",
    "Image": "image",
    "Limits": "settings",
    "Mount": "options",
    "Plan": "plan",
    "Platform": "platforms",
    "Pruned": "prune",
    "Reference": "reference",
    "Removed": "remove",
    "Report": "plan",
    "Room": "prune",
    "RunOptions": "options",
    "Running": "run",
    "Settings": "settings",
    "Streams": "options",
    "Wanted": "wanted",
}

if TYPE_CHECKING:
    from aiodocker_lite.digest import Digest as Digest
    from aiodocker_lite.engine import Engine as Engine
    from aiodocker_lite.engine import Finished as Finished
    from aiodocker_lite.image import Image as Image
    from aiodocker_lite.mend import Checked as Checked
    from aiodocker_lite.options import ExecOptions as ExecOptions
    from aiodocker_lite.options import Mount as Mount
    from aiodocker_lite.options import RunOptions as RunOptions
    from aiodocker_lite.options import Streams as Streams
    from aiodocker_lite.plan import Plan as Plan
    from aiodocker_lite.plan import Report as Report
    from aiodocker_lite.platforms import Platform as Platform
    from aiodocker_lite.prune import Pruned as Pruned
    from aiodocker_lite.prune import Room as Room
    from aiodocker_lite.reference import Reference as Reference
    from aiodocker_lite.remove import Removed as Removed
    from aiodocker_lite.run import Running as Running
    from aiodocker_lite.settings import Limits as Limits
    from aiodocker_lite.settings import Settings as Settings
    from aiodocker_lite.wanted import Wanted as Wanted

__all__ = [
    "Checked", "Digest", "Engine", "ExecOptions", "Finished", "Image", "Limits", "Mount", "Plan", "Platform", "Pruned", "Reference",
    "Removed", "Report", "Room", "RunOptions", "Running", "Settings", "Streams", "Wanted", "errors", "events",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    """Load a public name when it is first used (PEP 562)."""
    if name in ("errors", "events"):
        return import_module(f"{__name__}.{name}")
    if name not in _HOMES:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
