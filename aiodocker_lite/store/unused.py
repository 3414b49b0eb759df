"""For how long nobody has used what no image needs: it may be of a pull that was interrupted, and goes on.

The time of a blob's file says it, and of a layer's or a joint's record. What a removed image needed is let go: nobody waits for it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from aiodocker_lite.store.durable import store_errors

DAY = 24 * 3600.0
"""Seconds."""
LET_GO = float("inf")
"""Unused for so long is only what was let go, and what a removal left that was interrupted."""


def let_go(paths: Iterable[Path]) -> None:
    """Have these files be of no use to anybody whom a collection does not know of. Raises StoreUnwritable."""
    for path in paths:
        with store_errors(path), suppress(FileNotFoundError):
            os.utime(path, (0, 0))


def is_unused(path: Path, seconds: float) -> bool:
    """Nobody has used it for so long, if no image needs it. Raises StoreUnwritable."""
    with store_errors(path):
        try:
            changed = path.stat().st_mtime
        except FileNotFoundError:
            return True  # without its record a layer is none
        return changed == 0 or max(0, time.time() - changed) >= seconds  # a clock may have been wrong
