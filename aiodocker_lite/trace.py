"""Spans to a trace that Perfetto and Chrome show, and to an explanation: what bounded a pull, and how far it was from its limit.

Chrome's "Trace Event Format": complete events (X) on threads with names (M), times in microseconds.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

from aiodocker_lite.spans import Span

NETWORK, ARCHIVE, REQUESTS, HASH, INFLATE, CORES, FILES, SYNC, TURN, START, OTHER = (
    "network", "archive", "round trips", "hashing", "inflating", "no free core", "making files", "syncing",
    "others' turn", "start-up", "other",
)  # fmt: skip
_STAGES = {"wait": NETWORK, "blob_hash": HASH, "inflate": INFLATE, "hash": HASH, "core": CORES}
_KINDS = {
    "resolve": REQUESTS, "token": REQUESTS, "manifest": REQUESTS, "config": REQUESTS, "download": NETWORK,
    "slot": TURN, "turn": TURN, "join": FILES, "sync": SYNC, "publish": SYNC, "name": SYNC, "start-up": START,
    "archive": ARCHIVE,
}  # fmt: skip
_HELP = {
    NETWORK: "a nearer registry or a mirror, or a faster link",
    REQUESTS: "a nearer registry or a mirror; or several images with one command",
    HASH: "faster cores",
    INFLATE: "layers compressed with zstd, which inflate several times faster than gzip; or smaller layers, one for each core",
    CORES: "more cores, or less else to do for them",
    TURN: "nothing of its own: another image was at work",
    FILES: "a faster disk, or fewer and larger files in the image",
    SYNC: "a faster disk",
    START: "several images with one command, or the Python library in a process that lives",
    ARCHIVE: "a faster disk under the archive, or a plain file in the place of a pipe or a compressed one",
    OTHER: "nothing that is known here",
}
_RANKS = {"start-up": 0, "slot": 1, "turn": 1, "sync": 2, "publish": 3, "download": 5, "unpack": 6}
"""What counts where several things are done at once; small requests are between a sync and a download."""
_WINDOW, _GRAIN = 1.0, 0.1
"""Seconds over which the best rate of a link is looked for, and how finely."""


@dataclass(frozen=True, slots=True)
class Limit:
    """What a command had to do at the least, and with what."""

    bytes: int
    """That came from registries."""
    rate: float
    """Of the link in bytes per second, as far as it was seen; 0 where it is not known."""
    cpu: float
    cores: int
    chain: float
    """What one thread has to do for the layer that is the most work."""

    @property
    def parts(self) -> dict[str, float]:
        """Seconds that the link, the cores and one layer need, each by itself."""
        link = self.bytes / self.rate if self.rate else 0.0
        return {"link": link, "cores": self.cpu / self.cores, "layer": self.chain}

    @property
    def seconds(self) -> float:
        """No less can be had with these bytes, this link and these cores."""
        return max(self.parts.values())


@dataclass(frozen=True, slots=True)
class Explanation:
    """Where the time of one command went; seconds."""

    wall: float
    shares: dict[str, float]
    """By what bounded it; together they are `wall`."""
    path: tuple[tuple[str, float], ...]
    """What had to be waited for, in its order."""
    limit: Limit


# --- an explanation --------------------------------------------------------------------------


def explain(spans: Sequence[Span], begin: float, end: float, *, cpu: float, cores: int) -> Explanation:
    """Divide the time from `begin` to `end` by what bounded it.

    At each moment that is the layer being unpacked whose end has to be waited for longest: its worker makes
    files, or waits for bytes, for their hash or for their inflating. Where none is unpacked it is a download, a
    sync or a small request.
    """
    shares: dict[str, float] = defaultdict(float)
    path: list[tuple[str, float]] = []
    arrivals = [span for span in spans if span.what == "bytes"]
    stages = [span for span in spans if span.what not in ("bytes", "request")]
    for start, stop, critical in _moments(stages, begin, end):
        for share, part in _bounds(critical).items():
            shares[share] += part * (stop - start)
        name = f"{critical.what} {critical.about}".strip() if critical else OTHER
        before = path.pop()[1] if path and path[-1][0] == name else 0.0
        path.append((name, before + stop - start))
    if arrivals and not any(span.what == "resolve" for span in spans):
        shares[ARCHIVE] += shares.pop(NETWORK, 0.0)
    return Explanation(
        wall=end - begin,
        shares=dict(sorted(shares.items(), key=lambda item: -item[1])),
        path=tuple(path),
        limit=limit_of(spans, cpu=cpu, cores=cores),
    )


def limit_of(spans: Sequence[Span], *, cpu: float, cores: int) -> Limit:
    """The least that all of this takes; `cpu` in seconds."""
    arrivals = [span for span in spans if span.what == "bytes"]
    return Limit(
        bytes=sum(int(span.facts["bytes"]) for span in arrivals),
        rate=_best_rate(arrivals),
        cpu=cpu,
        cores=cores,
        chain=max((_chain(span) for span in spans if span.what == "unpack"), default=0.0),
    )


def _moments(spans: Sequence[Span], begin: float, end: float) -> Iterator[tuple[float, float, Span | None]]:
    """Stretches of time in which nothing begins or ends, and the span that counts there."""
    cuts = sorted({begin, end, *(t for span in spans for t in (span.begin, span.end) if begin < t < end)})
    for start, stop in pairwise(cuts):
        active = [span for span in spans if span.begin <= start and span.end >= stop]
        yield start, stop, max(active, key=lambda span: (_RANKS.get(span.what, 4), span.end), default=None)


def _bounds(span: Span | None) -> dict[str, float]:
    """What bounds a span, in parts of one."""
    if span is None:
        return {OTHER: 1.0}
    if span.what != "unpack":
        return {_KINDS.get(span.what, OTHER): 1.0}
    files = min(1.0, _seconds(span, "files") / span.seconds) if span.seconds else 0.0
    bounds = defaultdict(float, {FILES: files})
    # One thread makes files of what others have ready; where it has to wait, it is for these.
    made = {stage: _seconds(span, stage) / (span.seconds or 1) for stage in _STAGES}
    total, rest = sum(made.values()), 1 - files
    for stage, share in _STAGES.items():
        bounds[share] += made[stage] * min(1.0, rest / total) if total else 0
    bounds[OTHER] = max(0.0, rest - total)  # until the worker had begun, for example
    return bounds


def _chain(span: Span) -> float:
    return max(
        _seconds(span, "blob_hash") + _seconds(span, "inflate"),
        _seconds(span, "hash"),
        _seconds(span, "files"),
    )


def _seconds(span: Span, stage: str) -> float:
    return float(span.facts.get(f"{stage}_seconds", 0.0))


def _best_rate(arrivals: Sequence[Span]) -> float:
    """Bytes per second in the best window."""
    if not arrivals:
        return 0.0
    first, last = min(span.begin for span in arrivals), max(span.end for span in arrivals)
    count = max(1, math.ceil((last - first) / _GRAIN))
    grain = (last - first) / count
    came = [0.0] * count
    for span in arrivals:
        # They are told about once for each grain, and lie in two of them.
        middle = (span.begin + span.end) / 2 - first
        came[min(count - 1, int(middle / grain) if grain else 0)] += float(span.facts["bytes"])
    width = min(count, round(_WINDOW / _GRAIN))
    best = max(sum(came[start : start + width]) for start in range(count - width + 1))
    return best / (width * grain) if grain else 0.0


def sentences(found: Explanation) -> Iterator[str]:
    """The explanation as lines for a reader."""
    yield f"It took {found.wall:.2f} s. What bounded it:"
    for share, seconds in found.shares.items():
        if seconds >= found.wall / 200:
            yield f"  {share:<13}{100 * seconds / found.wall:4.0f} %{seconds:8.2f} s"
    steps = [f"{name} {seconds:.2f} s" for name, seconds in found.path if seconds >= found.wall / 50]
    yield f"Critical path: {', '.join(steps)}."
    limit, least = found.limit, found.limit.parts
    parts = []
    if limit.rate:
        came = f"{limit.bytes / 1e6:.1f} MB at {limit.rate / 1e6:.1f} MB/s"
        parts.append(f"{least['link']:.2f} s for {came}")
    parts.append(f"{least['cores']:.2f} s of CPU on {limit.cores} cores")
    if limit.chain:
        parts.append(f"{least['layer']:.2f} s for one layer")
    times = found.wall / limit.seconds
    yield f"Its limit is the largest of {', '.join(parts)}: it took {times:.2f} times as long."
    yield f"What would help most: {_HELP[next(iter(found.shares), OTHER)]}."


# --- a trace ---------------------------------------------------------------------------------


def chrome_trace(spans: Sequence[Span], begin: float, title: str, limit: Limit) -> dict[str, Any]:
    """All spans as a document that chrome://tracing and ui.perfetto.dev open; `begin` is its zero.

    The limit is among what viewers show as facts about the whole.
    """
    tracks: dict[str, list[Span]] = defaultdict(list)
    for span in sorted(spans, key=lambda span: (span.begin, -span.end)):
        if span.what != "bytes":
            tracks[_track(span)].append(span)
    events: list[dict[str, Any]] = [_named("process_name", 0, title)]
    thread = 0
    for name, its in tracks.items():
        for lane in _lanes(its):
            thread += 1
            events.append(_named("thread_name", thread, name))
            events.extend(_event(span, thread, begin) for span in lane)
    events.extend(_arrival(span, begin) for span in spans if span.what == "bytes" and span.seconds)
    return {"traceEvents": events, "displayTimeUnit": "ms", "otherData": asdict(limit)}


def _track(span: Span) -> str:
    if span.what == "unpack":
        return f"worker {span.facts.get('worker', '')}"
    if span.what in ("slot", "download", "request", "turn"):
        return f"layer {span.about}"
    return "disk" if span.what in ("sync", "publish") else "image"


def _lanes(spans: Sequence[Span]) -> list[list[Span]]:
    """Each in the first lane where it lies within what is open there, or behind it: viewers want no other overlaps."""
    lanes: list[list[Span]] = []
    for span in spans:
        for lane in lanes:
            if all(other.end <= span.begin or other.end >= span.end for other in lane):
                lane.append(span)
                break
        else:
            lanes.append([span])
    return lanes


def _named(kind: str, thread: int, name: str) -> dict[str, Any]:
    return {"ph": "M", "pid": 1, "tid": thread, "name": kind, "args": {"name": name}}


def _arrival(span: Span, begin: float) -> dict[str, Any]:
    rate = round(float(span.facts["bytes"]) / span.seconds / 1e6, 3)
    name = f"layer {span.about} MB/s"
    return {
        "ph": "C",
        "pid": 1,
        "name": name,
        "ts": round((span.begin - begin) * 1e6),
        "args": {"MB/s": rate},
    }


def _event(span: Span, thread: int, begin: float) -> dict[str, Any]:
    start = round((span.begin - begin) * 1e6)
    return {
        "ph": "X",
        "pid": 1,
        "tid": thread,
        "name": span.what,
        "cat": _KINDS.get(span.what, span.what),
        "ts": start,
        # Both ends are rounded, and not the length: what lies within another stays there.
        "dur": round((span.end - begin) * 1e6) - start,
        "args": {"about": span.about, **span.facts},
    }
