"""Spans to a trace that Perfetto and Chrome show, and to an explanation: what bounded a pull, and how far it was from its limit.

Chrome's "Trace Event Format": complete events (X) on threads with names (M), times in microseconds.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from aiodocker_lite.spans import Span

NETWORK, ARCHIVE, REQUESTS, HASH, INFLATE, FILES, SYNC, START, OTHER = (
    "network", "archive", "round trips", "hashing", "inflating", "making files", "syncing", "start-up", "other",
)  # fmt: skip
_STAGES = {"wait": NETWORK, "hash": HASH, "inflate": INFLATE}
_KINDS = {
    "resolve": REQUESTS, "token": REQUESTS, "manifest": REQUESTS, "config": REQUESTS, "download": NETWORK,
    "request": NETWORK, "join": FILES, "sync": SYNC, "publish": SYNC, "name": SYNC, "start-up": START,
}  # fmt: skip
_HELP = {
    NETWORK: "a nearer registry or a mirror, or a faster link",
    REQUESTS: "a nearer registry or a mirror; or several images with one command",
    HASH: "faster cores",
    INFLATE: "layers compressed with zstd, which inflate several times faster than gzip; or smaller layers, one for each core",
    FILES: "a faster disk, or fewer and larger files in the image",
    SYNC: "a faster disk",
    START: "several images with one command, or the Python library in a process that lives",
    ARCHIVE: "a faster disk under the archive, or a plain file in the place of a pipe or a compressed one",
    OTHER: "nothing that is known here",
}
_RANKS = {"start-up": 0, "sync": 1, "publish": 2, "download": 4, "request": 5, "unpack": 6}
"""What counts where several things are done at once; small requests are between a sync and a download."""
_WINDOW = 1.0
"""Seconds over which the best rate of a link is looked for."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """Where the time of one command went; seconds."""

    wall: float
    shares: dict[str, float]
    """By what bounded it; together they are `wall`."""
    path: tuple[tuple[str, float], ...]
    """What had to be waited for, in its order."""
    bytes: int
    """That came from registries."""
    rate: float
    """Of the link in bytes per second, as far as it was seen."""
    cpu: float
    cores: int
    chain: float
    """What one core has to do for the largest layer, one thing after the other."""

    @property
    def limit(self) -> float:
        """No less can be had with these bytes, this link and these cores."""
        return max(self.bytes / self.rate if self.rate else 0, self.cpu / self.cores, self.chain)


# --- an explanation --------------------------------------------------------------------------


def explain(spans: Sequence[Span], begin: float, end: float, *, cpu: float, cores: int) -> Explanation:
    """Divide the time from `begin` to `end` by what bounded it.

    At each moment that is the layer being unpacked whose end has to be waited for longest: its worker makes
    files, or waits for bytes, for their hash or for their inflating. Where none is unpacked it is a download, a
    sync or a small request.
    """
    shares: dict[str, float] = defaultdict(float)
    path: list[tuple[str, float]] = []
    for start, stop, critical in _moments(spans, begin, end):
        for share, part in _bounds(critical).items():
            shares[share] += part * (stop - start)
        name = f"{critical.what} {critical.about}".strip() if critical else OTHER
        before = path.pop()[1] if path and path[-1][0] == name else 0.0
        path.append((name, before + stop - start))
    requests = [span for span in spans if span.what == "request"]
    if requests and not any(span.what == "resolve" for span in spans):
        shares[ARCHIVE] = shares.pop(NETWORK, 0.0)
    return Explanation(
        wall=end - begin,
        shares=dict(sorted(shares.items(), key=lambda item: -item[1])),
        path=tuple(path),
        bytes=sum(int(span.facts.get("bytes", 0)) for span in requests),
        rate=_best_rate(requests),
        cpu=cpu,
        cores=cores,
        chain=max((_chain(span) for span in spans if span.what == "unpack"), default=0.0),
    )


def _moments(spans: Sequence[Span], begin: float, end: float) -> Iterator[tuple[float, float, Span | None]]:
    """Stretches of time in which nothing begins or ends, and the span that counts there."""
    cuts = sorted({begin, end, *(t for span in spans for t in (span.begin, span.end) if begin < t < end)})
    for start, stop in pairwise(cuts):
        active = [span for span in spans if span.begin <= start and span.end >= stop]
        yield start, stop, max(active, key=lambda span: (_RANKS.get(span.what, 3), span.end), default=None)


def _bounds(span: Span | None) -> dict[str, float]:
    """What bounds a span, in parts of one."""
    if span is None:
        return {OTHER: 1.0}
    if span.what != "unpack":
        return {_KINDS.get(span.what, OTHER): 1.0}
    files = min(1.0, _seconds(span, "files") / span.seconds) if span.seconds else 0.0
    # One thread makes files of what the other has ready; where the first has to wait, it is for the second.
    made = {share: _seconds(span, stage) for stage, share in _STAGES.items()}
    total = sum(made.values())
    if not total:
        return {FILES: files, OTHER: 1 - files}
    return {FILES: files} | {share: (1 - files) * seconds / total for share, seconds in made.items()}


def _chain(span: Span) -> float:
    return max(_seconds(span, "hash") + _seconds(span, "inflate"), _seconds(span, "files"))


def _seconds(span: Span, stage: str) -> float:
    return float(span.facts.get(f"{stage}_seconds", 0.0))


def _best_rate(requests: Sequence[Span]) -> float:
    """Bytes per second in the best window, as if those of a request came evenly."""
    if not requests:
        return 0.0
    first, last = min(span.begin for span in requests), max(span.end for span in requests)
    window = min(_WINDOW, last - first)
    starts = sorted({span.begin for span in requests} | {span.end - window for span in requests})

    def came(start: float) -> float:
        return sum(
            float(span.facts.get("bytes", 0)) * _common(span, start, start + window) / span.seconds
            for span in requests
            if span.seconds
        )

    return max((came(start) for start in starts), default=0.0) / window if window else 0.0


def _common(span: Span, start: float, stop: float) -> float:
    return max(0.0, min(span.end, stop) - max(span.begin, start))


def sentences(found: Explanation) -> Iterator[str]:
    """The explanation as lines for a reader."""
    yield f"It took {found.wall:.2f} s. What bounded it:"
    for share, seconds in found.shares.items():
        if seconds >= found.wall / 200:
            yield f"  {share:<13}{100 * seconds / found.wall:4.0f} %{seconds:8.2f} s"
    steps = [f"{name} {seconds:.2f} s" for name, seconds in found.path if seconds >= found.wall / 50]
    yield f"Critical path: {', '.join(steps)}."
    parts = []
    if found.rate:
        parts.append(
            f"{found.bytes / found.rate:.2f} s for {found.bytes / 1e6:.1f} MB at {found.rate / 1e6:.1f} MB/s"
        )
    parts.append(f"{found.cpu / found.cores:.2f} s of CPU on {found.cores} cores")
    if found.chain:
        parts.append(f"{found.chain:.2f} s for one layer")
    yield f"Its limit is the largest of {', '.join(parts)}: it took {found.wall / found.limit:.2f} times as long."
    yield f"What would help most: {_HELP[next(iter(found.shares), OTHER)]}."


# --- a trace ---------------------------------------------------------------------------------


def chrome_trace(spans: Sequence[Span], begin: float, title: str) -> dict[str, Any]:
    """All spans as a document that chrome://tracing and ui.perfetto.dev open; `begin` is its zero."""
    tracks: dict[str, list[Span]] = defaultdict(list)
    for span in sorted(spans, key=lambda span: (span.begin, -span.end)):
        tracks[_track(span)].append(span)
    events: list[dict[str, Any]] = [_named("process_name", 0, title)]
    thread = 0
    for name, its in tracks.items():
        for lane in _lanes(its):
            thread += 1
            events.append(_named("thread_name", thread, name))
            events.extend(_event(span, thread, begin) for span in lane)
    return {"traceEvents": events, "displayTimeUnit": "ms"}


def _track(span: Span) -> str:
    if span.what == "unpack":
        return f"worker {span.facts.get('worker', '')}"
    if span.what in ("download", "request"):
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


def _event(span: Span, thread: int, begin: float) -> dict[str, Any]:
    return {
        "ph": "X",
        "pid": 1,
        "tid": thread,
        "name": span.what,
        "cat": _KINDS.get(span.what, span.what),
        "ts": round((span.begin - begin) * 1e6),
        "dur": round(span.seconds * 1e6),
        "args": {"about": span.about, **span.facts},
    }
