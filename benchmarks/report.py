"""Tables of medians and ratios, made from the JSON of runs alone."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

OURS = "aiodocker-lite"
FIGURES = "wall", "synced", "cpu", "memory", "fetched", "written"
_LINK = "at RATE,DELAY: so shaped is the way to the registry, with the delay there and back; else it is not shaped."
_LIMIT = (
    "wall / limit: the limit of each run is the largest of bytes / link (none where it is not shaped), CPU seconds / cores "
    "and the longest chain of work in one layer, all from its trace; in brackets, which of them it is."
)


@dataclass(frozen=True)
class Row:
    """Medians of a tool's runs, by figure, or why there are none; least and greatest of the wall time.

    `times` the limit were needed, which is the part of it called `bound`; both only of runs with a trace.
    """

    peer: str
    runs: int
    medians: Mapping[str, float]
    least: float = 0.0
    greatest: float = 0.0
    times: float | None = None
    bound: str = ""
    error: str | None = None


def read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def rows(result: Mapping[str, Any], scenario: str) -> list[Row]:
    """A row for each tool that was run, ours first, then as they were run."""
    by_peer: dict[str, list[Mapping[str, Any]]] = {OURS: []}
    for run in result["runs"]:
        if run["scenario"] == scenario:
            by_peer.setdefault(run["peer"], []).append(run)
    return [summary(peer, runs) for peer, runs in by_peer.items() if runs]


def summary(peer: str, runs: Sequence[Mapping[str, Any]]) -> Row:
    """One failed run makes all of them fail: what is left would be a choice."""
    errors = [str(run["error"]) for run in runs if run["error"] is not None]
    if errors:
        many = f"{len(errors)} of {len(runs)} runs failed: " if len(errors) < len(runs) else ""
        return Row(peer, len(runs), {}, error=many + errors[0])
    walls = [float(run["wall"]) for run in runs]
    medians = {figure: statistics.median(float(run[figure]) for run in runs) for figure in FIGURES}
    return Row(peer, len(runs), medians, min(walls), max(walls), *_limit(runs))


def _limit(runs: Sequence[Mapping[str, Any]]) -> tuple[float | None, str]:
    limits = [run["limit"] for run in runs]
    if not all(limits):
        return None, ""
    times = [run["wall"] / max(run["limit"].values()) for run in runs]
    parts = {part: statistics.median(limit[part] for limit in limits) for part in limits[0]}
    return statistics.median(times), max(parts, key=lambda part: parts[part])


def ratio(ours: Row | None, theirs: Row, figure: str) -> float | None:
    """Ours through theirs; None where there is nothing to compare."""
    if ours is None or ours.error or theirs.error or not theirs.medians[figure]:
        return None
    return ours.medians[figure] / theirs.medians[figure]


def scenarios(result: Mapping[str, Any]) -> list[str]:
    return list(dict.fromkeys(run["scenario"] for run in result["runs"]))


def table(result: Mapping[str, Any]) -> str:
    """Everything about one file of results, in Markdown."""
    parts = [
        heading(result),
        *(f"**{title(result, name)}**\n\n{scenario_table(result, name)}" for name in scenarios(result)),
    ]
    absent = [peer for peer, version in result["peers"].items() if version is None]
    if absent:
        parts.append(f"Absent, so not measured: {', '.join(absent)}.")
    parts.append("`-`: this tool has no command for it.")
    if any(kind["link"] for kind in result["scenarios"].values()):
        parts.append(_LINK)
    if any(run["limit"] for run in result["runs"]):
        parts.append(_LIMIT)
    return "\n\n".join(parts) + "\n"


def heading(result: Mapping[str, Any]) -> str:
    machine = result["machine"]
    return (
        f"{machine['cpu']}, {machine['cores']} cores, {machine['memory_gb']} GB, Linux {machine['kernel']}; "
        f"{machine['file_system']}; commit {machine['commit']}. "
        f"Memory is {machine['memory_is']}. Ratios are ours divided by theirs."
    )


def title(result: Mapping[str, Any], scenario: str) -> str:
    """What was done with which image."""
    kind = result["scenarios"][scenario]
    image = result["images"][kind["image"]]
    said = {
        "pull": "cold pull",
        "many": f"cold pulls of {len(image.get('names', ()))} images",
        "again": "pull of an up-to-date image",
        "run": "`run --rm IMAGE true` of an image that is there",
        "live": "`engine.run` in a live process",
    }[kind["what"]]
    size = ""
    if image["blobs"]:
        layers = "layer" if len(image["blobs"]) == 1 else "layers"
        size = (
            f" ({len(image['blobs'])} {image['compression']} {layers}, {image['compressed'] / 1e6:,.0f} MB, "
        )
        size += f"unpacked {image['unpacked'] / 1e6:,.0f} MB, {image['apart']:,} entries)"
    return f"{scenario}: {said}{size}"


def scenario_table(result: Mapping[str, Any], scenario: str) -> str:
    """Also of the tools that have no command for it; those that are absent have no row."""
    found = rows(result, scenario)
    ours = next((row for row in found if row.peer == OURS), None)
    heads = [
        "wall",
        "and synced",
        "CPU",
        "memory",
        "fetched",
        "written",
        "wall, ours / theirs",
        "CPU, ours / theirs",
    ]
    if any(row.times for row in found):
        heads.append("wall / limit")
    lines = [["", "runs", *heads], ["---"] * (len(heads) + 2)]
    for row in found:
        cells = [str(row.runs), *(_failure(row) if row.error else _figures(row, ours))]
        lines.append([f"{row.peer} {result['peers'][row.peer]}", *cells])
    for peer, version in result["peers"].items():
        if version is not None and peer not in [row.peer for row in found]:
            is_able = peer in result["scenarios"][scenario]["peers"]
            lines.append([f"{peer} {version}", "0", *["not run" if is_able else "-"] * len(heads)])
    width = len(heads) + 2
    return "\n".join(f"| {' | '.join([*line, *[''] * width][:width])} |" for line in lines)


def _failure(row: Row) -> list[str]:
    return [f"failed: {' '.join(str(row.error).split()).replace('|', '/')}"]


def _figures(row: Row, ours: Row | None) -> list[str]:
    cells = [_seconds(row.medians[figure]) for figure in ("wall", "synced", "cpu")]
    cells += [f"{row.medians[figure] / 1e6:,.0f} MB" for figure in ("memory", "fetched", "written")]
    cells += [_ratio(ratio(ours, row, figure)) for figure in ("wall", "cpu")]
    return [*cells, f"{row.times:.2f} ({row.bound})" if row.times else ""]


def _seconds(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds >= 1 else f"{seconds * 1000:.0f} ms"


def _ratio(found: float | None) -> str:
    return "" if found is None else f"{found:.2f}"
