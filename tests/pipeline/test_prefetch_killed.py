"""SIGKILL in the middle of many images: what is on disk is not fetched again, neither layers nor manifests."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import anyio
import pytest
from anyio.streams.buffered import BufferedByteReceiveStream

from aiodocker_lite import Engine, Settings
from aiodocker_lite.testing.images import image, layer, noise
from aiodocker_lite.testing.registry import FakeRegistry
from tests.fakes.stores import layout_flaws

BATCH = 64 * 1024
BASES = [layer({f"base{n}": noise(600_000, f"base{n}")}) for n in range(3)]
APPS = [image(*BASES[: n % 3 + 1], layer({f"own{n}": noise(30_000 * n + 100, f"own{n}")})) for n in range(20)]
PREFETCH = f"""
import sys, anyio
from pathlib import Path
from aiodocker_lite import Engine, Settings
async def main():
    settings = Settings(root=Path(sys.argv[1]), batch={BATCH}, workers=2)
    async with Engine(settings) as engine:
        await engine.prefetch(sys.argv[2:], progress=lambda event: print(type(event).__name__, flush=True))
anyio.run(main)
"""


async def kill_after(happening: bytes, times: int, store: Path, names: list[str]) -> None:
    """Prefetch in a process of its own, and kill it when this has happened so many times."""
    command = [sys.executable, "-c", PREFETCH, str(store), *names]
    async with await anyio.open_process(command, stdout=subprocess.PIPE, stderr=None) as process:
        assert process.stdout is not None
        lines = BufferedByteReceiveStream(process.stdout)
        while times:
            times -= await lines.receive_until(b"\n", 100) == happening
        process.send_signal(signal.SIGKILL)
        await process.wait()


def kept(store: Path) -> dict[str, int]:
    """Bytes of each digest that are here, whole or in part."""
    found = {f"sha256:{path.name}": path.stat().st_size for path in store.glob("blobs/sha256/*")}
    for path in store.glob("ingest/sha256-*"):
        if not path.suffix:
            found[path.name.replace("-", ":")] = path.stat().st_size
    return found


@pytest.mark.parametrize(
    ("happening", "times"),
    [(b"ImagePlanned", 11), (b"LayerDownloaded", 25), (b"LayerReady", 9), (b"ImageReady", 6)],
)
async def test_a_killed_prefetch_fetches_nothing_twice(tmp_path: Path, happening: bytes, times: int) -> None:
    """Both runs together cost what one does, but for less than a batch of each layer that was under way."""
    store = tmp_path / "store"
    async with FakeRegistry() as registry:
        for number, each in enumerate(APPS):
            registry.add(f"app{number}", "latest", each)
        names = [f"{registry.address}/app{number}" for number in range(len(APPS))]
        await kill_after(happening, times, store, names)
        had = kept(store)
        registry.forget()
        async with Engine(Settings(root=store)) as engine:
            report = await engine.prefetch(names)
        asked = [seen for seen in registry.requests if seen.method == "GET" and "sha256:" in seen.path]
    sizes = {str(blob.digest): len(blob.raw) for a in APPS for blob in (*a.blobs, *a.documents)}
    digests = [seen.path.rpartition("/")[2] for seen in asked]
    assert had
    assert set(digests) == {digest for digest, size in sizes.items() if had.get(digest, 0) < size}
    assert len(digests) == len(set(digests))
    for seen, digest in zip(asked, digests, strict=True):
        start = int(seen.headers.get("Range", "bytes=0-")[6:].partition("-")[0])
        assert start == had.get(digest, 0), digest
    assert len(report.images) == 20
    # What was being written goes with the next collection.
    assert layout_flaws(store) == []
