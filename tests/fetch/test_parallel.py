"""Several streams for one blob; here the source is a table of bytes with a script of faults."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field

import anyio
import pytest
from anyio.lowlevel import checkpoint

from aiodocker_lite.digest import Digest
from aiodocker_lite.errors import (
    AccessDenied,
    EngineError,
    RateLimited,
    RegistryError,
    RegistryUnavailable,
    SizeMismatch,
    StoreUnwritable,
)
from aiodocker_lite.fetch.blob import Extent, Sharing, Write, fetch_blob
from aiodocker_lite.fetch.retries import Retries
from aiodocker_lite.manifest import Descriptor
from aiodocker_lite.testing.images import noise

RAW = noise(10_000)
BLOB = Descriptor("x", Digest.of(RAW), len(RAW))
LEAST = 400
CUT = RegistryUnavailable("r.example.com", "cut")
BUSY = RateLimited("r.example.com", "too many")
DENIED = AccessDenied("app", "anonymous")


@dataclass
class Answer:
    """What a source makes of a request: it goes on to `end`, and may fail at a byte."""

    end: int
    fails_at: int | None = None
    error: RegistryError = CUT
    more: bytes = b""
    waits: tuple[int, anyio.Event] | None = None


Script = Callable[[int, Extent], Answer]
"""From the number of the request and what it asks for."""


def honest(number: int, asked: Extent) -> Answer:
    return Answer(asked[1])


def without_ranges(number: int, asked: Extent) -> Answer:
    return Answer(len(RAW))


@dataclass
class Stretch:
    """The bytes of one answer, ten at a time."""

    start: int
    answer: Answer

    @property
    def end(self) -> int:
        return self.answer.end

    async def __aiter__(self) -> AsyncIterator[bytes]:
        stop = self.end if self.answer.fails_at is None else min(self.end, self.answer.fails_at)
        for position in range(self.start, stop, 10):
            await checkpoint()
            if self.answer.waits and position >= self.answer.waits[0]:
                await self.answer.waits[1].wait()
            yield RAW[position : min(position + 10, stop)]
        if self.answer.fails_at is not None:
            raise self.answer.error
        if self.answer.more:
            yield self.answer.more


@dataclass
class Download:
    """One download, and all that there is to know about it."""

    script: Script = honest
    asked: list[Extent] = field(default_factory=list)
    retries: list[tuple[RegistryError, float]] = field(default_factory=list)
    open_now: int = 0
    most_open: int = 0
    got: bytearray = field(default_factory=lambda: bytearray(len(RAW)))
    written: Counter[int] = field(default_factory=Counter)
    full_at: int = len(RAW)

    def open_at(self, start: int, end: int) -> AbstractAsyncContextManager[Stretch]:
        return self._opened(start, end)

    @asynccontextmanager
    async def _opened(self, start: int, end: int) -> AsyncIterator[Stretch]:
        answer = self.script(len(self.asked), (start, end))
        self.asked.append((start, end))
        await checkpoint()
        if answer.fails_at == start:
            raise answer.error
        self.open_now += 1
        self.most_open = max(self.most_open, self.open_now)
        try:
            yield Stretch(start, answer)
        finally:
            self.open_now -= 1

    @asynccontextmanager
    async def writing_at(self, offset: int) -> AsyncIterator[Write]:
        async def write(chunk: bytes) -> None:
            nonlocal offset
            await checkpoint()
            if offset + len(chunk) > self.full_at:
                raise StoreUnwritable("x", "read-only")
            self.got[offset : offset + len(chunk)] = chunk
            self.written.update(range(offset, offset + len(chunk)))
            offset += len(chunk)

        yield write

    async def fetch(
        self,
        *,
        streams: int = 4,
        slots: anyio.CapacityLimiter | None = None,
        gaps: tuple[Extent, ...] = ((0, len(RAW)),),
    ) -> None:
        slots = slots or anyio.CapacityLimiter(10)
        try:
            await fetch_blob(
                BLOB,
                gaps,
                self.open_at,
                self.writing_at,
                sharing=Sharing(streams, LEAST, slots, patience=0.05),
                retries=Retries((0,) * 5, 60),
                on_retry=lambda error, pause: self.retries.append((error, pause)),
            )
        finally:
            assert self.open_now == 0

    def got_everything_once(self) -> bool:
        return bytes(self.got) == RAW and set(self.written.values()) == {1} and len(self.written) == len(RAW)


@pytest.mark.parametrize("streams", [1, 2, 3, 4, 9])
async def test_every_byte_is_asked_for_once(streams: int) -> None:
    """As many streams as there may be, and never more; the first part is asked for first."""
    one = Download()
    await one.fetch(streams=streams)
    assert one.got_everything_once()
    assert one.most_open == streams
    assert sum(end - start for start, end in one.asked) == len(RAW)
    assert one.asked[0][0] == 0
    assert all(end - start <= 2 * LEAST for start, end in one.asked) == (streams > 1)


async def test_a_small_blob_is_one_request() -> None:
    """And a large one of which little is missing is one for each gap."""
    gaps = (100, 200), (9_800, len(RAW))
    one = Download()
    await one.fetch(gaps=gaps)
    assert one.asked == list(gaps)


async def test_only_gaps_are_fetched() -> None:
    """What a killed process had written behind the first gap is not asked for."""
    gaps = (1_000, 4_000), (6_000, len(RAW))
    one = Download()
    await one.fetch(gaps=gaps)
    assert set(one.written) == {*range(1_000, 4_000), *range(6_000, len(RAW))}
    assert set(one.written.values()) == {1}
    assert one.most_open == 4


async def test_a_source_without_parts_is_read_in_one() -> None:
    """R16: the first answer says so, and nobody else asks."""
    one = Download(without_ranges)
    await one.fetch()
    assert one.got_everything_once()
    assert len(one.asked) == 1


@pytest.mark.parametrize(
    "odd",
    [
        without_ranges,
        lambda number, asked: Answer(asked[1], asked[0], BUSY),
        lambda number, asked: Answer(asked[1], asked[0], DENIED),
        lambda number, asked: Answer(asked[1], asked[0], RegistryUnavailable("r", "it sent 'bytes 0-1/2'")),
    ],
    ids=["ignores ranges", "too many", "denied", "another part"],
)
async def test_a_source_that_wants_one_stream_gets_one(odd: Script) -> None:
    """R16, R17: the second stream is refused, and the first goes on alone without a failure."""
    one = Download(lambda number, asked: odd(number, asked) if number in (1, 2, 3) else honest(number, asked))
    await one.fetch()
    assert one.got_everything_once()
    assert all(pause == 0 for _, pause in one.retries)
    assert len(one.retries) == 3
    assert len(one.asked) < 9


async def test_what_a_cut_stream_did_not_bring_is_fetched_by_another() -> None:
    """And what it brought is not."""
    one = Download(lambda number, asked: Answer(asked[1], asked[0] + 30 if number in (1, 2, 5) else None))
    await one.fetch()
    assert one.got_everything_once()
    assert one.most_open == 4
    assert len(one.retries) == 3


@pytest.mark.parametrize("slow", [0, 1, 5])
async def test_a_slow_stream_gives_half_of_its_part_to_another(slow: int) -> None:
    """The leading one or a helper; nothing comes twice, and the slow one's own half is still its own."""
    halved = anyio.Event()
    one = Download()

    def script(number: int, asked: Extent) -> Answer:
        if any(start < asked[0] < end for start, end in one.asked):
            halved.set()
        return Answer(asked[1], waits=(asked[0] + 50, halved) if number == slow else None)

    one.script = script
    with anyio.fail_after(10):
        await one.fetch(streams=3)
    assert halved.is_set()
    assert one.got_everything_once()
    assert one.retries == []


async def test_a_slot_that_somebody_waits_for_is_given_back() -> None:
    """Other layers come first: a helper ends with its part, and none begins while somebody waits."""
    slots = anyio.CapacityLimiter(2)
    others: list[int] = []

    async def another(number: int) -> None:
        async with slots:
            others.append(len(one.asked))
            for _ in range(100):
                await checkpoint()

    one = Download()
    async with slots, anyio.create_task_group() as tasks:
        tasks.start_soon(another, 0)
        await checkpoint()
        tasks.start_soon(another, 1)
        await one.fetch(slots=slots)
        assert len(others) == 2
    assert one.got_everything_once()
    assert one.most_open == 2
    assert slots.borrowed_tokens == 0


async def test_a_single_slot_is_a_single_stream() -> None:
    """`--jobs 1` means one."""
    slots = anyio.CapacityLimiter(1)
    one = Download()
    async with slots:
        await one.fetch(slots=slots)
    assert one.got_everything_once()
    assert one.most_open == 1


@pytest.mark.parametrize(
    ("number", "answer", "kind"),
    [
        (0, lambda asked: Answer(asked[1], asked[0], DENIED), AccessDenied),
        (4, lambda asked: Answer(asked[1], more=b"x" * len(RAW)), SizeMismatch),
    ],
)
async def test_an_error_ends_all_streams(
    number: int, answer: Callable[[Extent], Answer], kind: type[EngineError]
) -> None:
    """One error comes out, whoever met it."""
    one = Download(lambda n, asked: answer(asked) if n == number else honest(n, asked))
    with pytest.raises(kind):
        await one.fetch()


async def test_a_failed_write_of_any_stream_ends_the_download() -> None:
    """It is never tried again."""
    one = Download(full_at=5_000)
    with pytest.raises(StoreUnwritable):
        await one.fetch()
    assert one.retries == []


async def test_cancelling_ends_all_streams() -> None:
    """After 0, 1, 2, ... turns of the loop; no slot is lost."""
    for turns in range(0, 400, 7):
        one, slots = Download(), anyio.CapacityLimiter(10)
        async with anyio.create_task_group() as tasks:

            async def fetch(one: Download = one, slots: anyio.CapacityLimiter = slots) -> None:
                await one.fetch(slots=slots)

            tasks.start_soon(fetch)
            for _ in range(turns):
                await checkpoint()
            tasks.cancel_scope.cancel()
        assert one.open_now == 0
        assert slots.borrowed_tokens == 0


@pytest.mark.parametrize("seed", range(100))
async def test_whatever_goes_wrong_every_byte_arrives_once(seed: int) -> None:
    """R15 to R17 at random: cuts, refusals, ranges ignored, shorter ranges, more bytes than asked for."""
    chance = random.Random(seed)

    def odd(number: int, asked: Extent) -> Answer:
        start, end = asked
        where = chance.randrange(start, end)
        return chance.choice(
            [
                Answer(end),
                Answer(end),
                Answer(end, where),
                Answer(end, start, chance.choice([CUT, BUSY])),
                Answer(len(RAW), chance.choice([None, where])),
                Answer(max(where, start + 1)),
                Answer(end, more=b"xyz" if end < len(RAW) else b""),
            ]
        )

    def patient(number: int, asked: Extent) -> Answer:
        return odd(number, asked) if number % 4 else honest(number, asked)

    one = Download(patient)
    await one.fetch(streams=chance.randrange(1, 6))
    assert one.got_everything_once()
