"""Layers that mean harm, each with what must come of it."""

from __future__ import annotations

from tests.cases import hostile_marks, hostile_paths, hostile_streams
from tests.cases.case import Case


def hostile_layers() -> list[Case]:
    """All of them; every name is there once."""
    return [
        *hostile_paths.through_links(),
        *hostile_paths.dots(),
        *hostile_paths.hard_links(),
        *hostile_paths.swaps(),
        *hostile_paths.links_to_nowhere(),
        *hostile_marks.whiteouts(),
        *hostile_marks.attributes(),
        *hostile_marks.metadata(),
        *hostile_streams.numbers(),
        *hostile_streams.extension_headers(),
        *hostile_streams.sparse_maps(),
        *hostile_streams.stream(),
        *hostile_streams.compressed(),
        *hostile_streams.bombs(),
    ]


def bombs() -> list[Case]:
    """Those that are about memory, disk space and time."""
    return list(hostile_streams.bombs())
