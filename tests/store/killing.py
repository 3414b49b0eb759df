"""SIGKILL at any line of the store's code: run as `python -m tests.store.killing NAME DIRECTORY`.

Each time in a store made anew: a forked child does something and is killed at the next line than
last time, and then the store is looked at, and the same thing done again to its end.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import anyio

import aiodocker_lite.removal
import aiodocker_lite.store
from aiodocker_lite.digest import Digest
from aiodocker_lite.reference import Reference
from aiodocker_lite.store import Store
from aiodocker_lite.store.container import Container
from tests.store.filling import bring, documents, stage, tiny

_PLACES = (str(Path(aiodocker_lite.store.__file__).parent), aiodocker_lite.removal.__file__)
_LAYER = Digest.of(b"hello")


@dataclass(frozen=True)
class Deed:
    """What is done, to what, and what must hold whenever it is interrupted, and when it is done."""

    prepare: Callable[[Path], None]
    do: Callable[[Path], None]
    holds: Callable[[Path], bool]
    """Is it done? Raises where the store is neither as before nor as after."""


def sweep(deed: Deed, directory: Path, stride: int) -> int:
    """How many times it was killed."""
    killed = 0
    while True:
        root = directory / str(killed)
        deed.prepare(root)
        child = os.fork()
        if child == 0:
            _die_at_line(1 + killed * stride)
            deed.do(root)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if os.WIFEXITED(status):
            assert os.WEXITSTATUS(status) == 0
            assert deed.holds(root)
            return killed
        assert os.WTERMSIG(status) == signal.SIGKILL
        if not deed.holds(root):
            deed.do(root)
        assert deed.holds(root)
        killed += 1


def _die_at_line(last: int) -> None:
    lines = 0

    def trace(frame: FrameType, event: str, argument: object) -> Any:
        nonlocal lines
        if not frame.f_code.co_filename.startswith(_PLACES):
            return None
        if event == "line":
            lines += 1
            if lines == last:
                os.kill(os.getpid(), signal.SIGKILL)
        return trace

    sys.settrace(trace)
    threading.settrace(trace)


# --- what is done ----------------------------------------------------------------------------


def _nothing(root: Path) -> None:
    """There is no store yet."""


def _make_store(root: Path) -> None:
    Store(root).create()


def _is_store(root: Path) -> bool:
    if not (root / "oci-layout").exists():
        return False
    assert json.loads((root / "oci-layout").read_text()) == {"imageLayoutVersion": "1.0.0"}
    return Store(root).images.entries() == ()


def _with_an_image(root: Path) -> None:
    anyio.run(bring, Store(root).create(), tiny("old"), "alpine")


def _with_blobs(root: Path) -> None:
    store = Store(root).create()
    anyio.run(bring, store, tiny("old"), "alpine")
    anyio.run(bring, store, tiny("new"))
    store.paths.blob(documents(tiny("new"))[0].digest).unlink()
    anyio.run(store.images.untag, documents(tiny("new"))[0].digest, ())


def _add_image(root: Path) -> None:
    manifest, config = documents(tiny("new"))
    names = [Reference.parse("alpine"), Reference.parse("busybox")]
    anyio.run(Store(root).create().images.add, names, manifest, config, manifest.digest)


def _has_both_images(root: Path) -> bool:
    images = Store(root).images
    found = {image.id: [name.familiar for name in image.names] for image in images.all()}
    old, new = (documents(tiny(text))[1].digest for text in ("old", "new"))
    if new not in found:
        assert found == {old: ["alpine:latest"]}
        return False
    assert found == {old: [], new: ["alpine:latest", "busybox:latest"]}
    return True


def _remove_image(root: Path) -> None:
    store = Store(root).create()
    for image in store.images.all():
        anyio.run(store.images.untag, image.manifest.digest, image.names)
    store.collect()


def _is_empty(root: Path) -> bool:
    store = Store(root).create()
    images = store.images.all()
    assert all(image.verified == "Yes" for image in images)
    diff_id = documents(tiny("old"))[1].diff_ids[0]
    if store.layers.find(diff_id) is not None:
        assert (store.layers.files(diff_id) / "file").read_bytes() == b"hello"
    left = [path for top in ("blobs", "layers", "ingest") for path in (root / top).glob("*/*")]
    return not images and not left


def _with_a_staged_layer(root: Path) -> None:
    store = Store(root).create()
    stage(store)
    store.paths.ingest(_LAYER).write_bytes(b"hello")


def _seal(root: Path) -> None:
    store = Store(root).create()
    blob = None if store.blobs.has(_LAYER, 5) else _LAYER
    layer = None if store.layers.find(_LAYER) else stage(store)
    anyio.run(store.sealer.seal, blob, layer)


def _is_sealed(root: Path) -> bool:
    store = Store(root).create()
    assert store.blobs.has(_LAYER, 5) != store.paths.ingest(_LAYER).exists()
    if store.layers.find(_LAYER) is None:
        assert not store.paths.layer(_LAYER).exists()
        return False
    assert (store.layers.files(_LAYER) / "file").read_bytes() == b"hello"
    return store.blobs.has(_LAYER, 5)


def _run_container(root: Path) -> None:
    store = Store(root).create()

    async def live() -> None:
        image = store.images.find("alpine")
        async with store.containers.living(image, ("sh",), name="gone", remove=True) as container:
            (container.path / "upper").mkdir()
            store.containers.write_exit(container, 0)
        async with store.containers.living(image, ("sh",), name=None, remove=False) as container:
            pass

    anyio.run(live)


def _has_run(root: Path) -> bool:
    containers = Store(root).containers.all()
    assert not any(container.running for container in containers)
    assert all(container.remove == (container.name == "gone") for container in containers)
    kept = [container for container in containers if not container.remove]
    return bool(kept) and len(list((root / "containers").iterdir())) == len(kept)


def _with_a_container(root: Path) -> None:
    _with_an_image(root)
    store = Store(root).create()

    async def live() -> None:
        image = store.images.find("alpine")
        async with store.containers.living(image, ("sh",), name="old", remove=False) as container:
            (container.path / "upper" / "directory").mkdir(parents=True)

    anyio.run(live)


def _remove_container(root: Path) -> None:
    containers = Store(root).create().containers
    for container in containers.all():
        containers.remove(container)


def _has_no_container(root: Path) -> bool:
    found: list[Container] = Store(root).containers.all()
    assert all((container.path / "upper" / "directory").is_dir() for container in found)
    return not found


DEEDS = {
    "making a store": Deed(_nothing, _make_store, _is_store),
    "adding an image": Deed(_with_blobs, _add_image, _has_both_images),
    "removing an image": Deed(_with_an_image, _remove_image, _is_empty),
    "sealing a layer": Deed(_with_a_staged_layer, _seal, _is_sealed),
    "running a container": Deed(_with_an_image, _run_container, _has_run),
    "removing a container": Deed(_with_a_container, _remove_container, _has_no_container),
}

if __name__ == "__main__":
    print(sweep(DEEDS[sys.argv[1]], Path(sys.argv[2]), int(sys.argv[3])))
