"""Progress on standard error: which way to show it, and the plain way.

`live` is the way for terminals and `jsonlines` the one for programs; what events add up to is in `tally`.
"""

from __future__ import annotations

import math
import os
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Literal, Protocol, TextIO, get_args

from aiodocker_lite.cli.tally import Arrived, Tally
from aiodocker_lite.errors import EngineError, InvalidOption, printable
from aiodocker_lite.events import Event, ImageFailed, Notice, PlanReady, Quota, Resolved, Retrying, Waiting
from aiodocker_lite.sizes import counted, human_size, human_time, size_above

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

Kind = Literal["auto", "tty", "plain", "json", "quiet"]
VARIABLE = "AIODOCKER_LITE_PROGRESS"


class Watch(Protocol):
    """Shows what happens: the engine calls it with events, the command line with what else it knows."""

    def __call__(self, event: Event) -> None:
        """Take one event of the engine."""

    def failed(self, name: str, error: EngineError) -> None:
        """This image will not be ready; the error itself is for somebody else to print."""

    def aside(self) -> AbstractContextManager[None]:
        """While the block runs, other things may be printed on the terminal."""


_LONG = 5.0
"""Seconds that nobody waits without knowing why."""


def watching(
    kind: str = "auto", stderr: TextIO | None = None, *, doing: str = "", did: str = "downloaded"
) -> AbstractContextManager[Watch]:
    """A `Progress` for the engine that shows its events, and leaves the terminal as it was.

    `kind` is one of `Kind`; ``auto`` leaves it to ``AIODOCKER_LITE_PROGRESS``, and then to what
    standard error is. `doing` says what the terminal shows while no image is on its way, such
    as ``Resolving alpine``; with it the terminal is ours until the block is left. Without it
    the terminal is free as soon as every image is ready. `did` is what a summary says of bytes.
    Raises InvalidOption.
    """
    stderr = stderr or sys.stderr
    match choose(kind, stderr, os.environ):
        case "quiet":
            return nullcontext(Quiet(Lines(stderr)))
        case "json":
            from aiodocker_lite.cli.jsonlines import Json

            return nullcontext(Json(Lines(stderr)))
        case "plain":
            return Plain(Lines(stderr), did=did)
        case "tty":
            from aiodocker_lite.cli.live import Live

            return Live(stderr, os.environ, doing=doing)


def choose(kind: str, stderr: TextIO, environ: Mapping[str, str]) -> Literal["tty", "plain", "json", "quiet"]:
    """Settle what `auto` is: the terminal view for a terminal that can move its cursor, else plain lines."""
    option, chosen = "--progress", kind
    if chosen == "auto" and environ.get(VARIABLE):
        option, chosen = VARIABLE, environ[VARIABLE]
    can_move = environ.get("TERM") not in ("dumb", "unknown")
    match chosen:
        case "quiet" | "json" | "plain":
            return chosen
        case "tty":
            return "tty" if can_move else "plain"
        case "auto":
            return "tty" if can_move and stderr.isatty() else "plain"
        case _:
            raise InvalidOption(option, f"'{chosen}' is not one of {', '.join(get_args(Kind))}")


def failure(event: ImageFailed) -> str:
    """The sentence about an image that will not be ready."""
    return printable(f"{event.name}: failed: {event.reason}")


def retrying(event: Retrying) -> str:
    """The sentence about a failed request."""
    again = f"trying again in {human_time(event.pause)}" if event.pause else "trying again"
    wish = f", for it asks to wait {human_time(event.asked)}" if event.asked else ""
    return printable(f"{event.what}: {event.reason}; {again}{wish}")


def planned(event: PlanReady) -> str:
    """The sentence about what many images add up to."""
    parts = [
        counted(event.images, "image"),
        counted(event.layers, "layer"),
        f"{event.shared} shared",
        f"{human_size(event.unique, 3)} unique of {human_size(event.total, 3)}",
        f"{human_size(event.have, 3)} already here",
        f"needs {size_above(event.disk)} of disk",
    ]
    return ", ".join([*parts, *([f"{event.failed} failed"] if event.failed else [])])


def pulls_left(event: Quota) -> str:
    """The sentence about what a registry still allows."""
    window = human_time(event.window).removesuffix("00m")
    return printable(f"{event.registry}: {event.left} of {event.limit} pulls left, counted over {window}")


class Lines:
    """Writes lines at once; that nobody reads them any more is no reason to end a pull."""

    def __init__(self, stream: TextIO) -> None:
        self._stream: TextIO | None = stream

    def __call__(self, *lines: str) -> None:
        self.raw("".join(f"{line}\n" for line in lines))

    def raw(self, text: str) -> None:
        """Write this text as it is."""
        if self._stream is None or not text:
            return
        try:
            self._stream.write(text)
            self._stream.flush()
        except OSError:
            self._stream = None


class Heartbeat:
    """Calls `beat` now and then, on a thread: whether events come or not, and with a busy event loop too."""

    def __init__(
        self,
        beat: Callable[[], None],
        interval: float,
        *,
        first: float,
        prepare: Callable[[], None] = lambda: None,
    ) -> None:
        self._beat = beat
        self._prepare = prepare
        self._first, self._interval = first, interval
        self._beating = threading.Lock()
        self._stopped: threading.Event | None = None

    def start(self) -> None:
        """Begin, unless it has begun."""
        if self._stopped is None:
            self._stopped = threading.Event()
            threading.Thread(target=self._run, args=(self._stopped,), name="progress", daemon=True).start()

    def stop(self) -> None:
        """No beat is under way or begins after this."""
        if self._stopped is not None:
            self._stopped.set()
            # Not a join: while the thread only prepares, nobody has to wait for it.
            with self._beating:
                self._stopped = None

    def _run(self, stopped: threading.Event) -> None:
        if stopped.wait(self._first):
            return
        self._prepare()
        while True:
            with self._beating:
                if stopped.is_set():
                    return
                self._beat()
            if stopped.wait(self._interval):
                return


class Quiet:
    """Shows nothing but warnings: how much isolation there is less of must be seen, however quiet it shall be.

    And once that a registry has us wait, for that may be minutes.
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._told_to_wait = False

    def __call__(self, event: Event) -> None:
        if isinstance(event, Notice) and event.text.startswith("Warning:"):
            self._say(printable(event.text))
        if isinstance(event, Retrying) and event.asked > _LONG and not self._told_to_wait:
            self._told_to_wait = True
            self._say(retrying(event))
        if isinstance(event, ImageFailed):
            self._say(failure(event))

    def failed(self, name: str, error: EngineError) -> None:
        pass

    def aside(self) -> AbstractContextManager[None]:
        return nullcontext()


class Plain:
    """Lines for a log: the start and the end of each image, what went wrong, and now and then how far it is.

    How far it is: after each tenth of the bytes, or after 10 seconds, but once a second at most.
    """

    def __init__(
        self,
        say: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
        *,
        did: str = "downloaded",
    ) -> None:
        self._say = say
        self._clock = clock
        self._did = did
        self._began = self._spoke = clock()
        self._tally = Tally(self._began)
        self._tenths = 0
        self._told_to_wait = False
        self._has_plan = False
        self._quota: Quota | None = None
        self._lock = threading.Lock()
        self._heart = Heartbeat(self.beat, 1.0, first=1.0)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._heart.stop()
        if kind is None and self._tally.images_ready > 1:
            self._say(self._summary())

    def __call__(self, event: Event) -> None:
        with self._lock:
            arrived = self._tally.add(event, self._clock())
            self._announce(event, arrived)
            self._report()
        self._settle()

    def failed(self, name: str, error: EngineError) -> None:
        with self._lock:
            self._tally.drop(name)
        self._settle()

    def aside(self) -> AbstractContextManager[None]:
        return nullcontext()

    def _settle(self) -> None:
        if self._tally.busy:
            self._heart.start()
        else:
            self._heart.stop()

    def beat(self) -> None:
        """Say how far it is, if it is time."""
        with self._lock:
            self._report()

    def _announce(self, event: Event, arrived: Arrived | None) -> None:
        if arrived is not None:
            self._say(_ready(arrived))
            return
        match event:
            case PlanReady():
                self._has_plan = True
                self._say(planned(event))
                self._spoke = self._clock()
            case ImageFailed():
                self._say(failure(event))
            case Resolved() if not self._has_plan:
                layers = {layer.digest: layer.size for layer in event.layers}
                size = human_size(sum(layers.values()), 3)
                self._say(
                    printable(
                        f"{event.name}: {event.digest.algorithm}:{event.digest.short}, {event.platform}, "
                        f"{counted(len(layers), 'layer')}, {size}"
                    )
                )
                self._spoke = self._clock()
            case Retrying():
                self._say(retrying(event))
            case Waiting() if self._tally.waiting() and not self._told_to_wait:
                # The first of possibly many; the others are counted in the reports.
                self._told_to_wait = True
                self._say(f"layer {event.layer.short}: another pull is bringing it; waiting for that")
            case Quota() if event.is_scarce and event != self._quota:
                self._quota = event  # several images tell the same
                self._say(pulls_left(event))
            case Notice():
                self._say(printable(event.text))
            case _:
                pass

    def _report(self) -> None:
        tally, now = self._tally, self._clock()
        if not tally.busy or now - self._spoke < 1:
            return
        total, received = tally.total, tally.received
        tenths = 10 * received // total if total else 0
        self._tenths = min(self._tenths, tenths)  # a new image makes the same bytes a smaller part
        if tenths > self._tenths or now - self._spoke >= 10:
            self._spoke, self._tenths = now, tenths
            self._say(_how_far(tally, now))

    def _summary(self) -> str:
        seconds, got = self._clock() - self._began, self._tally.transferred
        rate = f" ({human_size(got / seconds, 3)}/s)" if got and seconds >= 1 else ""
        images = counted(self._tally.images_ready, "image")
        return f"{images} ready, {human_size(got, 3)} {self._did} in {human_time(seconds)}{rate}"


def _how_far(tally: Tally, now: float) -> str:
    names = tally.names
    title = names[0] if tally.images == 1 else f"{tally.images_ready} of {tally.images} images"
    title += f", {tally.images_failed} failed" if tally.images_failed else ""
    total, received = tally.total, tally.received
    if not total:
        return printable(f"{title}: finishing")
    parts = [f"{100 * received // total}%", f"{human_size(received, 3)} of {human_size(total, 3)}"]
    if received < total:
        rate, eta = tally.rate(now), tally.eta(now)
        parts += [f"{human_size(rate, 3)}/s"] if rate is not None else []
        parts += [f"{human_time(math.ceil(eta))} left"] if eta is not None else []
    else:
        parts.append(f"{human_size(tally.unpacked, 3)} unpacked")
    if waiting := tally.waiting():
        parts.append(f"{counted(waiting, 'layer')} left to another pull")
    return printable(f"{title}: {', '.join(parts)}")


def _ready(image: Arrived) -> str:
    if not image.fetched:
        return printable(f"{image.name}: up to date")
    kept = f" ({human_size(image.kept, 3)} of it was here)" if image.kept else ""
    return printable(f"{image.name}: ready, {human_size(image.size, 3)}{kept} in {human_time(image.seconds)}")
