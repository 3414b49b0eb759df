"""A real system, pulled and mounted, against what umoci and podman make of the same image; `scripts.trees` has more."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

from aiodocker_lite.testing.images import write_layout
from tests.fakes.processes import RealRegistry
from tests.fakes.real_images import MAKERS
from tests.fakes.unpackers import compare
from tests.runtime.cage import NOBODY


@pytest.mark.root
@pytest.mark.overlay
@pytest.mark.skipif(os.geteuid() != 0, reason="needs uid 0 to be root and an ordinary user")
@pytest.mark.timeout(300)
def test_a_real_tree_is_what_umoci_and_podman_make_of_it(open_registry: RealRegistry, tmp_path: Path) -> None:
    """In every attribute, as root and as an ordinary user; merged into one tree, too."""
    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0o755)  # an ordinary user reads the layout
        layout = write_layout(Path(directory), {"latest": MAKERS["busybox"](tmp_path)})
        found = compare(layout, open_registry.push(layout, "busybox"), (0, NOBODY))
    assert [(each.user, each.tool) for each in found] == [
        (user, tool) for user in (0, NOBODY) for tool in ("flattened", "umoci", "podman")
    ]
    assert min(each.entries for each in found) > 250
    assert [each.differences for each in found] == [[]] * 6
