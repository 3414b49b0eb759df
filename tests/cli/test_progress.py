"""Which way progress is shown, and the plain way."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from aiodocker_lite.cli.progress import Heartbeat, Lines, Plain, Quiet, choose, watching
from aiodocker_lite.errors import ImageNotFound, InvalidOption
from aiodocker_lite.events import (
    ImageFailed,
    ImageReady,
    JobProgress,
    LayerDownloaded,
    LayerExists,
    LayerReady,
    LayerStarted,
    LayerUnpacked,
    Notice,
    PlanReady,
    Quota,
    Retrying,
    Waiting,
)
from tests.fakes.jobs import layer, resolved

ROOT = Path(__file__).parents[2]
BIG, SMALL = layer(1, 100_000_000), layer(2, 28_000_000)
IMAGE = resolved("alpine:latest", BIG, SMALL)


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


class Log:
    """A plain view under a clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.now = 0.0
        self.view = Plain(self.lines.append, lambda: self.now)

    def spoken(self) -> list[str]:
        """The lines since the last call."""
        lines = list(self.lines)
        self.lines.clear()
        return lines


@pytest.fixture
def log() -> Iterator[Log]:
    log = Log()
    with log.view:
        yield log


# --- choosing ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "environ", "on_terminal", "on_pipe"),
    [
        ("auto", {}, "tty", "plain"),
        ("auto", {"TERM": "xterm"}, "tty", "plain"),
        ("auto", {"TERM": "dumb"}, "plain", "plain"),
        ("auto", {"AIODOCKER_LITE_PROGRESS": "json"}, "json", "json"),
        ("auto", {"AIODOCKER_LITE_PROGRESS": "auto"}, "tty", "plain"),
        ("auto", {"AIODOCKER_LITE_PROGRESS": ""}, "tty", "plain"),
        ("auto", {"CLICOLOR_FORCE": "1"}, "tty", "plain"),
        ("auto", {"NO_COLOR": "1"}, "tty", "plain"),
        ("plain", {"AIODOCKER_LITE_PROGRESS": "json"}, "plain", "plain"),
        ("quiet", {}, "quiet", "quiet"),
        ("tty", {}, "tty", "tty"),
        ("tty", {"TERM": "dumb"}, "plain", "plain"),
    ],
)
def test_the_option_decides_then_the_variable_then_the_terminal(
    kind: str, environ: dict[str, str], on_terminal: str, on_pipe: str
) -> None:
    """Colour has no say in it, and a dumb terminal gets no view that moves the cursor."""
    assert choose(kind, Terminal(), environ) == on_terminal
    assert choose(kind, io.StringIO(), environ) == on_pipe


def test_another_kind_is_refused_under_the_name_it_was_given_by(monkeypatch: pytest.MonkeyPatch) -> None:
    """The sentence lists what there is."""
    with pytest.raises(
        InvalidOption, match="--progress: 'fancy' is not one of auto, tty, plain, json, quiet"
    ):
        watching("fancy", io.StringIO())
    monkeypatch.setenv("AIODOCKER_LITE_PROGRESS", "loud")
    with pytest.raises(InvalidOption, match="AIODOCKER_LITE_PROGRESS: 'loud'"):
        watching("auto", io.StringIO())


@pytest.mark.parametrize("kind", ["auto", "plain", "json", "quiet"])
def test_rich_is_not_loaded_without_a_terminal(kind: str) -> None:
    """Its import costs more than a small pull."""
    script = f"""if True:
        import sys
        sys.path.insert(0, {str(ROOT)!r})
        from aiodocker_lite.cli.progress import watching
        from aiodocker_lite.events import ImageReady
        from tests.fakes.jobs import resolved
        with watching({kind!r}, sys.stderr) as progress:
            image = resolved("a")
            progress(image)
            progress(ImageReady("a", image.digest, True))
        print("rich" in sys.modules)"""
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert run.stdout == "False\n"
    assert bool(run.stderr) == (kind != "quiet")


def test_who_waits_for_long_hears_why_once() -> None:
    """However quiet it shall be: the registry asked for it."""
    stderr = io.StringIO()
    with watching("quiet", stderr) as progress:
        for asked in (0.0, 5.0, 30.0, 30.0):
            progress(Retrying("resolving app", "r limits the number of pulls", asked + 1, asked))
    assert stderr.getvalue() == (
        "resolving app: r limits the number of pulls; trying again in 31s, for it asks to wait 30s\n"
    )


def test_quiet_is_quiet() -> None:
    """Not even a notice; but a warning must be seen."""
    stderr = io.StringIO()
    with watching("quiet", stderr) as progress:
        progress(IMAGE)
        progress(Notice("something"))
        progress.failed("alpine:latest", ImageNotFound("alpine:latest"))
        with progress.aside():
            pass
        assert stderr.getvalue() == ""
        progress(Notice("Warning: something\x1b[2J"))
    assert stderr.getvalue() == "Warning: something\\x1b[2J\n"
    assert isinstance(progress, Quiet)


# --- plain lines ---------------------------------------------------------------------------


def test_a_quick_pull_is_two_lines(log: Log) -> None:
    """What is coming, and that it is there."""
    with log.view as progress:
        progress(IMAGE)
        progress(LayerStarted(BIG.digest, BIG.size, 0))
        log.now = 0.4
        for size in range(0, BIG.size + 1, 1_000_000):
            progress(LayerDownloaded(BIG.digest, size, BIG.size))
        progress(LayerUnpacked(BIG.digest, BIG.size, BIG.size))
        progress(LayerReady(BIG.digest, BIG.size, 3))
        progress(LayerExists(SMALL.digest, SMALL.size))
        progress(ImageReady("alpine:latest", IMAGE.digest, True))
    assert log.spoken() == [
        f"alpine:latest: sha256:{IMAGE.digest.short}, linux/amd64, 2 layers, 128MB",
        "alpine:latest: ready, 128MB (28MB of it was here) in 0.4s",
    ]


def test_an_image_that_is_up_to_date_is_one_line(log: Log) -> None:
    """Nothing was resolved, so nothing was announced."""
    log.view(ImageReady("alpine:latest", IMAGE.digest, False))
    assert log.spoken() == ["alpine:latest: up to date"]


def test_each_tenth_of_the_bytes_is_a_line_but_no_second_has_two(log: Log) -> None:
    """100 events in 4 seconds make at most 4 lines, each with what is left."""
    log.view(IMAGE)
    log.view(LayerStarted(BIG.digest, BIG.size, 0))
    log.view(LayerStarted(SMALL.digest, SMALL.size, SMALL.size))
    log.spoken()
    for step in range(1, 101):
        log.now = step / 25
        log.view(LayerDownloaded(BIG.digest, step * 1_000_000, BIG.size))
    assert log.spoken() == [
        "alpine:latest: 41%, 53MB of 128MB, 25MB/s, 3s left",
        "alpine:latest: 60%, 78MB of 128MB, 25MB/s, 2s left",
        "alpine:latest: 80%, 103MB of 128MB, 25MB/s, 1s left",
        "alpine:latest: 100%, 128MB of 128MB, 0B unpacked",
    ]


def test_ten_silent_seconds_are_ended_by_a_line(log: Log) -> None:
    """Also when no event comes, and less often when nothing moves."""
    log.view(IMAGE)
    log.view(LayerStarted(BIG.digest, BIG.size, 0))
    log.view(LayerDownloaded(BIG.digest, 2_000_000, BIG.size))
    log.spoken()
    for log.now in range(1, 31):
        log.view.beat()
    assert log.spoken() == [
        "alpine:latest: 1%, 2MB of 128MB, 200kB/s, 10m30s left",
        "alpine:latest: 1%, 2MB of 128MB, 0B/s",
        "alpine:latest: 1%, 2MB of 128MB, 0B/s",
    ]


def test_what_goes_wrong_is_a_line_at_once(log: Log) -> None:
    """Retries and notices each; layers that another process brings once, then as a number."""
    log.view(IMAGE)
    log.spoken()
    log.view(Retrying("layer 000000000001", "cannot reach example.com: timeout", 2.0))
    log.view(Retrying("layer 000000000001", "wrong content", 0))
    log.view(Waiting(BIG.digest))
    log.view(Waiting(BIG.digest))
    log.view(Waiting(SMALL.digest))
    log.view(Notice("The disk is nearly full"))
    log.now = 10
    log.view.beat()
    assert log.spoken() == [
        "layer 000000000001: cannot reach example.com: timeout; trying again in 2s",
        "layer 000000000001: wrong content; trying again",
        "layer 000000000001: another pull is bringing it; waiting for that",
        "The disk is nearly full",
        "alpine:latest: 0%, 0B of 128MB, 2 layers left to another pull",
    ]


def test_few_pulls_that_are_left_are_a_line(log: Log) -> None:
    """Once for each number: several images tell the same; and nothing while there are many."""
    for left in (100, 20, 19, 19, 18):
        log.view(Quota("docker.io", left, 100, 21600))
    assert log.spoken() == [
        "docker.io: 19 of 100 pulls left, counted over 6h",
        "docker.io: 18 of 100 pulls left, counted over 6h",
    ]


def test_a_job_of_many_images_begins_with_its_plan(log: Log) -> None:
    """In the place of a line for each image; one that fails is a line, and is counted from then on."""
    with log.view as progress:
        progress(JobProgress(3, 0, 0))
        progress(PlanReady(images=3, failed=0, layers=4, shared=1, total=9, unique=5, have=0, disk=10_001))
        progress(IMAGE)
        progress(LayerStarted(BIG.digest, BIG.size, 0))
        progress(ImageFailed("other", "slug", "it is\x07 gone"))
        progress(JobProgress(3, 0, 1))
        log.now = 2
        progress(LayerDownloaded(BIG.digest, 64_000_000, BIG.size))
        progress(ImageReady("alpine:latest", IMAGE.digest, True))
    assert log.spoken()[:3] == [
        "3 images, 4 layers, 1 shared, 5B unique of 9B, 0B already here, needs 10.01kB of disk",
        r"other: failed: it is\x07 gone",
        "0 of 3 images, 1 failed: 50%, 64MB of 128MB, 32MB/s, 2s left",
    ]


def test_several_images_end_in_a_summary(log: Log) -> None:
    """A layer that two of them share was downloaded once; a failed one is not ready."""
    other, broken = resolved("other", BIG), resolved("broken", layer(9, 5))
    with log.view as progress:
        progress(IMAGE)
        progress(other)
        progress(broken)
        progress(LayerStarted(BIG.digest, BIG.size, 0))
        log.now = 2
        progress(LayerDownloaded(BIG.digest, BIG.size, BIG.size))
        progress(LayerReady(BIG.digest, BIG.size, 3))
        progress.failed("broken", ImageNotFound("broken"))
        progress(ImageReady("other", other.digest, True))
        progress(LayerExists(SMALL.digest, SMALL.size))
        log.now = 4
        progress(ImageReady("alpine:latest", IMAGE.digest, True))
    assert log.spoken()[3:] == [
        "0 of 3 images: 78%, 100MB of 128MB, 50MB/s, 1s left",
        "other: ready, 100MB in 2s",
        "alpine:latest: ready, 128MB (28MB of it was here) in 4s",
        "2 images ready, 100MB downloaded in 4s (25MB/s)",
    ]


def test_a_job_that_failed_has_no_summary(log: Log) -> None:
    """The error is the summary, and it is printed by somebody else."""

    def failing() -> None:
        with log.view as progress:
            for name in ("a", "b"):
                progress(ImageReady(name, IMAGE.digest, False))
            log.spoken()
            raise ImageNotFound("c")

    with pytest.raises(ImageNotFound):
        failing()
    assert log.spoken() == []


def test_strangers_text_is_disarmed(log: Log) -> None:
    """No escape code and no second line, whoever sends them."""
    bad = "\x1b[2Jx\r\ny\u202e"
    image = resolved(bad, BIG)
    for event in (image, Retrying(bad, bad, 1.5), Notice(bad), ImageReady(bad, image.digest, True)):
        log.view(event)
    assert all(line.isprintable() for line in log.lines)
    assert len(log.lines) == 4


# --- what the views stand on ---------------------------------------------------------------


def test_a_reader_that_has_gone_does_not_end_the_pull() -> None:
    """`2>&1 | head` closes the pipe; the work goes on without a word."""
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "w", buffering=1) as stream:  # noqa: PTH123
        say = Lines(stream)
        say("one")
        say("two", "three")
        os.dup2(os.open(os.devnull, os.O_WRONLY), writing)  # so that closing has nothing to complain about


def test_no_thread_outlives_the_images() -> None:
    """While nothing is on its way nothing ticks: a container may have the terminal then."""
    lines: list[str] = []
    view = Plain(lines.append)
    before = set(threading.enumerate())
    view(Notice("before"))
    assert not set(threading.enumerate()) - before
    view(IMAGE)
    [ticking] = set(threading.enumerate()) - before
    view(ImageReady("alpine:latest", IMAGE.digest, True))
    ticking.join(5)
    assert not ticking.is_alive()


def test_no_beat_is_under_way_after_stop() -> None:
    """Whoever stops the heart may write to the terminal next."""
    beating, release, beats = threading.Event(), threading.Event(), []

    def beat() -> None:
        beats.append("begun")
        beating.set()
        release.wait(5)
        beats.append("ended")

    heart = Heartbeat(beat, 0, first=0)
    heart.start()
    heart.start()
    assert beating.wait(5)
    threading.Timer(0.01, release.set).start()
    heart.stop()
    after = list(beats)
    heart.stop()
    assert after[-1] == "ended"
    assert beats == after


def test_who_stops_before_the_first_beat_does_not_wait_for_what_it_needs() -> None:
    """An import in the thread may take longer than the rest of a quick pull."""
    preparing, release, beats = threading.Event(), threading.Event(), []

    def prepare() -> None:
        preparing.set()
        release.wait(5)

    before = set(threading.enumerate())
    heart = Heartbeat(lambda: beats.append("beat"), 0, first=0, prepare=prepare)
    heart.start()
    assert preparing.wait(5)
    [thread] = set(threading.enumerate()) - before
    heart.stop()
    release.set()
    thread.join(5)
    assert beats == []
