"""What the package offers: this list, and nothing else."""

from __future__ import annotations

import inspect

import pytest

import aiodocker_lite

PUBLIC = [
    "Checked", "Digest", "Engine", "ExecOptions", "Finished", "Image", "Limits", "Mount", "Plan", "Platform", "Pruned", "Reference", "Removed", "Report", "Room", "RunOptions",
    "Running", "Settings", "Streams", "Wanted", "errors", "events",
]  # fmt: skip


def test_the_public_names_are_these() -> None:
    """A name more or less is a decision, and this list is where it is taken."""
    assert sorted(aiodocker_lite.__all__) == PUBLIC


@pytest.mark.parametrize("name", PUBLIC)
def test_every_public_name_says_what_it_is(name: str) -> None:
    """It can be had from the package, and has a docstring, as have its public methods."""
    found = getattr(aiodocker_lite, name)
    assert found.__doc__
    if inspect.isclass(found):
        for method, value in vars(found).items():
            if inspect.isfunction(value) and not method.startswith("_"):
                assert value.__doc__, f"{name}.{method}"


def test_other_names_are_refused() -> None:
    """As any module does."""
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        aiodocker_lite.Nothing  # noqa: B018
