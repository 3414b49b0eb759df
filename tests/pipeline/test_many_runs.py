"""A slice of what `scripts.runs` plays, and whether whoever counts sees what is left."""

from __future__ import annotations

import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from aiodocker_lite import RunOptions
from aiodocker_lite.options import Streams
from tests.cases.many_runs import ManyRuns, limited, many_runs
from tests.fakes.processes import program

pytestmark = pytest.mark.anyio


@pytest.fixture
async def runs(tmp_path: Path) -> AsyncIterator[ManyRuns]:
    async with many_runs(tmp_path) as runs:
        yield runs


async def test_nothing_is_left_of_many_runs(runs: ManyRuns) -> None:
    """In a row, at once and detached: every exit code and output is right."""
    before = runs.left()
    await runs.in_a_row(24)
    await runs.at_once(16)
    await runs.detached(8, 4)
    assert runs.findings == []
    assert not any(runs.left().beyond(before).values())


async def test_what_is_left_is_seen(runs: ManyRuns) -> None:
    """Of a container that still runs there is something of every kind but a mount, and one can be made."""
    before = runs.left()
    options = RunOptions(network="none")
    options = limited(options) if runs.limits else options
    async with runs.engine.start(
        runs.image, ["sleep", "100"], options, streams=Streams.captured()
    ) as running:
        found = runs.left(patience=0).beyond(before)
        await running.stop(grace=0)
    expected = {kind for kind, things in found.items() if things}
    assert {*found} - expected == {"mounts", *([] if runs.limits else ["control groups"])}
    if runs.limits:
        subprocess.run([program("mount"), "-t", "tmpfs", "tmpfs", str(runs.work / "layout")], check=True)
        try:
            assert runs.left().beyond(before)["mounts"]
        finally:
            subprocess.run([program("umount"), str(runs.work / "layout")], check=True)


async def test_a_wrong_exit_code_or_output_is_seen(runs: ManyRuns) -> None:
    """The number of a run says what its code is."""
    runs.judge(5, 4, b"")
    assert runs.findings == ["run 5: exit code 4, output b''"]
