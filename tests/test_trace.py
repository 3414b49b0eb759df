"""A trace that viewers open, and an explanation whose parts are the whole."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiodocker_lite.spans import Fact, Span, listening, span
from aiodocker_lite.trace import Explanation, Limit, chrome_trace, explain, sentences
from tests.fakes.traces import assert_they_nest


def unpack(begin: float, end: float, about: str = "aa", **took: float) -> Span:
    """A layer that was unpacked, and how long its stages took."""
    facts: dict[str, Fact] = {f"{stage}_seconds": seconds for stage, seconds in took.items()}
    return Span("unpack", about, begin, end, {"worker": 7, **facts})


def came_evenly(begin: float, end: float, count: int) -> list[Span]:
    """Bytes that came in this time, told as often as they are."""
    steps = round((end - begin) * 10)
    return [
        Span("bytes", "aa", begin + n / 10, begin + (n + 1) / 10, {"bytes": count // steps})
        for n in range(steps)
    ]


def explained(*spans: Span, end: float = 10, cpu: float = 2) -> Explanation:
    """The explanation of what took from 0 to `end`, on two cores."""
    return explain(spans, 0, end, cpu=cpu, cores=2)


def test_what_nobody_listens_to_is_told_nobody() -> None:
    """And only the block itself is listened to, whatever ends a span."""
    spans: list[Span] = []
    with span("before"):
        pass
    with listening(spans.append), suppress(ValueError), span("inside", "x", n=1) as facts:
        facts["more"] = 2
        raise ValueError
    with span("after"):
        pass
    (found,) = spans
    assert (found.what, found.about, found.facts) == ("inside", "x", {"n": 1, "more": 2})
    assert found.end >= found.begin


CASES = [
    pytest.param([Span("start-up", "", 0, 10, {})], {"start-up": 10}, id="only begun"),
    pytest.param([], {"other": 10}, id="nothing at all"),
    pytest.param(
        [unpack(0, 10, wait=9, blob_hash=0.2, hash=0.3, inflate=0.5, files=1)],
        {"network": 8.1, "making files": 1, "hashing": 0.45, "inflating": 0.45},
        id="network-bound",
    ),
    pytest.param(
        [unpack(0, 10, wait=0, hash=2, inflate=8, files=5)],
        {"making files": 5, "inflating": 4, "hashing": 1},
        id="half bound by the disk",
    ),
    pytest.param([unpack(0, 8, files=8), Span("sync", "", 4, 10, {})], {"making files": 8, "syncing": 2}, id="sync behind"),
    pytest.param(
        [unpack(0, 6, "aa", files=6), unpack(1, 10, "bb", inflate=9)],
        {"inflating": 9, "making files": 1},
        id="the layer that ends last counts",
    ),
    pytest.param(
        [
            Span("resolve", "x", 0, 2, {}),
            Span("token", "x", 1, 2, {}),
            Span("download", "aa", 2, 6, {}),
            unpack(4, 10, files=6),
        ],
        {"round trips": 2, "network": 2, "making files": 6},
        id="one after the other",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("spans", "shares"), CASES)
def test_each_moment_belongs_to_what_bounded_it(spans: list[Span], shares: dict[str, float]) -> None:
    """And all moments together are the time it took."""
    found = explained(*spans)
    assert {k: v for k, v in found.shares.items() if v > 1e-9} == pytest.approx(shares)
    assert sum(found.shares.values()) == pytest.approx(found.wall)
    assert sum(seconds for _, seconds in found.path) == pytest.approx(found.wall)
    assert list(found.shares.values()) == sorted(found.shares.values(), reverse=True)


@pytest.mark.parametrize(
    ("spans", "cpu", "limit"),
    [
        (came_evenly(0, 8, 800) + came_evenly(0, 8, 800), 2, 8.0),
        (came_evenly(0, 2, 800) + came_evenly(6, 8, 800), 2, 4.0),
        ([unpack(0, 5, blob_hash=1, inflate=2, hash=2, files=2), unpack(0, 5, hash=1, files=2.5)], 4, 3.0),
        ([unpack(0, 5, hash=1, inflate=2, files=4)], 4, 4.0),
        ([unpack(0, 5, files=1)], 18, 9.0),
    ],
    ids=["an even link", "a link that stood still", "inflating", "files", "cores"],
)
def test_the_limit_is_the_largest_of_link_cores_and_one_layer(
    spans: list[Span], cpu: float, limit: float
) -> None:
    """The link's rate is what it was at best for one second."""
    assert explained(*spans, cpu=cpu).limit.seconds == pytest.approx(limit)


def test_a_reader_is_told_the_largest_part_first_and_what_would_help() -> None:
    """Every figure once, in sentences."""
    told = list(
        sentences(
            explained(
                Span("resolve", "x", 0, 0, {}),
                *came_evenly(0, 8, 8_000_000),
                unpack(0, 8, wait=8),
                Span("sync", "", 8, 10, {}),
            )
        )
    )
    assert told == [
        "It took 10.00 s. What bounded it:",
        "  network        80 %    8.00 s",
        "  syncing        20 %    2.00 s",
        "Critical path: unpack aa 8.00 s, sync 2.00 s.",
        "Its limit is the largest of 8.00 s for 8.0 MB at 1.0 MB/s, 1.00 s of CPU on 2 cores: it took 1.25 times as long.",
        "What would help most: a nearer registry or a mirror, or a faster link.",
    ]  # fmt: skip


LIMIT = Limit(bytes=0, rate=0, cpu=1, cores=2, chain=0)
MOMENTS = st.floats(0, 10).map(lambda seconds: 1000 + seconds)


@given(
    st.lists(
        st.tuples(MOMENTS, MOMENTS, st.sampled_from(["download", "request", "resolve", "sync"])), max_size=12
    )
)
def test_spans_on_one_line_lie_within_each_other_or_behind(times: list[tuple[float, float, str]]) -> None:
    """Viewers draw nothing else; what overlaps otherwise gets a line of its own."""
    spans = [Span(what, "aa", min(one, two), max(one, two), {}) for one, two, what in times]
    spans += [unpack(1001, 1009), unpack(1009, 1010, "bb")]
    events: list[dict[str, Any]] = chrome_trace(spans, 1000, "a pull", LIMIT)["traceEvents"]
    lines = {e["tid"]: e["args"]["name"] for e in events if e["name"] == "thread_name"}
    drawn = [e for e in events if e["ph"] == "X"]
    assert len(drawn) == len(spans)
    assert {lines[e["tid"]] for e in drawn if e["name"] == "unpack"} == {"worker 7"}
    assert_they_nest(drawn)


def test_bytes_are_a_curve() -> None:
    """A counter for each layer, in megabytes per second."""
    events = chrome_trace(came_evenly(0, 1, 10_000_000), 0, "a pull", LIMIT)["traceEvents"]
    assert {(e["name"], e["args"]["MB/s"]) for e in events if e["ph"] == "C"} == {("layer aa MB/s", 10.0)}


def test_a_trace_says_what_limits_it() -> None:
    """All that the formula needs, as facts about the whole."""
    limit = Limit(bytes=30, rate=10, cpu=4, cores=2, chain=1)
    facts = chrome_trace([], 0, "a pull", limit)["otherData"]
    assert Limit(**facts) == limit
    assert (limit.parts, limit.seconds) == ({"link": 3, "cores": 2, "layer": 1}, 3)
