"""The terminal view: one permanent line for what is done, and below them what is going on.

A thread draws, ten times a second at most, and not before it is worth it. What is drawn is in
`drawing`, which brings rich with it and is imported by that thread.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

from aiodocker_lite.cli.progress import Heartbeat, Lines, failure, planned, pulls_left, retrying
from aiodocker_lite.cli.tally import Arrived, Tally
from aiodocker_lite.errors import EngineError, printable
from aiodocker_lite.events import Event, ImageFailed, Notice, PlanReady, Quota, Retrying
from aiodocker_lite.sizes import human_size, human_time

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from aiodocker_lite.cli.drawing import Area

PATIENCE = 0.15
"""Seconds before anything is drawn: what is faster only leaves its permanent line."""
INTERVAL = 0.1


class Live:
    """Events on a terminal: a context manager that leaves the cursor where it belongs, whatever happens."""

    def __init__(
        self,
        stderr: TextIO,
        environ: Mapping[str, str],
        *,
        doing: str = "",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._say = Lines(stderr)
        self._colour = wants_colour(stderr, environ)
        # The fonts of the kernel's own console have none of these.
        self._fancy = environ.get("TERM") != "linux" and _can_write("✔━↻⠿", stderr)
        self._doing = printable(doing)
        self._clock = clock
        self._tally = Tally(clock())
        self._lock = threading.Lock()  # guards the tally and the lines, and never a write
        self._lines: list[str] = []
        self._area: Area | None = None
        self._aside = False
        self._quota: Quota | None = None
        self._heart = Heartbeat(self._draw, INTERVAL, first=PATIENCE, prepare=_import_drawing)

    def __enter__(self) -> Self:
        self._settle()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._doing = ""
        self._rest()

    def __call__(self, event: Event) -> None:
        with self._lock:
            arrived = self._tally.add(event, self._clock())
            line = self._permanent(event, arrived)
            if line is not None:
                self._lines.append(line)
        self._settle()

    def failed(self, name: str, error: EngineError) -> None:
        with self._lock:
            self._tally.drop(name)
        self._settle()

    @contextmanager
    def aside(self) -> Iterator[None]:
        self._aside = True
        self._rest()
        try:
            yield
        finally:
            self._aside = False
            self._settle()

    def _settle(self) -> None:
        if (self._doing or self._tally.busy) and not self._aside:
            self._heart.start()
        else:
            self._rest()

    def _rest(self) -> None:
        """Leave nothing on the terminal but what is to stay."""
        self._heart.stop()
        area, self._area = self._area, None
        if area is not None:
            area.erase()
        with self._lock:
            lines, self._lines = self._lines, []
        self._say(*lines)

    def _draw(self) -> None:
        from aiodocker_lite.cli.drawing import Area, frame

        if self._area is None:
            self._area = Area(self._say.raw, colour=self._colour)
        with self._lock:
            lines, self._lines = self._lines, []
            rows = frame(self._tally, self._area.size, self._clock(), doing=self._doing, fancy=self._fancy)
        self._area.show(lines, rows)

    def _permanent(self, event: Event, arrived: Arrived | None) -> str | None:
        if arrived is not None:
            return self._marked("✔", "ok", 32, _ready(arrived))
        match event:
            case Retrying():
                return self._marked("↻", "!", 33, retrying(event))
            case ImageFailed():
                return self._marked("✘", "x", 31, failure(event))
            case PlanReady():
                return planned(event)
            case Quota() if event.is_scarce and event != self._quota:
                self._quota = event  # several images tell the same
                return pulls_left(event)
            case Notice():
                return printable(event.text)
            case _:
                return None

    def _marked(self, mark: str, ascii_mark: str, colour: int, text: str) -> str:
        mark = mark if self._fancy else ascii_mark
        return f"\x1b[{colour}m{mark}\x1b[0m {text}" if self._colour else f"{mark} {text}"


def _ready(image: Arrived) -> str:
    took = human_time(image.seconds)
    if not image.fetched:
        return printable(f"{image.name}  up to date  {took}")
    kept = f"  ({human_size(image.kept, 3)} of it was here)" if image.kept else ""
    return printable(f"{image.name}  {human_size(image.size, 3)}  {took}{kept}")


def wants_colour(stderr: TextIO, environ: Mapping[str, str]) -> bool:
    """NO_COLOR forbids it, CLICOLOR_FORCE demands it, and otherwise a terminal gets it."""
    if environ.get("NO_COLOR"):
        return False
    return environ.get("CLICOLOR_FORCE", "0") not in ("", "0") or stderr.isatty()


def _can_write(marks: str, stream: TextIO) -> bool:
    try:
        marks.encode(stream.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def _import_drawing() -> None:
    import aiodocker_lite.cli.drawing  # noqa: F401
