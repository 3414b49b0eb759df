"""Modes that keep their owner out, unpacked by an ordinary user where no user namespace helps."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from aiodocker_lite.layer.rules import UnpackRules
from aiodocker_lite.settings import Limits
from tests.fakes import tars
from tests.fakes.layers import unpack
from tests.fakes.overlays import as_user
from tests.runtime.cage import NOBODY

NOTED = {b"SCHILY.xattr.user.note": b"said"}


@pytest.mark.skipif(os.geteuid() != 0, reason="needs uid 0 to become somebody else")
@pytest.mark.parametrize("mode", [0o644, 0o555, 0o111, 0])
@pytest.mark.parametrize("kind", [b"0", b"5"], ids=["file", "directory"])
def test_what_is_closed_is_described(kind: bytes, mode: int) -> None:
    """Mode, time and attributes are those of the layer."""

    def make(base: Path) -> tuple[int, int, bytes]:
        os.umask(0)
        (base / "root").mkdir()
        layer = tars.pax(NOTED) + tars.header(b"a", kind, mode=mode) + tars.END
        unpack(iter([layer]), base / "root", UnpackRules(False, Limits()))
        path = base / "root" / "a"
        found = path.stat()
        path.chmod(0o700)
        return stat.S_IMODE(found.st_mode), found.st_mtime_ns, os.getxattr(path, "user.note")

    assert as_user(NOBODY, make) == (mode, 1_600_000_000 * 10**9, b"said")
