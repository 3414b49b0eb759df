"""Filling a store as a pull does, without its network; and looking at it as another process."""

from __future__ import annotations

import ctypes
import gc
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

from aiodocker_lite.digest import Digest
from aiodocker_lite.image import Image
from aiodocker_lite.manifest import ImageConfig, Manifest, parse_config, parse_manifest
from aiodocker_lite.reference import Reference
from aiodocker_lite.store import Store
from aiodocker_lite.store.layers import LayerRecord
from aiodocker_lite.testing import images

_REPOSITORY = Path(__file__).parents[2]
_NOBODY = 65534


def tiny(content: str = "hello", *, docker: bool = False) -> images.Image:
    """An image of one layer with one file."""
    return images.image(images.layer({"file": content.encode()}, docker=docker), docker=docker)


def documents(image: images.Image) -> tuple[Manifest, ImageConfig]:
    """What a pull reads before it brings the layers."""
    manifest = parse_manifest(image.manifest.raw, image.manifest.descriptor)
    assert isinstance(manifest, Manifest)
    return manifest, parse_config(image.config.raw, manifest.config)


def stage(store: Store, content: bytes = b"hello") -> LayerRecord:
    """A verified layer with one file, staged."""
    digest = Digest.of(content)
    (store.layers.stage(digest) / "file").write_bytes(content)
    return LayerRecord.now(digest, digest, size=len(content), entries=1, skipped=0, owners="user")


async def bring_layers(store: Store, image: images.Image) -> None:
    """Everything of an image but its documents and its name."""
    for layer in image.layers:
        if store.layers.find(layer.diff_id) is None:
            (store.layers.stage(layer.diff_id) / "file").write_bytes(b"hello")
            store.paths.ingest(layer.digest).write_bytes(layer.raw)
            record = LayerRecord.now(layer.diff_id, layer.digest, size=5, entries=1, skipped=0, owners="user")
            await store.sealer.seal(layer.digest, record)


async def bring(store: Store, image: images.Image, *names: str) -> Image:
    """A whole image under these names."""
    async with store.counting_on_content():
        await bring_layers(store, image)
        manifest, config = documents(image)
        return await store.images.add(
            [Reference.parse(name) for name in names], manifest, config, manifest.digest
        )


def python(code: str, *arguments: str | Path) -> subprocess.Popen[str]:
    """Another process that executes this code, with pipes to talk to it."""
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=_REPOSITORY,
    )


def end(process: subprocess.Popen[str]) -> str:
    """Let a process that waits for its input come to its end; returns what it still wrote."""
    out, _ = process.communicate()
    assert process.returncode == 0
    return out


def traced(code: str, *arguments: str | Path, fault: str = "", log: Path | None = None) -> str:
    """What this code prints in a process in which a system call fails, such as "fsync:error=EIO".

    The log has the calls that write to the disk.
    """
    calls = "trace=fsync,syncfs,?rename,?renameat,?renameat2"
    command = ["strace", "-f", "-qq", "-o", str(log or os.devnull), "-e", calls]
    if fault:
        command += ["-e", f"inject={fault}"]
    done = subprocess.run(
        [*command, sys.executable, "-c", code, *map(str, arguments)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=_REPOSITORY,
        check=True,
    )
    return done.stdout


def unprivileged(action: Callable[[], None]) -> None:
    """Do this with the rights of nobody: in a thread, for each has its own user for file systems."""
    errors: list[BaseException] = []

    def act() -> None:
        if os.geteuid() == 0:
            ctypes.CDLL(None).setfsuid(_NOBODY)
        try:
            action()
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=act)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]


def descriptors() -> int:
    """How many files this process has open."""
    return len(list(Path("/proc/self/fd").iterdir()))


def descriptors_before() -> int:
    """The same, when what earlier tests forgot has been closed, so that no collection of it is counted later."""
    gc.collect()
    return descriptors()
