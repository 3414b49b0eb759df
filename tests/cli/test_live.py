"""The terminal view: what a frame looks like, and what a real terminal has on it afterwards."""

from __future__ import annotations

import errno
import io
import itertools
import os
import pty
import re
import signal
import subprocess
import sys
import termios
from pathlib import Path

import pytest
from rich.console import ConsoleDimensions

from aiodocker_lite.cli.drawing import Area, frame
from aiodocker_lite.cli.live import wants_colour
from aiodocker_lite.cli.tally import Tally
from aiodocker_lite.events import (
    Event,
    JobProgress,
    LayerDownloaded,
    LayerExists,
    LayerReady,
    LayerStarted,
    LayerUnpacked,
    Waiting,
)
from tests.fakes.jobs import layer, resolved

ROOT = Path(__file__).parents[2]
HUNDRED = [layer(number, number * 1_000_000) for number in range(100, 0, -1)]
ONE, TWO = HUNDRED[:70], HUNDRED[60:]


def busy_job() -> list[Event]:
    """Two images, 100 layers, ten of them shared: some finished, ten at work, three elsewhere."""
    happened: list[Event] = [resolved("debian:12", *ONE), resolved("alpine:latest", *TWO)]
    happened += [LayerExists(found.digest, found.size) for found in HUNDRED[:4]]
    for found in HUNDRED[4:6]:
        happened += [LayerStarted(found.digest, found.size, 0), LayerReady(found.digest, found.size, 1)]
    for number, found in enumerate(HUNDRED[6:16]):
        received = found.size * (number + 1) // 10
        happened += [
            LayerStarted(found.digest, found.size, 0),
            LayerDownloaded(found.digest, received, found.size),
            LayerUnpacked(found.digest, received // 2, found.size),
        ]
    happened += [Waiting(found.digest) for found in HUNDRED[20:23]]
    return happened


def tally(*happened: Event) -> Tally:
    counted = Tally(0)
    for event in happened:
        counted.add(event, 0)
    return counted


def picture(counted: Tally, width: int, height: int, *, doing: str = "", fancy: bool = True) -> list[str]:
    rows = frame(counted, ConsoleDimensions(width, height), 2.0, doing=doing, fancy=fancy)
    return [row.plain.rstrip() for row in rows]


# --- frames --------------------------------------------------------------------------------


def test_a_frame_at_80_columns() -> None:
    """The job first, then the layers at work, those that others bring, and how many more there are."""
    assert picture(tally(*busy_job()), 80, 10) == [
        "━─················   675MB/4.66GB   242MB/s  eta 17s    0/2 images  2/96 layers",
        " 000000000094 ─···········   9.4MB/94MB    downloading",
        " 000000000093 ━─··········  18.6MB/93MB    downloading",
        " 000000000092 ━──·········  27.6MB/92MB    downloading",
        " 000000000091 ━━──········  36.4MB/91MB    downloading",
        " 000000000090 ━━━───······    45MB/90MB    downloading",
        " 000000000089 ━━━────·····  53.4MB/89MB    downloading",
        " 3 layers     waiting for another pull",
        " +85 more",
    ]


def test_a_frame_at_40_columns() -> None:
    """Bytes give way to the gauge, rate and counts to the time that is left."""
    assert picture(tally(*busy_job()), 40, 5) == [
        "━············   675MB/4.66GB  eta 17s",
        " 000000000094 ─········· downloading",
        " 3 layers     waiting",
        " +90 more",
    ]


def test_images_that_failed_are_counted_beside_the_others() -> None:
    """Of a job that has said how many it has."""
    (job, *_) = picture(tally(*busy_job(), JobProgress(40, 0, 3)), 110, 5)
    assert "  0/40 images, 3 failed  " in job


def test_a_frame_at_200_columns() -> None:
    """Wider gauges, but nothing that runs over the whole screen."""
    rows = picture(tally(*busy_job()), 200, 50)
    assert max(map(len, rows)) < 130
    assert len(rows) == 13


@pytest.mark.parametrize("fancy", [True, False])
@pytest.mark.parametrize("width", [1, 5, 20, 24, 37, 38, 39, 40, 45, 59, 60, 61, 80, 110, 111, 200])
def test_a_frame_fits_its_terminal(width: int, fancy: bool) -> None:
    """Never a wrapped row, never more rows than the terminal has, without letters it cannot show."""
    cases = ((tally(*busy_job()), ""), (tally(), "Resolving " + "x" * 300))
    for (counted, doing), height in itertools.product(cases, (1, 2, 3, 5, 24, 200)):
        rows = picture(counted, width, height, doing=doing, fancy=fancy)
        assert all(len(row) <= max(1, width - 1) for row in rows)
        assert len(rows) <= max(1, height - 1)
        assert fancy or all(row.isascii() for row in rows)


def test_finished_layers_are_not_shown() -> None:
    """When all bytes are here the job says what it still does."""
    first, second = layer(1, 2_000_000), layer(2, 3_000_000)
    happened: list[Event] = [
        resolved("a", first, second),
        LayerStarted(first.digest, first.size, 0),
        LayerStarted(second.digest, second.size, 0),
        LayerDownloaded(first.digest, first.size, first.size),
        LayerReady(first.digest, first.size, 1),
        LayerDownloaded(second.digest, second.size, second.size),
        LayerUnpacked(second.digest, 1_000_000, second.size),
    ]
    assert picture(tally(*happened), 60, 24) == [
        "━━━━━━━━━━━━─────────     5MB/5MB     unpacking  1/2 layers",
        " 000000000002 ━━━─────── unpacking",
    ]
    assert picture(tally(*happened, LayerReady(second.digest, second.size, 1)), 60, 24) == [
        "━━━━━━━━━━━━━━━━━━━━━     5MB/5MB     finishing  2/2 layers",
    ]


def test_while_nothing_is_known_the_frame_says_what_is_done() -> None:
    """Or nothing at all, if nobody told."""
    assert picture(tally(), 80, 24, doing="Resolving alpine") == ["⠋ Resolving alpine"]
    assert picture(tally(), 80, 24, doing="Resolving alpine", fancy=False) == ["| Resolving alpine"]
    assert picture(tally(), 80, 24) == []
    exists: list[Event] = [resolved("a", HUNDRED[0]), LayerExists(HUNDRED[0].digest, HUNDRED[0].size)]
    assert picture(tally(*exists), 80, 24, doing="Resolving alpine") == ["⠋ Finishing"]


@pytest.mark.parametrize(
    ("environ", "on_terminal", "on_pipe"),
    [
        ({}, True, False),
        ({"NO_COLOR": "1"}, False, False),
        ({"NO_COLOR": ""}, True, False),
        ({"CLICOLOR_FORCE": "1"}, True, True),
        ({"CLICOLOR_FORCE": "0"}, True, False),
        ({"CLICOLOR_FORCE": "1", "NO_COLOR": "1"}, False, False),
    ],
)
def test_colour_is_for_those_who_want_it(environ: dict[str, str], on_terminal: bool, on_pipe: bool) -> None:
    """https://no-color.org, https://bixense.com/clicolors."""

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    assert wants_colour(Terminal(), environ) is on_terminal
    assert wants_colour(io.StringIO(), environ) is on_pipe


# --- the area it is drawn on ---------------------------------------------------------------


class Screen:
    """What a terminal without end shows after it got some text; it knows the codes that we send."""

    def __init__(self, text: str) -> None:
        self.rows, self.row, self.column = [""], 0, 0
        self.cursor = True
        for code, count, final, plain in re.findall(r"(\x1b\[\??(\d*)([A-Za-z]))|([^\x1b])", text):
            if plain:
                self._put(plain)
            elif final == "A":
                self.row = max(0, self.row - int(count or 1))
            elif final == "J":
                self.rows = [*self.rows[: self.row], self.rows[self.row][: self.column]]
            elif final in "hl":
                assert count == "25"
                self.cursor = final == "h"
            else:
                assert final == "m", code

    def _put(self, character: str) -> None:
        if character == "\r":
            self.column = 0
        elif character == "\n":
            self.row, self.column = self.row + 1, 0
            self.rows += [""] * (self.row + 1 - len(self.rows))
        else:
            row = self.rows[self.row].ljust(self.column)
            self.rows[self.row] = row[: self.column] + character + row[self.column + 1 :]
            self.column += 1


@pytest.mark.parametrize("colour", [True, False])
def test_an_area_is_drawn_over_itself_below_permanent_lines(colour: bool) -> None:
    """After any number of frames the terminal has the permanent lines, the last frame, and nothing else."""
    written: list[str] = []
    area = Area(written.append, colour=colour, size=(80, 24))
    counted, happened = Tally(0), busy_job()
    for number, event in enumerate(happened):
        counted.add(event, 0)
        rows = frame(counted, area.size, 2)
        area.show([f"line {number}"] if number % 10 == 0 else [], rows)
    screen = Screen("".join(written))
    lines = [f"line {number}" for number in range(0, len(happened), 10)]
    assert [row.rstrip() for row in screen.rows] == lines + picture(counted, 80, 24)
    assert not screen.cursor
    assert ("\x1b[32m" in "".join(written)) == colour

    silent = len(written)
    area.show([], frame(counted, area.size, 2))
    assert len(written) == silent

    area.erase()
    screen = Screen("".join(written))
    assert screen.rows == [*lines, ""]
    assert screen.cursor


# --- a real terminal -----------------------------------------------------------------------


def on_terminal(body: str, *, interrupt: bool = False, width: int = 80, **environ: str) -> str:
    """Everything a script writes that has `progress` to report to and runs on a terminal of its own."""
    script = f"""if True:
        import signal, sys, time
        signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever runs the tests may ignore it
        sys.path.insert(0, {str(ROOT)!r})
        from aiodocker_lite.cli.progress import watching
        from aiodocker_lite.events import *
        from tests.fakes.jobs import layer, resolved
        big = layer(1, 100_000_000)
        image = resolved("alpine:latest", big)
        ready = ImageReady("alpine:latest", image.digest, True)
        def wait_for_the_bar():
            while progress._area is None:
                time.sleep(0.01)
        """ + body.replace("\n", "\n        ")
    clean = {key: value for key, value in os.environ.items() if key not in ("NO_COLOR", "COLUMNS", "LINES")}
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, width))
    child = subprocess.Popen(
        [sys.executable, "-c", script],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env={**clean, "TERM": "xterm", "PYTHONUTF8": "1", **environ},
    )
    os.close(theirs)
    text = b""
    try:
        while chunk := _read(ours):
            text += chunk
            if interrupt and b"100MB" in text:
                child.send_signal(signal.SIGINT)
                interrupt = False
    finally:
        os.close(ours)
        child.wait(10)
    return text.decode()


def _read(fd: int) -> bytes:
    try:
        return os.read(fd, 65536)
    except OSError as error:
        if error.errno == errno.EIO:  # the other side has been closed
            return b""
        raise


def test_a_quick_pull_only_leaves_its_line() -> None:
    """No bar that flickers by, no cursor that is hidden, and rich is not even loaded."""
    text = on_terminal(
        """
with watching("auto", doing="Resolving alpine") as progress:
    progress(image)
    progress(LayerExists(big.digest, big.size))
    progress(Notice("[red]hello[/red] :smile: \\x1b[2J"))
    progress(ready)
print("rich" in sys.modules)"""
    )
    assert re.sub(r"\d\.\d+s|0s", "TIME", text) == (
        "[red]hello[/red] :smile: \\x1b[2J\r\n"
        "\x1b[32m✔\x1b[0m alpine:latest  100MB  TIME  (100MB of it was here)\r\n"
        "False\r\n"
    )


def test_a_slow_pull_shows_a_bar_and_takes_it_away_again() -> None:
    """What stays are the permanent lines; as soon as the image is ready the terminal is free."""
    text = on_terminal(
        """
with watching() as progress:
    progress(image)
    progress(LayerStarted(big.digest, big.size, 0))
    progress(LayerDownloaded(big.digest, 42_000_000, big.size))
    wait_for_the_bar()
    progress(Retrying("layer 000000000001", "[b]timeout[/b]", 2.0))
    progress(LayerReady(big.digest, big.size, 1))
    progress(ready)
    print("the terminal is free")
    time.sleep(0.3)"""
    )
    assert "000000000001" in text
    assert "42MB/100MB" in text
    assert "\x1b[32m" in text
    screen = Screen(text)
    assert screen.cursor
    assert [re.sub(r"\d\.\d+s", "TIME", row) for row in screen.rows] == [
        "↻ layer 000000000001: [b]timeout[/b]; trying again in 2s",
        "✔ alpine:latest  100MB  TIME",
        "the terminal is free",
        "",
    ]


@pytest.mark.parametrize("how", ["error", "interrupt"])
def test_the_terminal_is_restored_whatever_happens(how: str) -> None:
    """The bar is gone and the cursor is back before anybody prints the error."""
    text = on_terminal(
        f"""
print("before")
try:
    with watching("auto", doing="Resolving alpine") as progress:
        progress(image)
        progress(LayerStarted(big.digest, big.size, 0))
        wait_for_the_bar()
        {"raise ValueError" if how == "error" else "time.sleep(30)"}
except BaseException as error:
    print(type(error).__name__)""",
        interrupt=how == "interrupt",
    )
    assert "\x1b[?25l" in text
    screen = Screen(text)
    assert screen.rows == ["before", "ValueError" if how == "error" else "KeyboardInterrupt", ""]
    assert screen.cursor


def test_others_may_print_while_the_view_is_aside() -> None:
    """One image is ready and its digest is printed, the other one goes on."""
    text = on_terminal(
        """
with watching() as progress:
    progress(image)
    wait_for_the_bar()
    with progress.aside():
        print("a result")
        progress(LayerStarted(big.digest, big.size, 0))
        time.sleep(0.3)
        print("and more of it")
    wait_for_the_bar()
    progress.failed("alpine:latest", None)
    print("the terminal is free")"""
    )
    assert text.count("\x1b[?25l") == 2
    screen = Screen(text)
    assert screen.rows == ["a result", "and more of it", "the terminal is free", ""]
    assert screen.cursor


def test_ten_frames_a_second_are_enough() -> None:
    """However many events there are."""
    text = on_terminal(
        """
with watching() as progress:
    progress(image)
    progress(LayerStarted(big.digest, big.size, 0))
    end, received = time.monotonic() + 1, 0
    while time.monotonic() < end:
        received += 10_000
        progress(LayerDownloaded(big.digest, received, big.size))
        time.sleep(0.001)""",
        NO_COLOR="1",
    )
    assert 1 <= text.count("\x1b[J") <= 11
    assert "\x1b[3" not in text


def test_a_dumb_terminal_gets_plain_lines() -> None:
    """It cannot move its cursor."""
    text = on_terminal("with watching() as progress:\n    progress(image)\n    progress(ready)", TERM="dumb")
    assert "\x1b" not in text
    assert text.startswith("alpine:latest: sha256:")
