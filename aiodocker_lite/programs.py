"""Programs of the system that others have installed: never found by PATH, nor in the directory where we are (X28)."""

from __future__ import annotations

import os

PLACES = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")


def find_program(name: str) -> str | None:
    """Where a program of the system is, or None."""
    return next((f"{place}/{name}" for place in PLACES if os.access(f"{place}/{name}", os.X_OK)), None)
