"""Layers merged into one tree are what the kernel's overlay shows of them."""

from __future__ import annotations

import pytest

from tests.cases.layer_directories import Merge, build, merges
from tests.fakes.overlays import USERS, overlay_and_tree
from tests.fakes.trees import differences

CASES = merges()


@pytest.mark.overlay
@pytest.mark.parametrize("user", USERS)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_tree_is_the_mounted_overlay(case: Merge, user: int) -> None:
    """Names, types, modes, owners, times, attributes, links among each other, contents and holes."""
    if case.needs_root and user:
        pytest.skip("only root can make these layers")
    overlay, tree = overlay_and_tree(lambda base: build(case, base), user)
    assert {name.decode(errors="surrogateescape") for name in tree} == case.seen | {"."}
    # Overlayfs counts the names that it hides as well.
    assert differences(tree, overlay, but=("links",)) == []
