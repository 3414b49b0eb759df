"""A slice of what `scripts.faults` plays, and whether whoever judges it sees what is wrong."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from aiodocker_lite.manifest import Descriptor
from aiodocker_lite.reference import Reference
from aiodocker_lite.registry.client import HttpRegistry
from aiodocker_lite.registry.failover import Tell
from aiodocker_lite.registry.part import Part
from aiodocker_lite.testing import Exchange, Reply, Seen, layer
from aiodocker_lite.testing.images import noise
from tests.cases.fault_cases import FAULTS, STALLS, Schedule
from tests.cases.fault_schedules import WRITTEN, random_one, scripted
from tests.cases.faults import Progress, play
from tests.fakes.clients import knowing


def slice_of(schedules: list[Schedule]) -> list[Schedule]:
    """One of each kind of fault, some short and some lasting, and every seventh of the longer ones."""
    kinds: dict[str, list[Schedule]] = {}
    for schedule in schedules:
        kinds.setdefault(schedule.faults[-1][1], []).append(schedule)
    ones = [kind[number % len(kind)] for number, kind in enumerate(kinds.values())]
    return [one for one in [*ones, *WRITTEN[::7]] if stalls(one) < 5]


def stalls(schedule: Schedule) -> int:
    return sum(fault in STALLS for _, fault in schedule.faults)


SLICE = [*slice_of(scripted()), *[one for one in map(random_one, range(60)) if not stalls(one)][:40]]


@pytest.mark.parametrize("schedule", SLICE, ids=lambda schedule: schedule.name)
async def test_a_pull_ends_as_it_must(schedule: Schedule, tmp_path: Path) -> None:
    """What an honest retry can mend is mended, nothing comes twice, and all else is one clear error."""
    assert await play(schedule, tmp_path) == []


def test_the_table_is_as_large_as_was_said() -> None:
    """Every fault is in it, and every schedule has a name of its own; the same seed is the same schedule."""
    schedules = scripted()
    assert len({schedule.name for schedule in schedules}) == len(schedules) > 700
    played = {fault for schedule in schedules for _, fault in schedule.faults}
    assert played == {*FAULTS, "cancel", "stale"}
    assert len(slice_of(schedules)) > 60
    assert random_one(7) == random_one(7) != random_one(8)


# --- whether a mistake would be seen -------------------------------------------------------------

RAW = layer({"f": noise(1000)}, "plain")
SIZE = len(RAW.raw)


class Forgetful(HttpRegistry):
    """It asks for every layer from the start, and drops what is here already."""

    @asynccontextmanager
    async def open_blob(
        self,
        reference: Reference,
        blob: Descriptor,
        offset: int = 0,
        end: int | None = None,
        *,
        tell: Tell = lambda text: None,
    ) -> AsyncIterator[Part]:
        async with super().open_blob(reference, blob, tell=tell) as part:
            part._skip = offset
            part._missing -= offset
            yield part


async def test_a_client_that_asks_for_everything_again_is_seen(tmp_path: Path) -> None:
    """Though the image is right in the end."""
    cut = Schedule("cut", (("small", "half"),))
    assert await play(cut, tmp_path / "1") == []
    found = await play(cut, tmp_path / "2", lambda settings: Forgetful(settings, credentials=knowing(None)))
    assert found == ["small: 10000 bytes were here, and all of it was asked for"]


@pytest.mark.parametrize(
    ("ending", "words", "complaint"),
    [
        ("", "", "there is no image: "),
        ("denied", "", "BlobNotFound, and not AccessDenied: "),
        ("no blob", "the moon", "has no 'the moon'"),
    ],
)
async def test_another_ending_than_the_one_that_was_meant_is_seen(
    tmp_path: Path, ending: str, words: str, complaint: str
) -> None:
    """The class, and what the sentence says."""
    gone = replace(Schedule("gone", (("small", "404"),)), ending=ending, words=words)
    (found,) = {each for each in await play(gone, tmp_path) if complaint in each}
    assert "is not complete in its registry" in found


def answered(asked: str, reply: Reply) -> Exchange:
    headers = {"Range": asked} if asked else {}
    return Exchange(Seen("GET", "/", "/", {}, headers, None), reply, len(reply.body[: reply.at]))


def part(start: int, end: int, body: bytes = b"") -> Reply:
    return Reply(206, body or RAW.raw[start:end], {"Content-Range": f"bytes {start}-{end - 1}/{SIZE}"})


HALF = answered("", replace(Reply(200, RAW.raw), at=500))
AGAIN: dict[str, tuple[list[Exchange], int]] = {
    "goes on": ([HALF, answered("bytes=500-", part(500, SIZE))], 0),
    "ten bytes too many": ([HALF, answered("bytes=490-", part(490, SIZE))], 10),
    "from the start": ([HALF, answered("", Reply(200, RAW.raw))], 500),
    "in parts": ([answered("bytes=500-999", part(500, 1000)), answered("bytes=0-499", part(0, 500))], 0),
    "the same part twice": ([answered("bytes=0-499", part(0, 500))] * 2, 500),
    "after a reset": ([answered("", replace(Reply(200, RAW.raw), at=500, ending="reset")), HALF], 0),
    "after another part": ([HALF, answered("bytes=500-", part(400, SIZE)), answered("bytes=500-", part(500, SIZE))], 0),
    "after wrong bytes": ([HALF, answered("bytes=500-", part(500, SIZE, bytes(SIZE - 500))), HALF], 0),
    "after wrong bytes, twice": ([HALF, answered("bytes=500-", part(500, SIZE, bytes(SIZE - 500))), HALF, HALF], 500),
    "after 416": ([HALF, answered("bytes=500-", Reply(416, b"")), HALF], 0),
}  # fmt: skip


@pytest.mark.parametrize(("exchanges", "again"), AGAIN.values(), ids=AGAIN)
def test_bytes_that_are_asked_for_again_are_counted(exchanges: list[Exchange], again: int) -> None:
    """All but those of which nobody knows whether they came, or were right."""
    found = list(Progress(RAW).asked_again(exchanges, alone=True))
    assert [int(complaint.split()[0]) for complaint in found] == ([again] if again else [])


def test_what_is_lost_or_wrong_on_the_disk_is_seen(tmp_path: Path) -> None:
    """Of a blob that is not whole yet."""
    ingest = tmp_path / "ingest" / f"sha256-{RAW.digest.hex}"
    ingest.parent.mkdir()
    for content, complaints in [
        (RAW.raw[:500], []),
        (RAW.raw[:400], ["100 bytes had come, and are not on the disk"]),
        (bytes(500), ["the bytes 0 to 500 on the disk are wrong"]),
    ]:
        ingest.write_bytes(content)
        progress = Progress(RAW)
        assert list(progress.asked_again([HALF], alone=True)) == []
        assert list(progress.kept_on(tmp_path)) == complaints
