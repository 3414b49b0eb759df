"""One large layer by several requests at once: from a real registry, over links that are cut, and killed."""

from __future__ import annotations

import signal
import subprocess
from dataclasses import replace
from pathlib import Path

import anyio
import pytest

from aiodocker_lite import Engine, Settings
from aiodocker_lite.events import Event, LayerDownloaded, LayerStarted, Retrying
from aiodocker_lite.store.ingest import ingesting
from aiodocker_lite.testing.faults import Fault, cut, redirected, status, together, unranged, with_headers
from aiodocker_lite.testing.images import image, layer, noise, write_layout
from aiodocker_lite.testing.messages import Reply
from aiodocker_lite.testing.registry import FakeRegistry
from tests.fakes.commands import command, environment
from tests.fakes.link import Link
from tests.fakes.processes import RealRegistry
from tests.fakes.stores import flaws

LARGE = image(layer({"large": noise(200_000_000)}, "plain"))
SMALL = image(layer({"a": noise(300_000, "a")}), layer({"b": noise(3_000_000, "b")}))
BIG = SMALL.layers[1]


async def settled(store: Path) -> int:
    """How much of the large layer is on disk, by its journal, when that does not grow any more."""
    journal, before = store / f"ingest/sha256-{LARGE.layers[0].digest.hex}.written", -1
    while True:
        extents = {tuple(map(int, line.split())) for line in journal.read_text().splitlines() if line}
        kept = sum(end - start for start, end in extents)
        if kept == before:
            return kept
        before = kept
        await anyio.sleep(2)  # twice as long as received bytes may wait to be written


async def test_a_link_that_is_cut_near_the_end_and_a_kill_cost_two_percent_of_the_rest(
    open_registry: RealRegistry, tmp_path: Path
) -> None:
    """At 99 % of a layer of 200 MB: what had crossed the link does not cross it again."""
    store, size = tmp_path / "store", len(LARGE.layers[0].raw)
    name = open_registry.push(write_layout(tmp_path / "layout", {"latest": LARGE}), "large")
    repository = name.partition("/")[2]
    async with Link(open_registry.address, cut_at=size * 99 // 100) as link:
        words = command(store, "pull", "--quiet", f"{link.address}/{repository}")
        with subprocess.Popen(words, env=environment(tmp_path)) as process:
            await link.is_cut.wait()
            kept = await settled(store)
            process.send_signal(signal.SIGKILL)
        assert link.connections >= 4
    rest = size - link.crossed
    assert size - kept < rest + 40_000  # manifests and headers have crossed, too
    async with Link(open_registry.address) as link:
        async with Engine(Settings(root=store)) as engine:
            assert (await engine.pull(f"{link.address}/{repository}")).verified == "Yes"
        assert rest < link.crossed <= 1.02 * rest
    assert flaws(store) == []
    assert list((store / "ingest").iterdir()) == []


@pytest.fixture
def in_parts(settings: Settings) -> Settings:
    """What is large for these tests, and batches that are small."""
    return replace(settings, split_above=1 << 19, batch=1 << 16)


def with_another_first_byte(reply: Reply) -> Reply:
    return replace(reply, body=bytes([reply.body[0] ^ 1]) + reply.body[1:])


ODD: dict[str, tuple[Fault, ...]] = {
    "honest": (),
    "no ranges": (unranged,),
    "no ranges from the second request on": (with_headers(), *[unranged] * 9),
    "no ranges now and then": (with_headers(), unranged, with_headers(), unranged),
    "416": (status(416), unranged),
    "only one at once": (with_headers(), *[status(429)] * 3),
    "forbidden while there is another": (with_headers(), *[status(403)] * 2),  # as many as help the first
    "another part": (with_headers(), *[with_headers(Content_Range="bytes 0-9/10")] * 3),
    "many parts": (
        with_headers(),
        *[with_headers(Content_Type="multipart/byteranges", Content_Range="")] * 3,
    ),
    "cut": (cut(70_000), cut(100_000, "reset"), cut(0), cut(100_000, "stall"), cut(5)),
}


@pytest.mark.parametrize("faults", ODD.values(), ids=ODD)
async def test_a_large_layer_arrives_whatever_its_registry_makes_of_ranges(
    in_parts: Settings, faults: tuple[Fault, ...]
) -> None:
    """R15 to R17: with one stream or with several, and no byte is written twice."""
    events: list[Event] = []
    async with FakeRegistry() as registry, Engine(replace(in_parts, idle_timeout=0.5)) as engine:
        registry.add("app", "latest", SMALL)
        registry.script("GET", str(BIG.digest), *faults)
        found = await engine.pull(f"{registry.address}/app", progress=events.append)
        asked = registry.asked("GET", str(BIG.digest))
    assert found.verified == "Yes"
    assert flaws(in_parts.root) == []
    assert list((in_parts.root / "ingest").iterdir()) == []
    assert asked[0].headers["Range"].startswith("bytes=0-")
    received = [e.received for e in events if isinstance(e, LayerDownloaded) and e.layer == BIG.digest]
    assert received == sorted(received)
    assert received[-1] == len(BIG.raw)
    assert [e.have for e in events if isinstance(e, LayerStarted) and e.layer == BIG.digest] == [0]


async def test_bytes_that_do_not_fit_together_are_fetched_once_more_in_one(in_parts: Settings) -> None:
    """R18: the content changed between two requests; the second time there is one."""
    async with FakeRegistry() as registry, Engine(in_parts) as engine:
        registry.add("app", "latest", SMALL)
        registry.script("GET", str(BIG.digest), with_headers(), with_another_first_byte)
        events: list[Event] = []
        found = await engine.pull(f"{registry.address}/app", progress=events.append)
        asked = registry.asked("GET", str(BIG.digest))
    assert found.verified == "Yes"
    assert "Range" not in asked[-1].headers
    assert sum("Range" not in seen.headers for seen in asked) == 1
    (again,) = [event for event in events if isinstance(event, Retrying)]
    assert "wrong content" in again.reason or "cannot be unpacked" in again.reason


async def test_content_that_changed_after_a_cut_is_fetched_once_more(settings: Settings) -> None:
    """R18: of a small layer too, and in the run in which it was cut."""
    async with FakeRegistry() as registry, Engine(settings) as engine:
        registry.add("app", "latest", SMALL)
        registry.script("GET", str(BIG.digest), cut(100_000), with_another_first_byte)
        assert (await engine.pull(f"{registry.address}/app")).verified == "Yes"
        asked = [seen.headers.get("Range") for seen in registry.asked("GET", str(BIG.digest))]
        assert asked == [None, "bytes=100000-", None]


async def test_another_etag_is_no_other_content(settings: Settings) -> None:
    """R18: the digest decides; servers behind one name have tags of their own for the same bytes."""
    async with FakeRegistry() as registry, Engine(settings) as engine:
        registry.add("app", "latest", SMALL)
        tagged = together(with_headers(ETag='"one"'), cut(100_000))
        registry.script("GET", str(BIG.digest), tagged, with_headers(ETag='"two"'))
        assert (await engine.pull(f"{registry.address}/app")).verified == "Yes"
        asked = [seen.headers.get("Range") for seen in registry.asked("GET", str(BIG.digest))]
        assert asked == [None, "bytes=100000-"]


async def test_every_part_gets_its_own_address(in_parts: Settings) -> None:
    """R23: storage behind a redirect; an address that ran out is renewed, once for each request."""
    async with FakeRegistry() as registry, FakeRegistry(host="127.0.0.2") as storage:
        registry.add("app", "latest", SMALL)
        storage.add("app", "latest", SMALL)
        signed = f"{storage.url}/v2/app/blobs/{BIG.digest}?signed="
        registry.script("GET", str(BIG.digest), *[redirected(f"{signed}{n}") for n in range(50)])
        storage.script("GET", str(BIG.digest), with_headers(), *[status(403)] * 3)
        async with Engine(in_parts) as engine:
            assert (await engine.pull(f"{registry.address}/app")).verified == "Yes"
        addresses = [seen.query["signed"] for seen in storage.requests]
    assert len(addresses) == len(set(addresses)) == len(registry.asked("GET", str(BIG.digest)))


async def test_what_a_cancelled_pull_has_behind_a_gap_is_kept(in_parts: Settings) -> None:
    """The next one asks for the gaps."""
    async with FakeRegistry() as registry, Engine(in_parts) as engine:
        registry.add("app", "latest", SMALL)
        # The first part stalls for ever, and the others come.
        registry.script("GET", str(BIG.digest), cut(1000, "stall"))
        with anyio.CancelScope() as scope:

            def watch(event: Event) -> None:
                if isinstance(event, LayerDownloaded) and event.received > 2_800_000:
                    scope.cancel()

            await engine.pull(f"{registry.address}/app", progress=watch)
        path = engine.store.paths.ingest(BIG.digest)
        async with ingesting(path, len(BIG.raw), 1) as ingest:
            gaps = ingest.gaps
        assert gaps[0][0] == 1000
        registry.forget()
        assert (await engine.pull(f"{registry.address}/app")).verified == "Yes"
        asked = [seen.headers["Range"] for seen in registry.asked("GET", str(BIG.digest))]
    assert [text.partition("=")[2].partition("-")[0] for text in asked] == [str(start) for start, _ in gaps]
