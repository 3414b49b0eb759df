"""A slice of what `scripts.soak` plays, and whether whoever judges it sees what is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cases.soak import Soak
from tests.fakes.processes import RealRegistry


@pytest.fixture
def soak(open_registry: RealRegistry, tmp_path: Path) -> Soak:
    return Soak(tmp_path / "store", tmp_path, open_registry)


@pytest.mark.timeout(300)
def test_many_processes_do_all_there_is_on_one_store(soak: Soak) -> None:
    """Eight for a few seconds: no wrong tree, no error that does not fit, nobody hangs, nothing is left."""
    soak.fill()
    soak.run(8, 6, 1)
    assert soak.findings == []
    assert soak.ended.total() >= 14


@pytest.mark.parametrize(
    ("words", "code", "out", "said"),
    [
        (["run", "--rm", "soak0:latest", "/bin/sh"], 0, "another tree", ""),
        (["images"], 0, '{"Verified": "Damaged"}', ""),
        (["pull", "a"], 1, "", "aiodocker-lite: No such image: a"),
        (["df"], 0, "", "Traceback (most recent call last):"),
        (["rmi", "a"], 1, "", "aiodocker-lite: internal error: KeyError"),
        (["rmi", "a"], 1, "", "aiodocker-lite: the store is damaged: a: b"),
        (["rmi", "a"], 1, "", ""),
        (["verify"], 1, "a: damaged", ""),
    ],
)
def test_what_is_wrong_is_seen(soak: Soak, words: list[str], code: int, out: str, said: str) -> None:
    """A wrong tree, an error that nobody's being faster explains, one without a sentence."""
    assert soak.judge(words, code, out, said)


def test_that_somebody_else_was_faster_is_nothing_wrong(soak: Soak) -> None:
    """The error is counted."""
    assert not soak.judge(["rmi", "a"], 1, "", "aiodocker-lite: No such image: a")
    assert soak.errors.total() == 1
