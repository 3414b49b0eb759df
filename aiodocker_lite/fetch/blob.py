"""One blob from a source that opens parts of it: parallel ranges, resume, fallback to one stream.

A large blob is fetched in parts, in order. One stream leads: it takes the first part that is missing,
and tries again where that may help. It is helped by others as long as the source sends parts and
nobody else wants their download slots; one that fails gives the rest of its part back, and one that is
slow at the end half of it.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import partial
from time import monotonic
from typing import Protocol

import anyio

from aiodocker_lite.errors import RegistryError, RegistryUnavailable, SizeMismatch, one_error
from aiodocker_lite.fetch.retries import OnRetry, Retries
from aiodocker_lite.manifest import Descriptor
from aiodocker_lite.spans import span, tell

Extent = tuple[int, int]
"""The first byte, and the byte after the last."""
Write = Callable[[bytes], Awaitable[None]]
WritingAt = Callable[[int], AbstractAsyncContextManager[Write]]
"""Opens the place where the bytes from an offset on go to; they are there when it is closed."""
_ARRIVALS = 0.1
"""Seconds between two tellings of bytes that have come."""
_FAST = 16e6
"""Bytes per second of a stream that is not held back by its delay."""
_PARTS = 4
"""Into how many parts for each stream the rest of a blob is divided: the first shall be whole soon."""


class Stretch(Protocol):
    """Bytes of a blob as they come, from the offset that was asked for up to `end` if nothing goes wrong."""

    @property
    def end(self) -> int: ...

    def __aiter__(self) -> AsyncIterator[bytes]: ...


OpenAt = Callable[[int, int], AbstractAsyncContextManager[Stretch]]
"""Opens the bytes of a blob between two offsets; what knows no parts goes on to the end of the blob."""


@dataclass(frozen=True, slots=True)
class Sharing:
    """How many streams may fetch one blob: `streams`, where more than `least` bytes are missing.

    All but the first hold one of `slots` for each part, and never while somebody waits for one. Who
    has nothing left to do halves a part that would take `patience` seconds more.
    """

    streams: int
    least: int
    slots: anyio.CapacityLimiter
    patience: float = 0.5


async def fetch_blob(
    blob: Descriptor,
    gaps: Sequence[Extent],
    open_at: OpenAt,
    writing_at: WritingAt,
    *,
    sharing: Sharing | None = None,
    retries: Retries,
    on_retry: OnRetry,
) -> None:
    """Have every byte that is missing written, and once.

    Nothing is hashed here. Raises SizeMismatch when more bytes come than promised, the last
    RegistryError when `retries` gives up, and at once whatever a write raises.
    """
    with one_error():
        async with anyio.create_task_group() as tasks:
            download = _Download(blob, gaps, open_at, writing_at, sharing, on_retry)
            while (part := await download.next_part()) is not None:
                await download.lead(part, retries, partial(tasks.start_soon, download.help))


class _Download:
    """What is missing of one blob, and who is at work on it."""

    def __init__(
        self,
        blob: Descriptor,
        gaps: Sequence[Extent],
        open_at: OpenAt,
        writing_at: WritingAt,
        sharing: Sharing | None,
        on_retry: OnRetry,
    ) -> None:
        self._blob = blob
        self._missing = [gap for gap in gaps if gap[0] < gap[1]]
        self._open_at = open_at
        self._writing_at = writing_at
        missing = sum(end - start for start, end in gaps)
        is_worth_it = (
            sharing and min(sharing.streams, sharing.slots.total_tokens) > 1 and missing > sharing.least
        )
        self._sharing = sharing if is_worth_it else None
        self._on_retry = on_retry
        self._helpers = 0
        self._coming: set[_Feed] = set()
        self._pace = 0.0
        self._one_ended = anyio.Event()

    async def next_part(self) -> Extent | None:
        """What to fetch next; None when everything is here."""
        return self._take() if await self._is_more() else None

    async def _is_more(self) -> bool:
        """Wait until there is a part that nobody fetches; there is none when nobody fetches any."""
        while not self._missing and self._coming:
            patience = self._sharing.patience if self._sharing else math.inf
            with anyio.move_on_after(patience) as waiting:
                await self._one_ended.wait()
            if waiting.cancelled_caught and not self._missing:
                self._halve_slowest(patience)
        return bool(self._missing)

    def _halve_slowest(self, patience: float) -> None:
        """Give up half of the part that takes longest, if it takes long."""
        feed = max(self._coming, key=_Feed.seconds_left)
        if self._sharing and feed.seconds_left() > patience:
            rest = feed.end - feed.reached
            if rest >= self._sharing.least // 8:
                middle = feed.end - rest // 2
                self._missing.append((middle, feed.end))
                feed.end = middle

    async def lead(self, part: Extent, retries: Retries, call_help: Callable[[], object]) -> None:
        """Fetch a part, with as many requests as it takes."""
        feed = _Feed(self._blob, *part)
        tries = retries.tries()
        while feed.position < feed.end:
            before = feed.position
            try:
                asked = feed.end
                async with self._requesting(feed) as (stretch, write):
                    if stretch.end > asked:
                        self._sharing = None
                        feed.end = self._take_more(feed.end)
                    self._call(call_help)
                    await feed.take(stretch, write)
            except RegistryError as error:
                if feed.is_broken:
                    raise
                await tries.pause_after(error, progressed=feed.position > before, on_retry=self._on_retry)

    async def help(self) -> None:
        """Fetch parts as long as there are slots; the first failure is the last."""
        try:
            while await self._is_more():
                sharing = self._sharing  # which may have ended meanwhile
                if sharing is None or self._is_crowded(sharing):
                    return
                with _slot(sharing.slots) as has_slot:
                    if not (has_slot and await self._help_once()):
                        return
        finally:
            self._helpers -= 1

    async def _help_once(self) -> bool:
        start, end = self._take()
        feed = _Feed(self._blob, start, end)
        try:
            async with self._requesting(feed) as (stretch, write):
                if stretch.end > end:
                    raise RegistryUnavailable("the registry", "it does not send parts of a blob any more")
                await feed.take(stretch, write)
        except RegistryError as error:
            if feed.is_broken:
                raise
            if feed.position == start:
                self._sharing = None  # it may not like so many at once
            self._on_retry(error, 0)
            return False
        finally:
            if feed.position < feed.end:
                self._missing = sorted([(feed.position, feed.end), *self._missing])
        return True

    @asynccontextmanager
    async def _requesting(self, feed: _Feed) -> AsyncIterator[tuple[Stretch, Write]]:
        start = feed.position
        self._coming.add(feed)
        with span("request", self._blob.digest.short, offset=start) as facts:
            try:
                async with self._writing_at(start) as write, self._open_at(start, feed.end) as stretch:
                    yield stretch, write
            finally:
                facts["bytes"] = feed.position - start
                if feed.position > start:
                    self._pace = feed.pace()
                self._coming.remove(feed)
                self._one_ended.set()
                self._one_ended = anyio.Event()

    def _call(self, call_help: Callable[[], object]) -> None:
        while self._sharing and self._missing and self._helpers < self._sharing.streams - 1:
            self._helpers += 1
            call_help()

    def _is_crowded(self, sharing: Sharing) -> bool:
        """Enough streams are there for all blobs together; more are for links on which each of them is slow."""
        is_slow = 0 < self._pace < _FAST
        return sharing.slots.borrowed_tokens >= sharing.streams and not is_slow

    def _take(self) -> Extent:
        """The first part that is missing; the whole gap for who is alone."""
        start, end = self._missing.pop(0)
        size = end - start
        if self._sharing:
            least, most = self._sharing.least // 4, 2 * self._sharing.least
            rest = size + sum(end - start for start, end in self._missing)
            fair = rest // (_PARTS * self._sharing.streams)
            # Who has no help to expect does not stop so often to ask.
            is_alone = not self._helpers and self._sharing.slots.available_tokens < 1
            if is_alone:
                fair = most
            elif not self._pace:
                fair = least  # soon it is known how fast it goes
            size = min(size, max(least, min(fair, most)))
        if start + size < end:
            self._missing.insert(0, (start + size, end))
        return start, start + size

    def _take_more(self, end: int) -> int:
        """Take the part behind a part too, up to the next one that somebody has or had."""
        if self._missing and self._missing[0][0] == end:
            return self._missing.pop(0)[1]
        return end


@contextmanager
def _slot(slots: anyio.CapacityLimiter) -> Iterator[bool]:
    """Hold a slot if there is one that nobody waits for."""
    borrower = object()
    try:
        slots.acquire_on_behalf_of_nowait(borrower)
    except anyio.WouldBlock:
        yield False
        return
    try:
        yield True
    finally:
        slots.release_on_behalf_of(borrower)


class _Feed:
    """Where the bytes of a part go, and how many went there."""

    def __init__(self, blob: Descriptor, start: int, end: int) -> None:
        self.position = start
        self.reached = start
        """What is being written is before this."""
        self.end = end
        self.is_broken = False
        self._start = start
        self._begin = monotonic()
        self._blob = blob

    async def take(self, stretch: Stretch, write: Write) -> None:
        """Write what comes, up to the end of the part. Raises SizeMismatch, RegistryUnavailable."""
        with _arriving(self._blob) as arrived:
            await self._take(stretch, write, arrived)
        if (missing := min(stretch.end, self.end) - self.position) > 0:
            raise RegistryUnavailable("the registry", f"the connection ended {missing} bytes early")

    def pace(self) -> float:
        """Bytes per second so far."""
        return (self.reached - self._start) / max(monotonic() - self._begin, 1e-6)

    def seconds_left(self) -> float:
        """How long it goes on, if it goes on like this."""
        return (self.end - self.reached) / max(self.pace(), 1e-6)

    async def _take(self, stretch: Stretch, write: Write, arrived: Callable[[int], None]) -> None:
        async for chunk in stretch:
            wanted = min(stretch.end, self.end)  # it may have become less
            if stretch.end > wanted:
                chunk = chunk[: wanted - self.position]
            after = self.position + len(chunk)
            if after > self._blob.size:
                raise SizeMismatch(f"layer {self._blob.digest.short}", self._blob.size, after)
            if after > wanted:
                raise RegistryUnavailable("the registry", "it sent more of a blob than it said")
            # Until proven otherwise: nobody knows what a failed write has done to the file.
            self.is_broken = True
            self.reached = after
            await write(chunk)
            self.is_broken = False
            self.position = after
            arrived(len(chunk))
            if after == min(stretch.end, self.end) < stretch.end:
                return


@contextmanager
def _arriving(blob: Descriptor) -> Iterator[Callable[[int], None]]:
    """Tells now and then of bytes that have come, and of the last of them."""
    begin, count = monotonic(), 0

    def arrived(more: int) -> None:
        nonlocal begin, count
        count += more
        if monotonic() - begin >= _ARRIVALS:
            tell("bytes", blob.digest.short, begin, bytes=count)
            begin, count = monotonic(), 0

    try:
        yield arrived
    finally:
        tell("bytes", blob.digest.short, begin, bytes=count)
