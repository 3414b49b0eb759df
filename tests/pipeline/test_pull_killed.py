"""SIGKILL at random moments: nothing that is on disk is fetched again, and the end is the same."""

from __future__ import annotations

import os
import random
import signal
import subprocess
from pathlib import Path

import pytest
from anyio import to_thread

from aiodocker_lite import Engine, Settings
from aiodocker_lite.testing.images import image, layer, noise
from aiodocker_lite.testing.registry import FakeRegistry
from tests.fakes.commands import environment
from tests.fakes.forks import Forks
from tests.fakes.trees import read_tree

KILLS = 20
BATCH = 64 * 1024
LAYERS = [layer({f"d{n}/f{m}": noise(1000 + 40_000 * n, f"{n}.{m}") for m in range(12)}) for n in range(4)]
PULL = f"""
import sys, anyio
from pathlib import Path
from aiodocker_lite import Engine, Settings
async def main():
    settings = Settings(root=Path(sys.argv[1]), batch={BATCH}, workers=2)
    async with Engine(settings) as engine:
        await engine.pull(sys.argv[2], progress=lambda event: print(type(event).__name__, flush=True))
anyio.run(main)
"""


def kill_after(events: int, forked: Forks, store: Path, name: str) -> bool:
    """Pull in a process of its own, and kill it after so many events; True if it had ended before."""
    fork = forked.start(["-c", PULL, str(store), name], environment(store.parent))
    os.close(fork.stdin)
    with os.fdopen(fork.stdout) as lines, os.fdopen(fork.stderr) as said:
        for _ in range(events):
            if not lines.readline():
                assert fork.wait() == 0, said.read()
                return True
        os.kill(fork.pid, signal.SIGKILL)
        fork.wait()
    return False


@pytest.mark.timeout(200)
async def test_a_killed_pull_fetches_only_the_missing_bytes(forked: Forks, tmp_path: Path) -> None:
    """Each request begins where the file on disk ends, and what is sealed is not asked for.

    What was received and not yet on disk is less than one batch for each layer, for that is
    when it is written.
    """
    chance = random.Random(20)
    store, undisturbed = tmp_path / "killed", tmp_path / "undisturbed"
    async with FakeRegistry() as registry:
        registry.add("app", "latest", image(*LAYERS))
        name = f"{registry.address}/app"
        killed = 0
        while killed < KILLS:
            expected = kept(store)
            registry.requests.clear()
            ended = await to_thread.run_sync(kill_after, chance.randrange(1, 75), forked, store, name)
            for seen in registry.asked("GET", "/blobs/"):
                digest = seen.path.rpartition("/")[2]
                if digest in expected:
                    assert seen.headers.get("Range", "bytes=0-") == f"bytes={expected[digest]}-", digest
            sealed = {digest for digest, size in expected.items() if size < 0}
            assert not sealed & {seen.path.rpartition("/")[2] for seen in registry.asked("GET", "/blobs/")}
            killed += not ended
            if ended:
                subprocess.run(["rm", "-r", str(store)], check=True)
        async with Engine(Settings(root=store)) as engine:
            survivor = await engine.pull(name)
            assert survivor.verified == "Yes"
            # What a worker that outlived its process may still write in stays until a later command.
            assert [path for path in (store / "ingest").iterdir() if path.suffix != ".layer"] == []
        async with Engine(Settings(root=undisturbed)) as other:
            await other.pull(name)
    for diff_id in survivor.config.diff_ids:
        place = f"layers/sha256/{diff_id.hex}/fs"
        trees = [read_tree(root / place) for root in (store, undisturbed)]
        # Parents that the layer does not name have the time at which they were made.
        times = [{path: node for path, node in tree.items() if b"/" in path} for tree in trees]
        assert times[0] == times[1]


def kept(store: Path) -> dict[str, int]:
    """What a store has of each layer: bytes in its ingest file, or -1 for a sealed blob."""
    found = {}
    for each in LAYERS:
        partial = store / f"ingest/sha256-{each.digest.hex}"
        if (store / f"blobs/sha256/{each.digest.hex}").exists():
            found[str(each.digest)] = -1
        elif partial.exists():
            found[str(each.digest)] = partial.stat().st_size
    return found
