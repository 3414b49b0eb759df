"""Tables as docker prints them, times as people say them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

_GAP = "   "
_NONE = "N/A"
_UNITS = (
    (60, "second", 1),
    (60 * 60, "minute", 60),
    (48 * 3600, "hour", 3600),
    (14 * 86400, "day", 86400),
    (60 * 86400, "week", 7 * 86400),
    (730 * 86400, "month", 30 * 86400),
)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Columns as wide as they need to be, three spaces apart; never wrapped, never cut."""
    lines = [tuple(head), *(tuple(row) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    return "\n".join(
        _GAP.join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def ago(moment: str) -> str:
    """When this ISO 8601 time was, such as ``3 weeks ago``; ``N/A`` where it is no time."""
    said = age(moment)
    return said if said == _NONE else f"{said} ago"


def age(moment: str, now: datetime | None = None) -> str:
    """How long ago this ISO 8601 time was, such as ``3 weeks``; ``N/A`` where it is no time."""
    try:
        then = datetime.fromisoformat(moment).astimezone(UTC)
    except (ValueError, OverflowError):
        return _NONE
    if then.year == 1:  # Go's way to say that there is none
        return _NONE
    seconds = ((now or datetime.now(UTC)) - then).total_seconds()
    if seconds < 1:
        return "Less than a second"
    for limit, unit, length in _UNITS:
        if seconds < limit:
            count = int(seconds // length)
            return f"{count} {unit}{'' if count == 1 else 's'}"
    return f"{int(seconds // (365 * 86400))} years"


def docker_time(moment: str) -> str:
    """An ISO 8601 time as docker's lists have it, such as ``2026-01-31 12:00:00 +0000 UTC``."""
    try:
        return datetime.fromisoformat(moment).astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S +0000 UTC")
    except (ValueError, OverflowError):
        return _NONE
