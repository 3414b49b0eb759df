"""Plans: what many images add up to, and JSON."""

from __future__ import annotations

import json

import pytest

from aiodocker_lite.errors import InvalidOption
from aiodocker_lite.plan import Document, Failure, Plan, PlannedImage, PlannedLayer, Pulls

BASE = PlannedLayer(digest="sha256:b", diff_id="sha256:B", size=1000, have=400)
HERE = PlannedLayer(digest="sha256:h", diff_id="sha256:H", size=50, have=50, unpacked=True)


def planned(name: str, *layers: PlannedLayer, manifest: str = "") -> PlannedImage:
    return PlannedImage(
        name=name,
        digest=f"sha256:{name}",
        platform="linux/amd64",
        manifest=Document(media_type="m", digest=manifest or f"sha256:m{name}", size=1),
        config=Document(media_type="c", digest="sha256:c", size=1),
        layers=layers,
    )


PLAN = Plan(
    images=(planned("one", BASE, HERE, BASE), planned("two", BASE)),
    failures=(Failure(name="x", platform="linux/arm64", sources=("list:1",), error="slug", reason="why"),),
    pulls=(Pulls(registry="docker.io", needed=2, left=88, limit=100, window=21600),),
)


def test_each_layer_counts_once() -> None:
    """Over all images, and within one; what is here is neither fetched nor needs room."""
    totals = PLAN.totals()
    assert (totals.images, totals.failed, totals.layers, totals.shared) == (2, 1, 2, 1)
    assert (totals.total, totals.unique, totals.have, totals.disk) == (2050, 1050, 450, 1600)
    assert [(image.size, image.missing) for image in PLAN.images] == [(1050, 600), (1000, 600)]


def test_names_of_one_image_share_nothing() -> None:
    """It is the same image."""
    same = Plan(images=(planned("a", BASE, manifest="m"), planned("b", BASE, manifest="m")))
    assert same.totals().shared == 0


def test_a_plan_goes_to_json_and_comes_back() -> None:
    """All of it."""
    assert Plan.from_json(json.loads(json.dumps(PLAN.to_json()))) == PLAN


@pytest.mark.parametrize("found", [[], {"images": [7]}, {"images": [{"name": "x"}]}, {"pulls": 1}])
def test_what_is_no_plan_is_refused(found: object) -> None:
    """With one sentence."""
    with pytest.raises(InvalidOption, match="it is no plan"):
        Plan.from_json(found)  # type: ignore[arg-type]
