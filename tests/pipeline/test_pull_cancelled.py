"""Whoever cancels a pull gets everything back: processes, descriptors, locks; and takes nobody else along."""

from __future__ import annotations

import fcntl
import gc
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import anyio
import pytest
from anyio.lowlevel import checkpoint

from aiodocker_lite import Engine, Settings
from aiodocker_lite.errors import RegistryUnavailable
from aiodocker_lite.events import Event, LayerDownloaded, Waiting
from aiodocker_lite.store.locks import hold_now
from aiodocker_lite.testing.faults import cut
from aiodocker_lite.testing.images import image, layer, noise
from aiodocker_lite.testing.registry import FakeRegistry
from tests.fakes.processes import children
from tests.fakes.stores import flaws, layer_files

FILES = {f"d{n}/f": noise(20_000 + 1000 * n, str(n)) for n in range(4)}
LAYERS = [layer({f"d{n}/": b"", f"d{n}/f": FILES[f"d{n}/f"]}) for n in range(4)]
KEPT = 15_000


@pytest.fixture
async def registry() -> AsyncIterator[FakeRegistry]:
    """With an image of four layers, and one of one."""
    async with FakeRegistry() as registry:
        registry.add("app", "latest", image(*LAYERS))
        registry.add("one", "latest", image(LAYERS[0]))
        yield registry


# --- at every moment -----------------------------------------------------------------------------


@dataclass(frozen=True)
class Moment:
    """After so many events of a pull, and then so many turns of the event loop."""

    events: int
    turns: int


async def pull_until(moment: Moment, engine: Engine, name: str) -> bool:
    """Pull, and cancel; True if the pull had ended before."""
    seen, due, ended = 0, anyio.Event(), False

    def watch(event: Event) -> None:
        nonlocal seen
        seen += 1
        if seen >= moment.events:
            due.set()

    async def stop() -> None:
        if moment.events:
            await due.wait()
        for _ in range(moment.turns):
            await checkpoint()
        both.cancel_scope.cancel()

    async with anyio.create_task_group() as both:
        both.start_soon(stop)
        await engine.pull(name, progress=watch)
        ended = True
        both.cancel_scope.cancel()
    return ended


MOMENTS = {
    # The store is locked, the first worker starts, the documents are fetched, the layers asked for.
    "the first turns": [Moment(0, turns) for turns in range(64)],
    # Layers come, are unpacked, sealed and ready; the image gets its name.
    "the events": [Moment(events, turns) for events in range(1, 18) for turns in (0, 2)],
}


@pytest.mark.parametrize("moments", MOMENTS.values(), ids=MOMENTS)
async def test_a_cancelled_pull_leaves_nothing_half_done(
    registry: FakeRegistry, settings: Settings, tmp_path: Path, moments: list[Moment]
) -> None:
    """Layers are whole or absent, nobody works on, nothing is locked, and now and then we go on from there."""
    name = f"{registry.address}/app"
    await pulled_whole(settings, name)  # what is opened once and for all is open now
    await registry.wait_until_closed()
    gc.collect()  # of earlier tests nothing shall be closed meanwhile
    before = descriptors()
    cancelled = 0
    for number, moment in enumerate(moments):
        place = replace(settings, root=tmp_path / str(number), workers=2)
        async with Engine(place) as engine:
            cancelled += not await pull_until(moment, engine, name)
            assert flaws(place.root) == [], moment
            assert locked(place.root) == [], moment
        assert children() == [], moment
        await eventually(lambda: descriptors() == before, moment)
        if number % 8 == 0:
            await pulled_whole(place, name)
    assert cancelled > len(moments) * 3 // 4
    gc.collect()  # what was forgotten complains now


async def pulled_whole(settings: Settings, name: str) -> None:
    async with Engine(settings) as engine:
        assert (await engine.pull(name)).verified == "Yes"
    assert layer_files(settings.root) == FILES
    assert flaws(settings.root) == []
    assert list((settings.root / "ingest").iterdir()) == []


def descriptors() -> list[str]:
    """What is open in this process."""
    found = []
    for entry in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # the one that this list is read with
            found.append(str(entry.readlink()))
    return sorted(found)


def locked(root: Path) -> list[str]:
    """The locks that somebody holds."""
    found = []
    for path in (root / "locks").iterdir():
        with hold_now(path) as free:
            if not free:
                found.append(path.name)
    return found


async def eventually(holds: Callable[[], bool], what: object) -> None:
    """Some turns later; a socket is closed in the turn after the one that says so."""
    with anyio.move_on_after(1):
        while not holds():
            await checkpoint()
    assert holds(), what


# --- two at once ---------------------------------------------------------------------------------


class Watcher:
    """Events of one pull, and a way to wait for one of them."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self._news = anyio.Event()

    def __call__(self, event: Event) -> None:
        self.events.append(event)
        self._news.set()
        self._news = anyio.Event()

    async def sees(self, expected: Callable[[Event], bool]) -> None:
        with anyio.fail_after(5):
            while not any(map(expected, self.events)):
                await self._news.wait()


def is_waiting(event: Event) -> bool:
    return isinstance(event, Waiting)


def has_stalled(event: Event) -> bool:
    return isinstance(event, LayerDownloaded) and event.received == KEPT


@pytest.mark.parametrize("engines", [1, 2], ids=["one engine", "two engines"])
@pytest.mark.parametrize("leaver", ["the one who works", "the one who waits"])
async def test_one_of_two_who_pull_the_same_may_leave(
    registry: FakeRegistry, settings: Settings, engines: int, leaver: str
) -> None:
    """The other one finishes, and goes on where the first one was."""
    registry.script("GET", str(LAYERS[0].digest), cut(KEPT, "stall"))
    name = f"{registry.address}/one"
    worker, waiter = Watcher(), Watcher()
    # Who works is patient for as long as the other one may need to wait for him.
    patience = 60 if leaver == "the one who works" else 0.5
    settings = replace(settings, batch=1000, idle_timeout=patience)
    async with Engine(settings) as one, Engine(settings) as another:
        async with anyio.create_task_group() as tasks:
            scopes: dict[Watcher, anyio.CancelScope] = {}

            async def pull(engine: Engine, watcher: Watcher) -> None:
                with anyio.CancelScope() as scopes[watcher]:
                    assert (await engine.pull(name, progress=watcher)).verified == "Yes"

            tasks.start_soon(pull, one, worker)
            await worker.sees(has_stalled)
            tasks.start_soon(pull, one if engines == 1 else another, waiter)
            await waiter.sees(is_waiting)
            gone, left = (worker, waiter) if leaver == "the one who works" else (waiter, worker)
            scopes[gone].cancel()
        assert scopes[gone].cancelled_caught
        assert not scopes[left].cancelled_caught
        assert layer_files(settings.root) == {"d0/f": FILES["d0/f"]}
        assert flaws(settings.root) == []
        assert locked(settings.root) == []
    ranges = [seen.headers.get("Range") for seen in registry.asked("GET", str(LAYERS[0].digest))]
    assert ranges == [None, f"bytes={KEPT}-"]
    await eventually(lambda: "lock" not in {thread.name for thread in threading.enumerate()}, "threads")


async def test_who_waits_for_another_process_can_leave_at_once(
    registry: FakeRegistry, engine: Engine
) -> None:
    """The lock that comes later is given up again, so that nobody waits for nobody."""
    path = engine.store.paths.lock(f"blob-{LAYERS[0].digest}")
    watcher = Watcher()
    with path.open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with anyio.fail_after(5):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(lambda: engine.pull(f"{registry.address}/one", progress=watcher))
                await watcher.sees(is_waiting)
                tasks.cancel_scope.cancel()
        assert locked(engine.settings.root) == [path.name]
    await eventually(lambda: locked(engine.settings.root) == [], "the lock")
    assert (await engine.pull(f"{registry.address}/one")).verified == "Yes"


async def test_what_one_registry_began_another_one_ends(registry: FakeRegistry, settings: Settings) -> None:
    """A pull that fails frees the layer for who waits for it, with all bytes that came."""
    layer_path = str(LAYERS[0].digest)
    registry.script("GET", layer_path, cut(KEPT, "stall"))
    failing = replace(settings, batch=1000, pauses=(), idle_timeout=0.5)
    async with FakeRegistry() as mirror, Engine(failing) as one, Engine(settings) as another:
        mirror.add("one", "latest", image(LAYERS[0]))
        watcher = Watcher()

        async def fail() -> None:
            with pytest.raises(RegistryUnavailable):
                await one.pull(f"{registry.address}/one", progress=watcher)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(fail)
            await watcher.sees(has_stalled)
            assert (await another.pull(f"{mirror.address}/one")).verified == "Yes"
        (asked,) = mirror.asked("GET", layer_path)
        assert asked.headers["Range"] == f"bytes={KEPT}-"
    assert flaws(settings.root) == []


async def test_the_same_layers_in_opposite_order_are_no_deadlock(settings: Settings) -> None:
    """Of equal size, so that two engines ask for them in the order of their images; each comes once."""
    same = [layer({f"f{n}": noise(30_000, str(n))}, "plain") for n in range(8)]
    narrow = replace(settings, downloads=1, workers=1)
    async with FakeRegistry() as registry, Engine(narrow) as one, Engine(narrow) as another:
        registry.add("up", "latest", image(*same))
        registry.add("down", "latest", image(*reversed(same)))
        with anyio.fail_after(20):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(one.pull, f"{registry.address}/up")
                tasks.start_soon(another.pull, f"{registry.address}/down")
        assert [found.verified for found in await one.images()] == ["Yes", "Yes"]
        for each in same:
            assert len(registry.asked("GET", str(each.digest))) == 1
    assert flaws(settings.root) == []


async def test_many_pulls_start_no_more_processes_than_allowed(settings: Settings) -> None:
    """Each pull has a worker started for it while its manifest is on the way, if there is none yet."""
    most = 0

    def count(event: Event) -> None:
        nonlocal most
        most = max(most, len(children()))

    async with FakeRegistry() as registry, Engine(replace(settings, workers=2)) as engine:
        for number in range(10):
            registry.add(f"app{number}", "latest", image(layer({"f": noise(1000, str(number))})))
        async with anyio.create_task_group() as tasks:
            for number in range(10):
                name = f"{registry.address}/app{number}"
                tasks.start_soon(lambda name: engine.pull(name, progress=count), name)
    assert 1 <= most <= 2
    assert children() == []
