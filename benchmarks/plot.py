"""Bars of wall times as SVG, made from the JSON of runs alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from xml.sax.saxutils import escape

from benchmarks.report import OURS, Row, heading, ratio, rows, scenarios, title

WIDTH, NAMES, BAR, GAP = 760, 200, 16, 6
_SPACE = 150
"""To the right of the longest bar, for its figures."""


def svg(result: Mapping[str, Any]) -> str:
    """A panel for each scenario: a bar for the median, a line from the least to the greatest."""
    parts, y = [], 34
    for scenario in scenarios(result):
        parts.append(f'<text x="8" y="{y}" class="title">{escape(title(result, scenario))}</text>')
        y += 10
        found = rows(result, scenario)
        longest = max((row.greatest for row in found), default=0) or 1
        ours = next((row for row in found if row.peer == OURS), None)
        for row in found:
            parts += _bar(row, ours, y, (WIDTH - NAMES - _SPACE) / longest)
            y += BAR + GAP
        y += 26
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y}" width="{WIDTH}" height="{y}">\n'
        "<style>text{font:12px sans-serif;fill:#333}.title{font-weight:bold}.bad{fill:#a33}"
        ".ours{fill:#2a7}.theirs{fill:#9ab}line{stroke:#333}</style>\n"
        f'<title>{escape(heading(result))}</title>\n<rect width="{WIDTH}" height="{y}" fill="#fff"/>\n'
        '<text x="8" y="14">wall time: median, from the least to the greatest (and ours divided by it)</text>\n'
        + "\n".join(parts)
        + "\n</svg>\n"
    )


def _bar(row: Row, ours: Row | None, y: int, scale: float) -> list[str]:
    middle, base = y + BAR / 2, y + BAR - 4
    parts = [f'<text x="{NAMES - 8}" y="{base}" text-anchor="end">{escape(row.peer)}</text>']
    if row.error:
        return [*parts, f'<text x="{NAMES}" y="{base}" class="bad">failed: {escape(row.error[:80])}</text>']
    wall = row.medians["wall"]
    kind = "ours" if row.peer.startswith(OURS) else "theirs"
    said = f"{wall:.2f} s" if wall >= 1 else f"{wall * 1000:.0f} ms"
    found = ratio(ours, row, "wall")
    if found is not None and row.peer != OURS:
        said += f" (ours / it: {found:.2f})"
    low, high = NAMES + row.least * scale, NAMES + row.greatest * scale
    return [
        *parts,
        f'<rect x="{NAMES}" y="{y}" width="{wall * scale:.1f}" height="{BAR}" class="{kind}"/>',
        f'<line x1="{low:.1f}" y1="{middle}" x2="{high:.1f}" y2="{middle}"/>',
        f'<text x="{high + 6:.1f}" y="{base}">{said}</text>',
    ]
