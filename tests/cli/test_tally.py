"""What events add up to."""

from __future__ import annotations

import pytest

from aiodocker_lite.cli.tally import Arrived, Phase, Tally
from aiodocker_lite.digest import Digest
from aiodocker_lite.events import (
    Event,
    ImageReady,
    LayerDownloaded,
    LayerExists,
    LayerReady,
    LayerStarted,
    LayerUnpacked,
    Waiting,
)
from tests.fakes.jobs import layer, resolved

ONE, TWO, THREE = layer(1, 100), layer(2, 200), layer(3, 400)
A, B = resolved("a", ONE, TWO), resolved("b", TWO, THREE)


def tally(*events: Event) -> Tally:
    counted = Tally(0)
    for event in events:
        counted.add(event, 0)
    return counted


def numbers(counted: Tally) -> tuple[int, int, int]:
    return counted.unpacked, counted.received, counted.total


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ((A,), (0, 0, 300)),
        ((A, LayerExists(ONE.digest, 100)), (0, 0, 200)),
        ((A, LayerStarted(TWO.digest, 200, 150)), (0, 150, 300)),
        ((A, LayerStarted(TWO.digest, 200, 0), LayerDownloaded(TWO.digest, 120, 200)), (0, 120, 300)),
        ((A, LayerUnpacked(TWO.digest, 50, 200)), (50, 50, 300)),
        ((A, LayerUnpacked(TWO.digest, 50, 200), LayerStarted(TWO.digest, 200, 80)), (50, 80, 300)),
        ((A, LayerReady(TWO.digest, 200, 5)), (200, 200, 300)),
        ((resolved("twice", ONE, ONE),), (0, 0, 100)),
    ],
    ids=[
        "wanted",
        "exists",
        "kept",
        "downloaded",
        "a blob is here",
        "kept, then started",
        "ready",
        "repeated",
    ],
)
def test_bytes_are_those_that_must_be_here(events: tuple[Event, ...], expected: tuple[int, int, int]) -> None:
    """What exists is not counted, what was kept is done, what was kept may be unpacked first."""
    assert numbers(tally(*events)) == expected


def test_a_layer_of_two_images_is_one_layer() -> None:
    """It counts once, and still counts when the second image finds it there."""
    counted = tally(A, B, LayerReady(TWO.digest, 200, 5), LayerExists(TWO.digest, 200))
    assert numbers(counted) == (200, 200, 700)
    assert counted.pending() == 2


def test_a_layer_that_another_image_is_bringing_is_not_waited_for() -> None:
    """A lock says only that somebody is at work; if that is us, nobody waits."""
    counted = tally(A, LayerStarted(ONE.digest, 100, 0), Waiting(ONE.digest), Waiting(TWO.digest))
    assert counted.waiting() == 1
    assert [found.phase for found in counted.active()] == [Phase.DOWNLOADING]
    counted.add(LayerStarted(TWO.digest, 200, 0), 0)
    assert counted.waiting() == 0


def test_a_layer_that_begins_again_is_not_here_any_more() -> None:
    """After kept bytes turned out to be damaged, the done part shrinks; what came in, came in."""
    counted = tally(
        A,
        LayerStarted(TWO.digest, 200, 100),
        LayerDownloaded(TWO.digest, 200, 200),
        LayerUnpacked(TWO.digest, 200, 200),
        LayerStarted(TWO.digest, 200, 0),
    )
    assert numbers(counted) == (0, 0, 300)
    assert counted.transferred == 100


def test_only_layers_at_work_are_active_the_largest_remainder_first() -> None:
    """Not the queued, nor the finished, nor those that are here and wait for an unpacker."""
    small, large, queued, here, done = (layer(n, 10**n) for n in (3, 6, 7, 8, 9))
    counted = tally(
        resolved("x", small, large, queued, here, done),
        LayerStarted(small.digest, small.size, 0),
        LayerStarted(large.digest, large.size, 0),
        LayerStarted(here.digest, here.size, here.size),
        LayerReady(done.digest, done.size, 1),
    )
    assert [found.size for found in counted.active()] == [large.size, small.size]
    counted.add(LayerUnpacked(here.digest, 1, here.size), 0)
    assert [found.phase for found in counted.active()] == [
        Phase.UNPACKING,
        Phase.DOWNLOADING,
        Phase.DOWNLOADING,
    ]


def test_the_rate_forgets_what_was_long_ago() -> None:
    """Ten seconds count; kept bytes do not, and too short a time says nothing."""
    big = layer(1, 10_000)
    counted = Tally(0)
    counted.add(resolved("x", big), 0)
    assert counted.rate(0) is None
    counted.add(LayerStarted(big.digest, big.size, 4000), 0)
    counted.add(LayerDownloaded(big.digest, 4300, big.size), 0.3)
    assert counted.rate(0.3) is None
    for second in range(1, 21):
        counted.add(
            LayerDownloaded(big.digest, 4300 + (1000 if second > 10 else 0) + second * 10, big.size), second
        )
    assert counted.rate(20) == 110
    assert counted.eta(20) == pytest.approx((10_000 - 5500) / 110)
    assert counted.rate(60) == 0
    assert counted.eta(60) is None


def test_an_image_that_is_ready_says_what_it_took() -> None:
    """Compressed size, what of it was here before, and the time since nothing was on its way."""
    counted = Tally(10)
    counted.add(A, 11)
    counted.add(LayerExists(ONE.digest, 100), 11)
    counted.add(LayerStarted(TWO.digest, 200, 30), 11)
    counted.add(B, 12)
    counted.add(LayerReady(TWO.digest, 200, 5), 12)
    assert counted.add(ImageReady("a", A.digest, True), 13) == Arrived("a", True, 3, 300, 130)
    assert counted.names == ["b"]
    assert counted.add(ImageReady("b", B.digest, True), 16) == Arrived("b", True, 4, 600, 30)
    assert not counted.busy
    assert counted.add(ImageReady("c", A.digest, False), 18) == Arrived("c", False, 2, 0, 0)
    assert counted.images == counted.images_ready == 3


def test_an_image_may_be_called_otherwise_when_it_is_ready() -> None:
    """The name it was asked for and the name it has in the store can differ; its digest does not."""
    counted = tally(resolved("a"), resolved("b"))
    assert counted.add(ImageReady("other", Digest.of(b"a"), True), 1)
    assert counted.names == ["b"]


def test_an_image_that_failed_takes_its_unfinished_layers_along() -> None:
    """But not those that another image wants, and not the ones that are there."""
    counted = tally(A, B, LayerStarted(THREE.digest, 400, 0), LayerReady(ONE.digest, 100, 1))
    counted.drop("b")
    assert counted.names == ["a"]
    assert numbers(counted) == (100, 100, 300)
    counted.drop("a")
    assert not counted.busy
    assert counted.pending() == 0
