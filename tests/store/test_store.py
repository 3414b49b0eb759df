"""The store as a whole: the rights that are given out, and SIGKILL at any line."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import anyio
import pytest

from aiodocker_lite.digest import Digest
from aiodocker_lite.store import Store
from aiodocker_lite.store.locks import is_held
from tests.store.filling import python
from tests.store.killing import DEEDS

A, B, C = (Digest.of(text) for text in (b"a", b"b", b"c"))
BRING = """
import anyio, sys
from pathlib import Path
from aiodocker_lite.digest import Digest
from aiodocker_lite.store import Store

async def main():
    store = Store(Path(sys.argv[1])).create()
    async with store.bringing(Digest.of(b"a"), Digest.of(b"b"), lambda: None):
        print("bringing", flush=True)
        sys.stdin.readline()

anyio.run(main)
"""


@pytest.mark.parametrize(("blob", "diff_id"), [(A, B), (A, C), (C, B)])
async def test_one_at_a_time_brings_a_blob_or_a_layer(store: Store, blob: Digest, diff_id: Digest) -> None:
    """Over all processes; the second hears that it waits, and its turn comes when the first is killed (S06)."""
    process = python(BRING, store.paths.root)
    assert process.stdout is not None
    process.stdout.readline()
    waits: list[str] = []

    def on_wait() -> None:
        waits.append("waiting")
        process.kill()

    async with store.bringing(blob, diff_id, on_wait):
        pass
    assert waits == ["waiting"]
    process.communicate()


async def test_what_has_nothing_in_common_is_brought_at_the_same_time(store: Store) -> None:
    """Nobody waits for anybody."""
    async with store.bringing(A, B, pytest.fail), store.bringing(B, A, pytest.fail):
        pass


async def test_the_same_layer_in_two_blobs_ends(store: Store) -> None:
    """Many who want the same things in different pairs do not wait for each other for ever."""
    pairs = [(A, B), (C, B), (A, C), (B, C), (C, A), (B, A)] * 3

    async def bring(blob: Digest, diff_id: Digest) -> None:
        async with store.bringing(blob, diff_id, lambda: None):
            await anyio.lowlevel.checkpoint()

    with anyio.fail_after(20):
        async with anyio.create_task_group() as tasks:
            for pair in pairs:
                tasks.start_soon(bring, *pair)
    assert not any(is_held(lock) for lock in (store.paths.root / "locks").iterdir())


@pytest.mark.parametrize(
    ("deed", "stride"),
    [
        ("making a store", 5),
        ("adding an image", 59),
        ("removing an image", 83),
        ("sealing a layer", 53),
        ("running a container", 83),
        ("removing a container", 41),
    ],
)
def test_a_kill_at_any_line_leaves_the_old_state_or_the_new(tmp_path: Path, deed: str, stride: int) -> None:
    """And the same thing, done again, succeeds (S01). With a stride of 1 it is every line."""
    assert deed in DEEDS
    done = subprocess.run(
        [sys.executable, "-m", "tests.store.killing", deed, str(tmp_path), str(stride)],
        cwd=Path(__file__).parents[2],
        stdout=subprocess.PIPE,
        check=True,
    )
    assert int(done.stdout) >= 5
