"""A slice of what `scripts.runlines` types at docker and at us, and whether whoever judges it sees what is wrong."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.cases.run_lines import LINES, Line
from tests.cases.run_plays import Answer, Stage, judge, names, staging
from tests.fakes.forks import Forks

ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="dockerd needs root")


@pytest.fixture(scope="module")
def stage(forked: Forks, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """One docker for all lines."""
    with staging(tmp_path_factory.mktemp("lines"), ("native",), forked) as stage:
        yield stage


@ROOT
@pytest.mark.parametrize("name", names(every=10))
def test_a_command_line_does_what_docker_does(stage: Stage, name: str) -> None:
    """The same standard output, the same exit code."""
    line = LINES[name]
    assert judge(line, stage.with_docker(line), stage.with_us(line, "native"), "native") == "", line.text


@pytest.mark.parametrize(
    ("line", "ours", "way", "found"),
    [
        (Line("BOX true"), Answer(0, b"x"), "native", ""),
        (Line("BOX true"), Answer(1, b"x", "no"), "native", "code 1, docker's 0 (no / )"),
        (Line("BOX true"), Answer(0, b"y"), "crun", "output b'y', docker's b'x'"),
        (Line("BOX true", differs="so"), Answer(1, b"y"), "native", ""),
        (Line("BOX true", differs="so"), Answer(1, b"y", "Traceback"), "native", "a traceback"),
        (Line("BOX true", differs="so", by="runc"), Answer(0, b"y"), "runc", ""),
        (Line("BOX true", differs="so", by="runc"), Answer(0, b"y"), "native", "output b'y', docker's b'x'"),
        (Line("BOX true", only="native"), Answer(125, b"", "aiodocker-lite: no"), "rootless-crun", ""),
        (Line("BOX true", only="native"), Answer(0, b"x"), "crun", "not refused: Answer(code=0, out=b'x', err='')"),
        (Line("BOX true", only="native"), Answer(0, b"y"), "rootless", "output b'y', docker's b'x'"),
        (Line("BOX true", needs_root=True), Answer(125, b"", "aiodocker-lite: no"), "rootless", ""),
        (Line("BOX true", needs_root=True), Answer(0, b"x"), "rootless", "not refused: Answer(code=0, out=b'x', err='')"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_seen(line: Line, ours: Answer, way: str, found: str) -> None:
    """A code, an output, a traceback, and what an ordinary user should not have got."""
    assert judge(line, Answer(0, b"x"), ours, way) == found
