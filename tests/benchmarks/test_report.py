"""Medians, ratios and tables, and the refusal to compare where something failed."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree

import pytest

from benchmarks import plot, report
from benchmarks.network import Link

OURS = report.OURS


def ran(
    peer: str, wall: float, error: str | None = None, limit: dict[str, float] | None = None
) -> dict[str, Any]:
    """A run as JSON has it."""
    figures = {"synced": wall, "cpu": 2 * wall, "memory": 5e7, "fetched": 3e6, "written": 4e6}
    return {"scenario": "tiny", "peer": peer, "wall": wall, "error": error, "limit": limit, **figures}


def result(*runs: dict[str, Any], **peers: str | None) -> dict[str, Any]:
    image = {"blobs": ["sha256:1"], "compression": "gzip", "compressed": 1e6, "unpacked": 2e6, "apart": 4}
    machine = {"cpu": "8086", "cores": 1, "memory_gb": 1, "kernel": "6.1", "file_system": "ext4"}
    return {
        "machine": {**machine, "commit": "abc", "memory_is": "anonymous"},
        "peers": {OURS: "0.1.0", "podman": "4.3.1", **peers},
        "images": {"tiny": image},
        "scenarios": {
            "tiny": {"what": "pull", "image": "tiny", "link": None, "peers": [OURS, "podman", "crane"]}
        },
        "runs": list(runs),
    }


def test_a_row_has_medians_and_a_ratio_of_them() -> None:
    """Not of the means, which one slow run moves."""
    ours = [ran(OURS, wall) for wall in (1.0, 2.0, 90.0)]
    theirs = [ran("podman", wall) for wall in (4.0, 5.0, 3.0)]
    found = report.rows(result(*theirs, *ours), "tiny")
    assert [(row.peer, row.medians["wall"], row.least, row.greatest) for row in found] == [
        (OURS, 2.0, 1.0, 90.0),
        ("podman", 4.0, 3.0, 5.0),
    ]
    assert report.ratio(found[0], found[1], "wall") == 0.5
    assert report.ratio(found[0], found[1], "cpu") == 0.5


@pytest.mark.parametrize("failed", [OURS, "podman"])
def test_a_failed_run_leaves_nothing_to_compare(failed: str) -> None:
    """One is enough, on either side; the row says how many and why."""
    runs = [ran(peer, 1.0) for peer in (OURS, "podman")]
    runs += [ran(peer, 1.0, "disk | full" if peer == failed else None) for peer in (OURS, "podman")]
    ours, theirs = report.rows(result(*runs), "tiny")
    assert report.ratio(ours, theirs, "wall") is None
    table = report.scenario_table(result(*runs), "tiny")
    assert "failed: 1 of 2 runs failed: disk / full" in table
    assert len({line.count("|") for line in table.splitlines()}) == 1


def test_the_table_says_who_is_absent_and_what_the_machine_is() -> None:
    """All from the JSON."""
    table = report.table(result(ran(OURS, 0.25), ran("podman", 1.0), docker=None))
    assert "Absent, so not measured: docker." in table
    assert "8086, 1 cores" in table
    assert "| podman 4.3.1 | 1 | 1.00 s | 1.00 s | 2.00 s | 50 MB | 3 MB | 4 MB | 0.25 | 0.25 |" in table
    assert "| 250 ms | 250 ms | 500 ms |" in table


def test_who_has_no_command_for_it_has_a_row_without_figures() -> None:
    """A tool that could have been run, but was not, is another thing."""
    table = report.table(
        result(ran(OURS, 1.0), ran("podman", 1.0), crane="0.19", **{"skopeo-inspect": "1.9"})
    )
    assert f"| skopeo-inspect 1.9 | 0 {'| - ' * 8}|" in table
    assert f"| crane 0.19 | 0 {'| not run ' * 8}|" in table
    assert "`-`: this tool has no command for it." in table


def test_a_traced_row_says_how_far_it_was_from_its_limit() -> None:
    """The median of each run's own ratio, and what the limit is."""
    limits = [{"link": 0.0, "cores": cores, "layer": 0.5} for cores in (1.0, 2.0, 0.1)]
    traced = [ran("podman", 2.0, limit=limit) for limit in limits]
    table = report.table(result(ran(OURS, 1.0), *traced))
    assert "| CPU, ours / theirs | wall / limit |" in table
    assert "| 0.50 | 0.50 | 2.00 (cores) |" in table
    assert "wall / limit: the limit of each run is" in table
    assert "at RATE,DELAY" not in table
    assert "wall / limit" not in report.table(result(ran(OURS, 1.0)))


def test_the_plot_is_a_picture_with_a_bar_for_everyone_who_succeeded() -> None:
    """And words for who did not; names are no markup."""
    drawn = plot.svg(result(ran(OURS, 1.0), ran("podman", 2.0), ran("<x>", 1.0, "a & b"), **{"<x>": "1"}))
    root = ElementTree.fromstring(drawn)
    classes = [each.get("class") for each in root.iter("{http://www.w3.org/2000/svg}rect")]
    assert classes == [None, "ours", "theirs"]
    assert "failed: a & b" in [each.text for each in root.iter("{http://www.w3.org/2000/svg}text")]


@pytest.mark.parametrize(
    ("text", "link"),
    [
        ("1gbit,20ms", Link(1000, 20)),
        ("100mbit", Link(100, 1)),
        ("1.5mbit,5ms,1%", Link(1.5, 5, 0.01)),
    ],
)
def test_a_link_is_a_rate_a_delay_and_losses(text: str, link: Link) -> None:
    """In any order."""
    assert Link.parse(text) == link


@pytest.mark.parametrize(
    "text", ["", "20ms", "fast", "1gbit,x ms", "0mbit", "-1mbit", "nanmbit", "1gbit,100%"]
)
def test_what_is_no_link_is_refused(text: str) -> None:
    """A rate is the least."""
    with pytest.raises(ValueError, match=r"rate|number|packet"):
        Link.parse(text)
