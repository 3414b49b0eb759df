"""Registries that permit so many pulls in so much time: all images are there at the end, and no request is wasted."""

from __future__ import annotations

from dataclasses import replace
from time import monotonic

import anyio
import pytest

from aiodocker_lite import Engine, Settings
from aiodocker_lite.errors import InvalidOption
from aiodocker_lite.events import Event, ImageReady, Retrying
from aiodocker_lite.testing.faults import status, with_headers
from aiodocker_lite.testing.images import image, index, layer
from aiodocker_lite.testing.messages import Reply
from aiodocker_lite.testing.registry import FakeRegistry

SHARED = layer({"shared": b"by all"})


class Ration:
    """A fault for every request: after so many were answered, all are refused for some seconds."""

    def __init__(self, permitted: int, seconds: float) -> None:
        self.permitted, self.seconds = permitted, seconds
        self.opens = 0.0
        self.answered = self.refused = 0

    def __call__(self, reply: Reply) -> Reply:
        now = monotonic()
        if now < self.opens:
            self.refused += 1
            return status(429, Retry_After=f"{self.opens - now:.3f}")(reply)
        self.answered += 1
        if self.answered % self.permitted == 0:
            self.opens = now + self.seconds
        return reply


def fill(registry: FakeRegistry, count: int) -> list[str]:
    """So many images, each with a manifest of its own."""
    for number in range(count):
        registry.add(f"app{number}", "latest", image(SHARED, config={"Labels": {"number": str(number)}}))
    return [f"{registry.address}/app{number}" for number in range(count)]


def ration(registry: FakeRegistry, permitted: int, seconds: float) -> Ration:
    made = Ration(permitted, seconds)
    registry.script("GET", "/manifests/", *[made] * 1000)
    return made


async def test_three_hundred_images_come_within_a_limit_that_is_not_told(engine: Engine) -> None:
    """One 429 for each window says that it is over; what can be brought is brought before it is waited for."""
    events: list[Event] = []
    async with FakeRegistry() as registry:
        names = fill(registry, 300)
        limit = ration(registry, 120, 3)
        report = await engine.prefetch(names, wait_quota=True, progress=events.append)
        asked = len(registry.asked("GET", "/manifests/"))
        assert len(registry.asked("HEAD", "/manifests/")) == 300
        assert len(registry.asked("GET", str(SHARED.digest))) == 1
    assert (len(report.images), report.failures) == (300, ())
    assert (limit.answered, limit.refused, asked) == (300, 2, 302)
    waits = [position for position, event in enumerate(events) if isinstance(event, Retrying)]
    assert len(waits) == 2
    assert sum(isinstance(event, ImageReady) for event in events[: waits[0]]) == 120
    first = events[waits[0]]
    assert isinstance(first, Retrying)
    assert (first.what, first.pause <= 3) == ("180 images", True)


async def test_a_limit_that_is_told_is_not_tried(engine: Engine) -> None:
    """HEAD says how many are left, and when there are more: nothing is refused."""
    async with FakeRegistry() as registry:
        names = fill(registry, 5)
        limit = ration(registry, 2, 0.5)
        told = with_headers(RateLimit_Limit="2;w=21600", RateLimit_Remaining="2;w=21600", RateLimit_Reset="1")
        registry.script("HEAD", "/manifests/", *[told] * 5)
        report = await engine.prefetch(names, wait_quota=True)
        assert len(registry.asked("GET", "/manifests/")) == 5
    assert len(report.images) == 5
    assert limit.refused == 0
    assert [(one.needed, one.left, one.limit) for one in report.plan.pulls] == [(5, 2, 2)]


async def test_names_that_may_not_be_resolved_yet_are_resolved_later(engine: Engine) -> None:
    """Some registries limit these, too."""
    async with FakeRegistry() as registry:
        names = fill(registry, 3)
        registry.script("HEAD", "/manifests/", with_headers(), status(429, Retry_After="0.3"))
        report = await engine.prefetch(names, wait_quota=True)
    assert len(report.images) == 3


async def test_layers_are_waited_for_too(settings: Settings) -> None:
    """What came of the image stays, and it is tried again."""
    async with FakeRegistry() as registry, Engine(replace(settings, pauses=())) as engine:
        names = fill(registry, 2)
        registry.script("GET", str(SHARED.digest), status(429, Retry_After="0.3"))
        report = await engine.prefetch(names, wait_quota=True)
        assert len(registry.asked("GET", str(SHARED.digest))) == 2
        assert len(registry.asked("GET", "/manifests/")) == 2
    assert len(report.images) == 2


async def test_a_wait_can_be_cancelled(engine: Engine) -> None:
    """What was permitted until then is there; a later run asks for the rest alone."""
    async with FakeRegistry() as registry:
        names = fill(registry, 5)
        limit = ration(registry, 3, 3600)
        waits = anyio.Event()

        def watch(event: Event) -> None:
            if isinstance(event, Retrying):
                waits.set()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(lambda: engine.prefetch(names, wait_quota=True, progress=watch))
            await waits.wait()
            tasks.cancel_scope.cancel()
        assert len(await engine.images()) == 3
        assert limit.refused == 1
        registry.forget()
        assert len((await engine.prefetch(names)).images) == 5
        assert len(registry.asked("GET", "/manifests/")) == 2


async def test_a_long_limit_ends_a_job_that_does_not_wait(engine: Engine) -> None:
    """At once: what would be refused is not asked for."""
    async with FakeRegistry() as registry:
        names = fill(registry, 40)
        limit = ration(registry, 3, 3600)
        with anyio.fail_after(20):
            report = await engine.prefetch(names)
        # So many images are read at once.
        assert limit.refused <= 8
        assert len(registry.asked("GET", "/manifests/")) == 3 + limit.refused
    assert len(report.images) == 3
    assert {one.error for one in report.failures} == {"rate-limited"}


async def test_a_registry_is_asked_for_so_many_manifests_and_no_more(engine: Engine) -> None:
    """An index is one, too. What is left out says why, and a later run continues there."""
    async with FakeRegistry() as registry:
        names = fill(registry, 3)
        registry.add("multi", "latest", index(image(SHARED, config={"Env": ["A=1"]})))
        names.insert(0, f"{registry.address}/multi")
        report = await engine.prefetch(names, max_pulls=3)
        assert len(registry.asked("GET", "/manifests/")) == 3
        assert [one.name.rpartition("/")[2] for one in report.images] == ["multi:latest", "app0:latest"]
        assert {(one.error, one.reason) for one in report.failures} == {
            ("pulls-spent", f"not pulled: --max-pulls permits 3 from {registry.address}")
        }
        registry.forget()
        assert len((await engine.prefetch(names, max_pulls=2)).images) == 4


async def test_a_number_of_pulls_below_none_is_refused(engine: Engine) -> None:
    """Before anything is asked."""
    with pytest.raises(InvalidOption, match="at least 0"):
        await engine.plan(["alpine"], max_pulls=-1)
