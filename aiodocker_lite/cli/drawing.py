"""One frame of the terminal view, and the rows of the terminal it is drawn on; the only importer of rich."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from rich.console import Console, ConsoleDimensions
from rich.text import Text

from aiodocker_lite.cli.tally import Layer, Phase, Tally
from aiodocker_lite.sizes import human_size, human_time

_BAR_MIN, _BAR_MAX = 12, 60
_ETA_MAX = 100 * 3600
_FANCY, _ASCII = ("━", "─", "·"), ("=", "-", ".")
_HIDE_CURSOR, _SHOW_CURSOR = "\x1b[?25l", "\x1b[?25h"
_SPINNER = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏", "|/-\\"


def frame(
    tally: Tally, size: ConsoleDimensions, now: float, *, doing: str = "", fancy: bool = True
) -> list[Text]:
    """The rows to show at this moment: the job as a whole, then its active layers, as many as there is room for."""
    width = max(1, size.width - 1)  # a character in the last column makes some terminals begin a new row
    if not tally.busy or not tally.total:
        doing = "Finishing" if tally.busy else doing
        rows = [_spinner(doing, now, fancy)] if doing else []
    else:
        rows = [_job(tally, now, width, fancy)]
        active, waiting = tally.active(), tally.waiting()
        room = max(0, size.height - 3 - bool(waiting))
        shown = active[:room]
        rows += [_layer(layer, width, fancy) for layer in shown]
        rows += [_waiting(waiting, width)] if waiting else []
        if more := tally.pending() - len(shown) - waiting:
            rows.append(Text(f" +{more} more", style="dim"))
    rows = rows[: max(1, size.height - 1)]
    for row in rows:
        row.truncate(width, overflow="ellipsis" if fancy else "crop")
    return rows


def _spinner(doing: str, now: float, fancy: bool) -> Text:
    turns = _SPINNER[0 if fancy else 1]
    return Text.assemble((turns[int(now * 10) % len(turns)], "cyan"), " ", doing)


def _job(tally: Tally, now: float, width: int, fancy: bool) -> Text:
    total, received = tally.total, tally.received
    fields = {"amount": _amount(received, total)}
    if received < total:
        rate, eta = tally.rate(now), tally.eta(now)
        fields["rate"] = f"{f'{human_size(rate, 3)}/s' if rate is not None else '':>8}"
        fields["eta"] = f"{f'eta {human_time(math.ceil(eta))}' if eta and eta < _ETA_MAX else '':9}"
    else:
        fields["eta"] = f"{Phase.UNPACKING if tally.pending() else 'finishing':9}"
    if tally.images > 1:
        failed = f", {tally.images_failed} failed" if tally.images_failed else ""
        fields["images"] = f"{tally.images_ready}/{tally.images} images{failed}"
    wanted = len(tally.wanted)
    fields["layers"] = f"{wanted - tally.pending()}/{wanted} layers"
    for dispensable in ("layers", "images", "rate", "eta"):
        if width - _width_of(fields) >= _BAR_MIN:
            break
        fields.pop(dispensable, None)
    bar = _gauge(tally.unpacked, received, total, min(_BAR_MAX, width - _width_of(fields)), fancy)
    return Text("  ").join([bar, *map(Text, fields.values())])


def _width_of(fields: dict[str, str]) -> int:
    return sum(2 + len(text) for text in fields.values())


def _layer(layer: Layer, width: int, fancy: bool) -> Text:
    """A row as wide as there is room: name and phase always, gauge and bytes if they fit."""
    row = Text.assemble(" ", (layer.digest.short, "bold"), " ")
    if width >= 38:
        gauge = 24 if width >= 110 else 12 if width >= 60 else 10
        row.append_text(_gauge(layer.unpacked, layer.received, layer.size, gauge, fancy)).append(" ")
    if width >= 60:
        done = layer.received if layer.phase is Phase.DOWNLOADING else layer.unpacked
        row.append(f" {_amount(done, layer.size)}  ")
    return row.append(str(layer.phase))


def _waiting(count: int, width: int) -> Text:
    layers = f"{count} layer{'' if count == 1 else 's'}"
    return Text(f" {layers:12} {Phase.WAITING if width >= 45 else 'waiting'}", style="dim")


def _amount(done: int, total: int) -> str:
    return f"{human_size(done, 3):>6}/{human_size(total, 3):6}"


def _gauge(unpacked: int, received: int, total: int, width: int, fancy: bool) -> Text:
    """What went all the way, what is here, what is missing; to be told apart without colour, too."""
    full, half, empty = _FANCY if fancy else _ASCII
    width = max(width, 0)
    first = width * unpacked // total if total else width
    second = max(first, width * received // total if total else width)
    return Text.assemble(
        (full * first, "green"), (half * (second - first), "cyan"), (empty * (width - second), "dim")
    )


class Area:
    """The last rows of a terminal, drawn again and again; permanent lines go above them."""

    def __init__(
        self, write: Callable[[str], None], *, colour: bool, size: tuple[int, int] | None = None
    ) -> None:
        width, height = size or (None, None)
        self._write = write
        self._console = Console(
            width=width,
            height=height,
            force_terminal=True,
            color_system="standard" if colour else None,
            no_color=not colour,
        )
        self._drawn: list[Text] = []
        self._write(_HIDE_CURSOR)

    @property
    def size(self) -> ConsoleDimensions:
        """Columns and rows of the terminal, now."""
        return self._console.size

    def show(self, lines: Sequence[str], rows: Sequence[Text]) -> None:
        """Put permanent lines where the rows were, and the new rows below them; in one write."""
        if lines or rows != self._drawn:
            above = "".join(f"{line}\n" for line in lines)
            self._write(self._back() + above + "\n".join(map(self._ansi, rows)))
            self._drawn = list(rows)

    def erase(self) -> None:
        """Take the rows away and show the cursor, where the first of them began."""
        self._write(self._back() + _SHOW_CURSOR)
        self._drawn = []

    def _back(self) -> str:
        """To the beginning of what is drawn, and away with it."""
        width = self.size.width
        # A terminal that became narrower has wrapped the rows it shows.
        up = sum(max(1, math.ceil(row.cell_len / width)) for row in self._drawn) - 1
        return "\r" + (f"\x1b[{up}A" if up > 0 else "") + "\x1b[J"

    def _ansi(self, row: Text) -> str:
        with self._console.capture() as capture:
            self._console.print(row, end="", soft_wrap=True)
        return capture.get()
