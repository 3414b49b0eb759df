"""Sizes and times as people read them, in Docker's spelling."""

from __future__ import annotations

_UNITS = ("B", "kB", "MB", "GB", "TB", "PB", "EB", "ZB", "YB")
_BINARY = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")


def human_size(count: float, digits: int = 4) -> str:
    """Bytes in decimal units with so many significant digits, such as ``12.35MB``.

    Docker shows 4 digits where it speaks of transfers, and 3 in the list of images.
    """
    unit = 0
    while unit < len(_UNITS) - 1 and float(f"{count:.{digits}g}") >= 1000:
        # Rounded first: 999.96 of one unit is 1 of the next, not 1000 or 1e+03 of this one.
        count /= 1000
        unit += 1
    return f"{float(f'{count:.{digits}g}'):g}{_UNITS[unit]}"


def binary_size(count: float) -> str:
    """Bytes in units of 1024s, such as ``12.35MiB``."""
    unit = 0
    while unit < len(_BINARY) - 1 and float(f"{count:.4g}") >= 1024:
        count /= 1024
        unit += 1
    return f"{count:.4g}{_BINARY[unit]}"


def size_above(count: int) -> str:
    """The same, but never less than it is: as a figure that is enough."""
    step = 10 ** max(0, len(str(count)) - 4)
    return human_size(-(-count // step) * step)


def counted(number: int, noun: str) -> str:
    """So many of something, such as ``1 layer`` or ``2 layers``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def human_time(seconds: float) -> str:
    """A duration of one or two units, such as ``0.4s``, ``12s``, ``1m13s`` or ``2h05m``."""
    if seconds < 9.95:
        return f"{round(seconds, 1):g}s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02}s"
    return f"{whole // 3600}h{whole % 3600 // 60:02}m"
