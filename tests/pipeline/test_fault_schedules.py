"""A slice of what `scripts.faults` runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cases.faults import Schedule, random_one, run, scripted

SLICE = [*list(scripted())[::5], *(random_one(seed) for seed in range(25))]


@pytest.mark.parametrize("schedule", SLICE, ids=lambda schedule: schedule.name)
async def test_a_pull_ends_as_it_must(schedule: Schedule, tmp_path: Path) -> None:
    """What an honest retry can mend is mended, nothing comes twice, and all else is one clear error."""
    assert await run(schedule, tmp_path / "store") == []


def test_there_are_as_many_as_was_said() -> None:
    """At least two hundred, each with a name of its own."""
    names = [schedule.name for schedule in scripted()]
    assert len(set(names)) == len(names) >= 200
