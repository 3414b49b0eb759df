"""Commands killed, or with failing system calls, lose nothing; `scripts.crashes` does it at every call."""

from __future__ import annotations

import errno
import os
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import anyio
import pytest

from tests.cases.crash_deeds import DEEDS, NEW, OLD, Ground, Stage, ground, listing, staging
from tests.cases.crashes import Played, bad_manners, judge, play, rehearse
from tests.fakes.held import Call, Decision, held

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can hold up whoever gains privileges")

SLICE = [
    "pull/kill/30",
    "pull/kill/90",
    "pull/kill/120",
    "pull/main/50",
    "pull/worker/20",
    "pull/EDQUOT/60",
    "pull/EMFILE/20",
    "load/kill/60",
    "rmi/kill/30",
    "prune/kill/8",
    "save/EIO/11",
]
"""A few of each; which call that is differs a little from one time to the next."""


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    """A registry, and the stores that are interrupted."""
    with staging() as stage:
        for deed in DEEDS.values():
            rehearse(stage, deed)
        yield stage


@pytest.mark.parametrize("name", SLICE)
def test_an_interrupted_command_loses_nothing(stage: Stage, name: str) -> None:
    """S01 to S05: images are as before or as after, and the same command works again by itself."""
    played = play(stage, name)
    assert played.findings == []
    assert played.hit


# --- the judge ---------------------------------------------------------------------------------


def judged(stage: Stage, damage: Callable[[Ground], None], deed: str = "pull") -> Played:
    """What the judge says of a store in which somebody did this, after a kill that did nothing."""
    played = Played("planted")
    with ground(stage, DEEDS[deed]) as at:
        before = listing(at.store)
        damage(at)
        anyio.run(judge, at, DEEDS[deed], before, -9, "", played)
    return played


def tear_a_file(at: Ground) -> None:
    path = at.store / f"layers/sha256/{OLD.layers[1].diff_id.hex}/fs/srv/old"
    path.write_bytes(path.read_bytes()[:-1])


def tear_a_blob(at: Ground) -> None:
    path = at.store / f"blobs/sha256/{OLD.layers[1].digest.hex}"
    path.write_bytes(path.read_bytes()[:-1])


def lose_an_image(at: Ground) -> None:
    (at.store / "index.json").write_text('{"schemaVersion": 2, "manifests": []}')


def tear_the_index(at: Ground) -> None:
    path = at.store / "index.json"
    path.write_bytes(path.read_bytes()[:-20])


def tear_the_archive(at: Ground) -> None:
    at.target.write_bytes(at.stage.saved.read_bytes()[:-1])


def bar_the_way(at: Ground) -> None:
    """A file where a directory is to be staged."""
    (at.store / f"ingest/sha256-{NEW.layers[1].diff_id.hex}.another.layer").write_bytes(b"")


@pytest.mark.parametrize(
    ("damage", "deed", "sentence"),
    [
        (tear_a_file, "pull", "kept.test/old:1 is damaged: layer .*: srv/old: "),
        (tear_a_blob, "pull", "the layout: the blob .* is not what its name says"),
        (lose_an_image, "pull", r"there are \[\]"),
        (tear_the_index, "tag", "the layout: it cannot be read"),
        (tear_the_archive, "save", "the archive is neither the old one nor the new one"),
    ],
)
def test_the_judge_sees_damage(
    stage: Stage, damage: Callable[[Ground], None], deed: str, sentence: str
) -> None:
    """Or its silence would prove nothing."""
    found = "; ".join(judged(stage, damage, deed).findings)
    assert re.search(sentence, found), found


def test_the_judge_counts(stage: Stage) -> None:
    """A lost image; and a command that works again only when somebody has tidied up."""
    assert judged(stage, lose_an_image).lost == 1
    played = judged(stage, bar_the_way)
    assert (played.failed_retries, played.by_hand) == (1, 1)
    assert judged(stage, lambda at: None).findings == []


@pytest.mark.parametrize(
    ("code", "said", "is_bad"),
    [
        (0, "", False),
        (1, "aiodocker-lite: no space left while writing /x: y\naiodocker-lite: hint: z\n", False),
        (1, "", True),
        (1, "aiodocker-lite: hint: z\n", True),
        (1, "aiodocker-lite: internal error: OSError: x\n", True),
        (1, "Traceback (most recent call last):\n", True),
        (2, "aiodocker-lite: something\n", True),
        (-11, "", True),
    ],
)
def test_the_judge_knows_manners(code: int, said: str, is_bad: bool) -> None:
    """One sentence of ours and a documented exit code."""
    assert bool(bad_manners(code, said)) == is_bad


# --- who holds up ------------------------------------------------------------------------------

WRITER = """
import os, sys, threading
fd = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT)
thread = threading.Thread(target=lambda: os.write(fd, b"1"))
thread.start()
thread.join()
if not os.fork():
    os.write(fd, b"2")
    os._exit(0)
os.wait()
os.open(sys.argv[1], os.O_RDONLY)
try:
    os.write(fd, b"3")
except OSError as error:
    sys.exit(error.errno)
"""


@pytest.mark.parametrize(
    ("decision", "at", "code", "content"),
    [
        ("go on", 9, 0, "123"),
        (errno.EIO, 2, 0, "13"),
        (errno.EIO, 3, errno.EIO, "12"),
        ("kill it", 2, 0, "13"),
        ("kill it", 3, -9, "12"),
        ("kill main", 2, -9, "12"),
        ("kill all", 1, -9, ""),
    ],
)
def test_calls_are_counted_over_threads_and_children(
    tmp_path: Path, decision: Decision, at: int, code: int, content: str
) -> None:
    """In one order, without those that create nothing; a call that is refused or dies is not made."""
    target, seen = tmp_path / "file", list[Call]()

    def decide(call: Call) -> Decision:
        if call.place != str(target):
            return "go on"
        seen.append(call)
        return decision if len(seen) == at + 1 else "go on"

    command = [sys.executable, "-I", "-S", "-c", WRITER, str(target)]
    with held(command, os.environ, ["openat+", "write"], decide, tmp_path / "log") as program:
        assert program.wait()[0] == code
    assert target.read_text() == content
    assert [call.name for call in seen][:2] == ["openat", "write"]
    assert [call.by_main for call in seen] == [True, True, False, True][: len(seen)]
