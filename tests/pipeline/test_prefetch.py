"""Many images as one job: what is asked of a registry, what is there at the end, and what one failure costs."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import anyio
import pytest

from aiodocker_lite import Engine, Settings
from aiodocker_lite.errors import InvalidOption
from aiodocker_lite.events import Event, ImageFailed, ImagePlanned, ImageReady, JobProgress, PlanReady
from aiodocker_lite.plan import Plan
from aiodocker_lite.platforms import Platform
from aiodocker_lite.reference import Reference
from aiodocker_lite.testing.faults import cut, damaged, honest, status
from aiodocker_lite.testing.images import Image, image, index, layer, noise, write_layout
from aiodocker_lite.testing.registry import FakeRegistry
from aiodocker_lite.wanted import Wanted
from tests.fakes.processes import RealRegistry
from tests.fakes.servers import nginx
from tests.fakes.stores import flaws

BASES = [layer({f"base{n}": noise(100_000 * (n + 1), f"base{n}")}) for n in range(3)]


def app(number: int) -> Image:
    """One of many images that share bases."""
    return image(*BASES[: number % 3 + 1], layer({f"own{number}": noise(1000, f"own{number}")}))


def fill(registry: FakeRegistry, count: int) -> list[str]:
    for number in range(count):
        registry.add(f"app{number}", "latest", app(number))
    return [f"{registry.address}/app{number}" for number in range(count)]


def everything(root: Path) -> dict[str, tuple[int, int]]:
    """All files and directories below a directory, with size and time of the last change."""
    return {str(path): (path.lstat().st_size, path.lstat().st_mtime_ns) for path in root.rglob("*")}


async def test_twenty_images_cost_a_head_for_each_name_and_a_get_for_each_digest(
    engine: Engine, open_registry: RealRegistry, tmp_path: Path
) -> None:
    """Counted by an nginx before a real registry; when all is there, the heads alone."""
    apps = {f"app{number}": app(number) for number in range(20)}
    layout = write_layout(tmp_path / "layout", apps)
    for name in apps:
        open_registry.push(layout, f"twenty/{name}", name)
    passing = f"location / {{ proxy_pass http://{open_registry.address}; proxy_set_header Host $http_host; }}"
    with nginx(tmp_path / "nginx", passing) as address:
        names = [f"{address}/twenty/{name}" for name in apps]
        log = tmp_path / "nginx/access.log"

        def asked() -> Counter[tuple[str, str]]:
            lines = [line.split() for line in log.read_text().splitlines() if "/v2/twenty/" in line]
            log.write_text("")
            return Counter((words[0], words[1].rpartition("/")[2]) for words in lines)

        report = await engine.prefetch(names)
        first = asked()
        again = await engine.prefetch(names)
        second = asked()
    digests = {str(blob.digest) for each in apps.values() for blob in (*each.blobs, *each.documents)}
    assert {digest for method, digest in first if method == "GET"} == digests
    assert first.total() == len(apps) + len(digests)
    assert second == {("HEAD", "latest"): 20}
    assert (len(report.images), report.failures) == (20, ())
    assert report.fetched == sum(
        {blob.digest: len(blob.raw) for a in apps.values() for blob in a.layers}.values()
    )
    assert {one.fetched for one in report.images} == {True}
    assert {one.fetched for one in again.images} == {False}
    assert flaws(engine.settings.root) == []


async def test_a_plan_says_what_it_costs_and_writes_nothing(engine: Engine, settings: Settings) -> None:
    """Neither in a store that is not there, nor in one that is; and it can be kept as JSON."""
    async with FakeRegistry() as registry:
        names = fill(registry, 6)
        async with Engine(replace(settings, root=settings.root / "none")) as other:
            plan = await other.plan([*names, f"{registry.address}/nothing"])
        assert not (settings.root / "none").exists()
        await engine.pull(names[2])
        before = everything(settings.root)
        later = await engine.plan(names)
        assert everything(settings.root) == before
        registry.forget()
        await engine.prefetch(names)
        assert registry.sent("/blobs/") >= later.missing
    sizes = [len(base.raw) for base in BASES]
    own = [len(app(number).layers[-1].raw) for number in range(6)]
    totals = plan.totals()
    assert (totals.images, totals.failed, totals.layers, totals.shared) == (6, 1, 9, 3)
    assert totals.total == 2 * (3 * sizes[0] + 2 * sizes[1] + sizes[2]) + sum(own)
    assert (totals.unique, totals.have) == (sum(sizes) + sum(own), 0)
    assert totals.disk == 2 * totals.unique
    assert [(one.name, one.error) for one in plan.failures] == [
        (f"{registry.address}/nothing:latest", "image-not-found")
    ]
    assert [(one.registry, one.needed) for one in plan.pulls] == [(registry.address, 6)]
    assert later.missing == sum(own) - own[2]
    assert [one.here for one in later.images] == [False, False, True, False, False, False]
    assert Plan.from_json(plan.to_json()) == plan


async def test_one_that_is_missing_stops_no_other(engine: Engine) -> None:
    """Of twenty, nineteen are there; the one is named with its reason, and everybody who watches is told."""
    events: list[Event] = []
    async with FakeRegistry() as registry:
        names = fill(registry, 19)
        nothing = Wanted(Reference.parse(f"{registry.address}/nothing:1"), sources=("list.txt:7",))
        report = await engine.prefetch([*names, nothing], progress=events.append)
    assert len(report.images) == len(await engine.images()) == 19
    (failure,) = report.failures
    assert (failure.name, failure.sources) == (f"{registry.address}/nothing:1", ("list.txt:7",))
    assert failure.reason.endswith("not found: manifest unknown")
    assert sum(isinstance(event, ImagePlanned) for event in events) == 19
    assert sum(isinstance(event, ImageReady) for event in events) == 19
    assert [event.images for event in events if isinstance(event, PlanReady)] == [19]
    (failed,) = [event for event in events if isinstance(event, ImageFailed)]
    assert failed == ImageFailed(f"{registry.address}/nothing:1", "image-not-found", failure.reason)
    assert [event for event in events if isinstance(event, JobProgress)][-1] == JobProgress(20, 19, 1)


async def test_a_wrong_layer_stops_those_that_need_it(engine: Engine) -> None:
    """Two images share it: both are named, and the others are there."""
    bad = layer({"bad": noise(50_000)})
    async with FakeRegistry() as registry:
        names = fill(registry, 4)
        for name in ("one", "two"):
            registry.add(name, "latest", image(BASES[0], bad, layer({name: name.encode()})))
        registry.script("GET", str(bad.digest), *[damaged(at=-20)] * 9)
        report = await engine.prefetch([f"{registry.address}/one", *names, f"{registry.address}/two"])
    assert [one.name for one in report.images] == [f"{name}:latest" for name in names]
    assert [one.name for one in report.failures] == [
        f"{registry.address}/one:latest",
        f"{registry.address}/two:latest",
    ]
    assert all(bad.digest.short in one.reason for one in report.failures)
    assert flaws(engine.settings.root) == []


async def test_what_only_a_lost_image_needs_is_not_waited_for(engine: Engine) -> None:
    """One of its layers is not there, so another one that never ends is given up."""
    gone, endless = layer({"gone": noise(100)}), layer({"endless": noise(90_000)})
    async with FakeRegistry() as registry:
        names = fill(registry, 2)
        registry.add("lost", "latest", image(endless, gone))
        registry.script("GET", str(endless.digest), cut(100, "stall"))
        registry.script("GET", str(gone.digest), status(404))
        with anyio.fail_after(20):
            report = await engine.prefetch([*names, f"{registry.address}/lost"])
    assert len(report.images) == 2
    assert [one.error for one in report.failures] == ["blob-not-found"]


async def test_a_repository_that_lacks_a_layer_is_not_the_only_one(engine: Engine) -> None:
    """The other image that has it is asked, too."""
    async with FakeRegistry() as registry:
        names = fill(registry, 2)
        registry.script("GET", f"app0/blobs/{BASES[0].digest}", status(404))
        registry.script("GET", f"app1/blobs/{BASES[0].digest}", honest)
        report = await engine.prefetch(names)
        assert len(registry.asked("GET", str(BASES[0].digest))) == 2
    assert len(report.images) == 2


async def test_tags_of_one_digest_are_fetched_once(engine: Engine) -> None:
    """Also in another repository; each name leads there at the end."""
    what = app(1)
    async with FakeRegistry() as registry:
        for repository, tag in (("a", "1"), ("a", "latest"), ("b", "x")):
            registry.add(repository, tag, what)
        names = [f"{registry.address}/{name}" for name in ("a:1", "a", "b:x", "a:1")]
        report = await engine.prefetch(names)
        asked = Counter(seen.method for seen in registry.requests if seen.path != "/v2/")
    assert asked == {"HEAD": 3, "GET": 2 + len(what.layers)}
    assert len(report.images) == 3
    (found,) = await engine.images()
    assert {str(name) for name in found.names} == {
        f"{registry.address}/{name}" for name in ("a:1", "a:latest", "b:x")
    }


async def test_platforms_of_one_name_are_images_of_their_own(engine: Engine) -> None:
    """The name is resolved once, and the index read once; one that there is not is named with its platform."""
    images = [image(layer({"name": p.encode()}), platform=p) for p in ("linux/amd64", "linux/arm64")]
    async with FakeRegistry() as registry:
        registry.add("app", "latest", index(*images))
        name = registry.reference("app")
        wanted = [Wanted(name, Platform.parse(p)) for p in ("linux/amd64", "linux/arm64", "linux/s390x")]
        report = await engine.prefetch(wanted)
        asked = Counter(seen.method for seen in registry.requests if "/manifests/" in seen.path)
    assert asked == {"HEAD": 1, "GET": 3}
    assert [one.platform for one in report.images] == ["linux/amd64", "linux/arm64"]
    assert [(one.platform, one.error) for one in report.failures] == [("linux/s390x", "platform-not-found")]


async def test_the_first_failure_can_stop_all(engine: Engine) -> None:
    """What was not brought until then says why, and comes with the next run."""
    async with FakeRegistry() as registry:
        names = fill(registry, 5)
        report = await engine.prefetch([*names, f"{registry.address}/nothing"], keep_going=False)
        assert registry.asked("GET", "/blobs/") == []
        assert (await engine.prefetch(names, keep_going=False)).failures == ()
    assert report.images == ()
    assert Counter(one.error for one in report.failures) == {"stopped": 5, "image-not-found": 1}


async def test_what_cannot_fit_is_refused_before_it_is_begun(settings: Settings) -> None:
    """All of it together: each of them alone would."""
    async with FakeRegistry() as registry, Engine(replace(settings, max_store=900_000)) as engine:
        names = fill(registry, 3)
        report = await engine.prefetch(names)
        assert registry.asked("GET", f"/blobs/{BASES[0].digest}") == []
        assert {one.error for one in report.failures} == {"exceeds-max-store"}
        assert "3 images does not fit" in report.failures[0].reason
        assert len((await engine.prefetch(names[:1])).images) == 1


async def test_blobs_need_not_be_kept(settings: Settings) -> None:
    """A rerun asks for nothing but the names."""
    async with FakeRegistry() as registry, Engine(replace(settings, discard_blobs=True)) as engine:
        names = fill(registry, 3)
        assert len((await engine.prefetch(names)).images) == 3
        registry.forget()
        plan = await engine.plan(names)
        assert (plan.missing, [one.here for one in plan.images]) == (0, [True] * 3)
        assert {seen.method for seen in registry.requests} == {"HEAD"}
    assert not any(engine.settings.root.glob(f"blobs/sha256/{BASES[0].digest.hex}"))


@pytest.mark.parametrize("wanted", ["alpine", Reference.parse("alpine"), ["alpine", 7]])
async def test_what_is_no_list_of_images_is_refused(engine: Engine, wanted: object) -> None:
    """A string is a row of letters, too."""
    with pytest.raises(InvalidOption, match=r"is not a (list of images|string)"):
        await engine.prefetch(wanted)  # type: ignore[arg-type]
