"""What viewers want of a trace."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Any


def assert_they_nest(events: Sequence[dict[str, Any]]) -> None:
    """On one line, each lies within another or behind it."""
    for one, two in combinations(events, 2):
        if one["tid"] == two["tid"]:
            (a, b), (c, d) = sorted((e["ts"], e["ts"] + e["dur"]) for e in (one, two))
            assert b <= c or d <= b or a == c, (one, two)
