"""Containers: alive as long as somebody runs them, and gone when they shall be."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from contextlib import ExitStack
from pathlib import Path

import anyio
import pytest
from anyio.lowlevel import checkpoint

from aiodocker_lite.errors import (
    ContainerNameTaken,
    ContainerRunning,
    DiskFull,
    InvalidOption,
    NoSuchContainer,
)
from aiodocker_lite.image import Image
from aiodocker_lite.store import Store
from aiodocker_lite.store.container import Container
from aiodocker_lite.store.state import State, read_state, write_state
from tests.fakes.disks import loop_disk, why_not
from tests.store.conftest import mounted
from tests.store.filling import bring, descriptors, descriptors_before, end, python, tiny

LIVE = """
import anyio, sys
from contextlib import ExitStack
from pathlib import Path
from aiodocker_lite.errors import ContainerNameTaken
from aiodocker_lite.store import Store

async def main():
    store = Store(Path(sys.argv[1])).create()
    image = store.images.find("alpine")
    try:
        async with store.containers.living(image, ("sh",), name=sys.argv[2], remove="rm" in sys.argv) as container:
            (container.path / "upper").mkdir()
            print(container.id, flush=True)
            sys.stdin.readline()
    except ContainerNameTaken:
        print("taken", flush=True)

anyio.run(main)
"""


@pytest.fixture
async def image(store: Store) -> Image:
    """An image to run."""
    return await bring(store, tiny(), "alpine")


def living(store: Store, name: str, *how: str) -> subprocess.Popen[str]:
    """A process in which a container lives until its input ends."""
    process = python(LIVE, store.paths.root, name, *how)
    assert process.stdout is not None
    assert len(process.stdout.readline()) == 65
    return process


async def run(store: Store, image: Image, name: str | None = None, *, remove: bool = False) -> Container:
    """A container that has ended."""
    async with store.containers.living(image, ("sh", "-c", "x"), name=name, remove=remove) as container:
        store.containers.write_exit(container, 3)
    return container


async def test_a_container_is_alive_while_its_block_runs(store: Store, image: Image) -> None:
    """Then it has ended, and what is known of it is kept."""
    async with store.containers.living(image, ("sh", "-c", "x"), name="one", remove=False) as container:
        assert container.running
        assert container.exit_code is None
        assert store.containers.all() == [container]
        assert store.containers.find("one").running
        store.containers.write_exit(container, 3)
    found = store.containers.find("one")
    assert found == container
    assert (found.running, found.exit_code) == (False, 3)
    assert (found.command, found.image) == (("sh", "-c", "x"), "alpine:latest")
    assert (found.manifest, found.layers) == (image.manifest.digest, image.config.diff_ids)
    assert found.path.stat().st_mode & 0o777 == 0o700
    assert json.loads((found.path / "config.json").read_text())["imageID"] == str(image.id)


async def test_a_container_that_shall_be_removed_is(store: Store, image: Image) -> None:
    """With whatever it has written, and after an error too."""
    with pytest.raises(ConnectionError):
        await fail_in_a_container(store, image)
    assert list(store.paths.containers.iterdir()) == []


async def fail_in_a_container(store: Store, image: Image) -> None:
    async with store.containers.living(image, ("sh",), name=None, remove=True) as container:
        (container.path / "upper" / "a").mkdir(parents=True)
        raise ConnectionError("terminal")


async def test_a_store_that_is_removed_meanwhile_is_no_error(store: Store, image: Image) -> None:
    """There is nothing left to be removed (S12)."""
    async with store.containers.living(image, ("sh",), name=None, remove=True):
        shutil.rmtree(store.paths.root)
    assert store.containers.all() == []
    assert not store.paths.root.exists()


async def test_cancelling_removes_it_too(store: Store, image: Image) -> None:
    """After more and more turns of the loop: nothing is left, no file is open, and its name is free."""
    turns = 0
    lived = 0
    before = descriptors_before()
    while not lived or turns < 20:
        async with anyio.create_task_group() as tasks:

            async def live() -> None:
                nonlocal lived
                async with store.containers.living(image, ("sh",), name="x", remove=True) as container:
                    (container.path / "upper").mkdir()
                    lived += 1
                    await anyio.sleep_forever()

            tasks.start_soon(live)
            for _ in range(turns):
                await checkpoint()
            tasks.cancel_scope.cancel()
        assert list(store.paths.containers.iterdir()) == []
        assert descriptors() == before
        turns += 1


# --- names ---------------------------------------------------------------------------------


async def test_a_name_can_be_used_once(store: Store, image: Image) -> None:
    """It is taken until its container is removed, whether that runs or not."""
    container = await run(store, image, "one")
    with pytest.raises(ContainerNameTaken, match=container.id[:12]):
        await run(store, image, "one")
    store.containers.remove(container)
    await run(store, image, "one")


@pytest.mark.parametrize("name", ["", "-x", ".x", "a/b", "../x", "a b", "ä", "a\n"])
async def test_a_bad_name_is_refused(store: Store, image: Image, name: str) -> None:
    """Before there is anything of it."""
    with pytest.raises(InvalidOption, match=r"may only have letters, .*, and not begin with these three$"):
        await run(store, image, name)
    assert store.containers.all() == []


async def test_without_a_name_each_gets_one_of_its_own(store: Store, image: Image) -> None:
    """With so many, chance alone would give one twice."""
    names = [(await run(store, image)).name for _ in range(40)]
    assert len(set(names)) == 40


async def test_of_many_who_want_a_name_one_gets_it(store: Store, image: Image) -> None:
    """Processes that begin at the same moment (S06)."""
    processes = [python(LIVE, store.paths.root, "one") for _ in range(4)]
    firsts = []
    for process in processes:
        assert process.stdout is not None
        firsts.append(process.stdout.readline())
    assert sorted(len(first) for first in firsts) == [6, 6, 6, 65]
    assert [container.name for container in store.containers.all()] == ["one"]
    for process in processes:
        end(process)


async def test_a_container_is_found_by_name_or_id(store: Store, image: Image) -> None:
    """Or by the beginning of its ID, if no other begins so; a name comes first."""
    one = await run(store, image, "one")
    two = await run(store, image, one.id[:4])
    for text in ("one", one.id, one.id[:12]):
        assert store.containers.find(text) == one
    assert store.containers.find(one.id[:4]) == two
    for number in range(16):
        await run(store, image, f"another{number}")
    assert store.containers.all()[:2] == [one, two]
    ids = [container.id for container in store.containers.all()]
    shared = next(i[0] for i in ids if sum(other[0] == i[0] for other in ids) > 1)
    for text in ("", "nothing", shared):
        with pytest.raises(NoSuchContainer):
            store.containers.find(text)


# --- removing ------------------------------------------------------------------------------


async def test_what_runs_is_not_removed(store: Store, image: Image) -> None:
    """Here or in another process; afterwards it can be, once."""
    process = living(store, "one")
    container = store.containers.find("one")
    with pytest.raises(ContainerRunning, match=container.id):
        store.containers.remove(container)
    assert store.containers.find("one").running
    end(process)
    store.containers.remove(container)
    assert not container.running
    with pytest.raises(NoSuchContainer, match="one"):
        store.containers.remove(container)


async def test_a_container_that_vanishes_while_it_is_looked_at_is_no_error(
    store: Store, image: Image
) -> None:
    """Listing, asking and removing go on while others come and go (S06)."""

    async def come_and_go() -> None:
        for _ in range(15):
            await run(store, image, remove=True)
        tasks.cancel_scope.cancel()

    async def look() -> None:
        while True:
            await anyio.to_thread.run_sync(
                lambda: [(container.running, container.exit_code) for container in store.containers.all()]
            )

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(come_and_go)
        tasks.start_soon(look)
    assert store.containers.all() == []


async def test_what_was_left_by_a_killed_engine_goes_with_the_next_run(store: Store, image: Image) -> None:
    """If it should have been removed; what should stay does, and has ended (S01)."""
    for process in (living(store, "gone", "rm"), living(store, "kept")):
        process.kill()
        process.communicate()
        assert process.returncode == -signal.SIGKILL
    assert {container.name for container in store.containers.all()} == {"gone", "kept"}
    alive = living(store, "alive", "rm")
    new = await run(store, image, "gone")
    assert {container.name for container in store.containers.all()} == {"gone", "kept", "alive"}
    assert store.containers.find("gone") == new
    assert not store.containers.find("kept").running
    assert store.containers.find("alive").running
    assert len(list(store.paths.containers.iterdir())) == 3
    end(alive)


async def test_what_cannot_be_removed_stops_nobody(store: Store, image: Image) -> None:
    """What is left of an old container may be busy: it is none any more, and its name is free."""
    process = living(store, "gone", "rm")
    upper = store.containers.find("gone").path / "upper"
    process.kill()
    process.communicate()
    with mounted(upper, "size=1m"):
        await run(store, image, "gone", remove=True)
        assert store.containers.all() == []
        assert upper.exists()
    await run(store, image, "gone", remove=True)
    assert list(store.paths.containers.iterdir()) == []


async def test_a_directory_that_is_no_container_is_passed_over(store: Store, image: Image) -> None:
    """A run that was killed before it said what it is; the next one clears it away."""
    (store.paths.containers / "half").mkdir()
    (store.paths.containers / "half" / "alive").touch()
    assert store.containers.all() == []
    await run(store, image, "one")
    assert [path.name for path in store.paths.containers.iterdir()] == [store.containers.find("one").id]


# --- bad luck ------------------------------------------------------------------------------


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b"{}", b'{"manifest": "sha256:x"}', b"null"])
async def test_a_damaged_container_stops_no_other(store: Store, image: Image, damage: bytes) -> None:
    """It is shown, and can be removed by its ID; until then nothing that it may need is collected."""
    container = await run(store, image, "one")
    other = await run(store, image, "two")
    found = json.loads((container.path / "config.json").read_text())
    if damage == b'{"manifest": "sha256:x"}':
        damage = json.dumps({**found, "manifest": "sha256:x"}).encode()
    (container.path / "config.json").write_bytes(damage)
    damaged, sound = store.containers.all()
    assert (damaged.id, damaged.is_damaged, damaged.running) == (container.id, True, False)
    assert sound == other
    await store.images.untag(image.manifest.digest, image.names)
    store.containers.remove(other)
    assert store.collect() == ()
    assert (await run(store, image, "one")).name == "one"
    store.containers.remove(store.containers.find(container.id[:12]))
    assert [each.name for each in store.containers.all()] == ["one"]
    assert store.collect() != ()


@pytest.mark.parametrize("state", [b"", b"{", b"[]", b"{}", b'{"exitCode": null}', b'{"exitCode": "x"}'])
async def test_an_unreadable_state_is_an_unknown_end(store: Store, image: Image, state: bytes) -> None:
    """The power may have failed while it was written."""
    container = await run(store, image)
    (container.path / "state.json").write_bytes(state)
    assert container.exit_code is None


async def test_a_full_disk_leaves_no_half_container(small_disk: Path) -> None:
    """The error says so, and the name is free (S05)."""
    store = Store(small_disk / "store").create()
    image = await bring(store, tiny(), "alpine")
    await run(store, image, "old")
    filler = small_disk / "filler"
    with pytest.raises(OSError, match="No space"):
        filler.write_bytes(bytes(2 << 20))
    with pytest.raises(DiskFull):
        await run(store, image, "one")
    assert [container.name for container in store.containers.all()] == ["old"]
    assert len(list(store.paths.containers.iterdir())) == 1
    filler.unlink()
    await run(store, image, "one")


@pytest.mark.skipif(bool(why_not()), reason=why_not())
@pytest.mark.parametrize("kind", ["tmpfs", "ext4"])
def test_how_it_ended_is_kept_on_a_full_disk(tmp_path: Path, kind: str) -> None:
    """Where it stood before, which is as long; what does not fit there is unknown, and not what was before it."""
    with ExitStack() as stack:
        place = tmp_path / "disk"
        if kind == "ext4":
            stack.enter_context(loop_disk(tmp_path, size=64 << 20))
        else:
            place.mkdir()
            stack.enter_context(mounted(place, "size=1m"))
        write_state(place, State("running", 7, 8, started="then"))
        os.sync()
        with pytest.raises(OSError, match="No space"):
            (place / "filler").write_bytes(bytes(80 << 20))
        ended = State("exited", exit_code=3, error="some output could not be kept: " + "x" * 1000)
        write_state(place, ended)
        os.sync()
        assert read_state(place) == ended
        assert sorted(path.name for path in place.iterdir() if path.is_file()) == ["filler", "state.json"]
        with pytest.raises(DiskFull):
            write_state(place, State("exited", error="x" * 100_000))
        assert read_state(place) == State("dead")
