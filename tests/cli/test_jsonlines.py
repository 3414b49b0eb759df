"""Progress for programs: stable names, one object a line."""

from __future__ import annotations

import json
import re
from typing import Any, get_args

import pytest

from aiodocker_lite.cli.jsonlines import Json
from aiodocker_lite.errors import ImageNotFound
from aiodocker_lite.events import (
    Event,
    ImageFailed,
    ImagePlanned,
    ImageReady,
    JobProgress,
    LayerDownloaded,
    LayerExists,
    LayerReady,
    LayerStarted,
    LayerUnpacked,
    Notice,
    PlanReady,
    Quota,
    Retrying,
    Waiting,
)
from aiodocker_lite.platforms import Platform
from tests.fakes.jobs import layer, resolved

LAYER = layer(7, 300)
IMAGE = resolved("alpine:latest", LAYER)
NAMED = {"id": "000000000007", "digest": str(LAYER.digest)}
CASES: list[tuple[Event, str, dict[str, Any]]] = [
    (
        IMAGE,
        "image.resolved",
        {
            "status": "Pulling alpine:latest",
            "image": "alpine:latest",
            "digest": str(IMAGE.digest),
            "platform": "linux/amd64",
            "layers": [{"digest": str(LAYER.digest), "size": 300}],
        },
    ),
    (
        LayerStarted(LAYER.digest, 300, 100),
        "layer.started",
        {**NAMED, "status": "Pulling fs layer", "progressDetail": {"current": 100, "total": 300}},
    ),
    (LayerExists(LAYER.digest, 300), "layer.exists", {**NAMED, "status": "Already exists", "size": 300}),
    (
        LayerDownloaded(LAYER.digest, 200, 300),
        "layer.downloaded",
        {**NAMED, "status": "Downloading", "progressDetail": {"current": 200, "total": 300}},
    ),
    (
        LayerDownloaded(LAYER.digest, 300, 300),
        "layer.downloaded",
        {**NAMED, "status": "Download complete", "progressDetail": {"current": 300, "total": 300}},
    ),
    (
        LayerUnpacked(LAYER.digest, 250, 300),
        "layer.unpacked",
        {**NAMED, "status": "Extracting", "progressDetail": {"current": 250, "total": 300}},
    ),
    (
        LayerReady(LAYER.digest, 300, 12),
        "layer.ready",
        {**NAMED, "status": "Pull complete", "size": 300, "entries": 12},
    ),
    (Waiting(LAYER.digest), "layer.waiting", {**NAMED, "status": "Waiting"}),
    (
        Retrying("layer 7", "timeout\x1b[2J", 0.5),
        "request.retrying",
        {
            "status": r"layer 7: timeout\x1b[2J; trying again in 0.5s",
            "what": "layer 7",
            "reason": r"timeout\x1b[2J",
            "pause": 0.5,
            "asked": 0.0,
        },
    ),
    (
        ImageReady("alpine:latest", IMAGE.digest, True),
        "image.ready",
        {
            "status": "Status: Downloaded newer image for alpine:latest",
            "image": "alpine:latest",
            "digest": str(IMAGE.digest),
            "fetched": True,
        },
    ),
    (
        ImageReady("alpine:latest", IMAGE.digest, False),
        "image.ready",
        {
            "status": "Status: Image is up to date for alpine:latest",
            "image": "alpine:latest",
            "digest": str(IMAGE.digest),
            "fetched": False,
        },
    ),
    (
        Quota("docker.io\n", 17, 100, 21600),
        "registry.quota",
        {
            "status": r"docker.io\n: 17 of 100 pulls left, counted over 6h",
            "registry": r"docker.io\n",
            "left": 17,
            "limit": 100,
            "window": 21600,
        },
    ),
    (
        ImagePlanned("alpine:latest", IMAGE.digest, Platform("linux", "arm64"), (LAYER,), False),
        "image.planned",
        {
            "status": "Planned alpine:latest",
            "image": "alpine:latest",
            "digest": str(IMAGE.digest),
            "platform": "linux/arm64",
            "layers": [{"digest": str(LAYER.digest), "size": 300}],
            "here": False,
        },
    ),
    (
        PlanReady(images=3, failed=1, layers=7, shared=2, total=9000, unique=5000, have=1000, disk=8000),
        "plan.ready",
        {
            "status": "3 images, 7 layers, 2 shared, 5kB unique of 9kB, 1kB already here, needs 8kB of disk, 1 failed",
            "images": 3,
            "failed": 1,
            "layers": 7,
            "shared": 2,
            "total": 9000,
            "unique": 5000,
            "have": 1000,
            "disk": 8000,
        },
    ),
    (
        ImageFailed("nope:1", "image-not-found", "manifest for nope:1 not found:\x07"),
        "image.failed",
        {"status": r"manifest for nope:1 not found:\x07", "image": "nope:1", "error": "image-not-found"},
    ),
    (
        JobProgress(300, 12, 1),
        "job.progress",
        {"status": "12 of 300 images ready", "images": 300, "ready": 12, "failed": 1},
    ),
    (Notice("a\nb"), "notice", {"status": r"a\nb", "text": r"a\nb"}),
]


def written(*happenings: Event) -> list[str]:
    lines: list[str] = []
    view = Json(lines.append, lambda: 1_700_000_000.1234)
    for event in happenings:
        view(event)
    return lines


@pytest.mark.parametrize(("event", "name", "facts"), CASES, ids=lambda case: str(case)[:30])
def test_every_event_has_a_name_and_dockers_keys(event: Event, name: str, facts: dict[str, Any]) -> None:
    """One object on one line, in plain ASCII, with the time it happened."""
    [line] = written(event)
    assert line.isascii()
    assert line.isprintable()
    assert json.loads(line) == {"ts": "2023-11-14T22:13:20.123Z", "event": name, **facts}


def test_an_image_that_failed_is_an_event_too() -> None:
    """With the slug of its error, which is stable, and its sentence, which is not."""
    lines: list[str] = []
    Json(lines.append).failed("nope:latest", ImageNotFound("nope:latest"))
    record = json.loads(lines[0])
    assert (record["event"], record["image"], record["error"]) == (
        "image.failed",
        "nope:latest",
        "image-not-found",
    )
    assert record["status"] == "manifest for nope:latest not found: manifest unknown"


def test_the_documentation_names_every_event_and_key() -> None:
    """The table in the docstring is the contract."""
    table = dict(re.findall(r"^    ([a-z]+\.?[a-z]+) {2,}(.*)$", Json.__doc__ or "", re.MULTILINE))
    del table["event"]
    assert {type(event) for event, _, _ in CASES} == set(get_args(Event))
    assert set(table) == {name for _, name, _ in CASES}
    for _, name, facts in CASES:
        missing = [key for key in facts if key != "status" and not re.search(rf"\b{key}\b", table[name])]
        assert missing == [], name
