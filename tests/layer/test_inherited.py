"""Access control lists of directories, which the kernel gives to whatever is made in them."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from aiodocker_lite.layer.rules import UnpackRules
from aiodocker_lite.settings import Limits
from tests.cases.layer_directories import DEFAULT_ACL, acl
from tests.fakes import tars
from tests.fakes.layers import unpack
from tests.fakes.overlays import USERS, as_user

ANY = 0xFFFFFFFF
SHARED = acl((1, 6, ANY), (4, 4, ANY), (32, 0, ANY))


@pytest.mark.parametrize("user", USERS)
def test_nothing_that_a_layer_has_inherits(user: int) -> None:
    """The directory gets its list, and what is in it has the modes of the layer, and none."""

    def make(base: Path) -> tuple[bytes, list[tuple[int, list[str]]]]:
        os.umask(0)
        root = base / "root"
        root.mkdir()
        listed = tars.pax({b"SCHILY.xattr.system.posix_acl_default": SHARED}) + tars.directory(b"d")
        inside = tars.file(b"d/file", mode=0o606) + tars.directory(b"d/sub", mode=0o707) + tars.END
        unpack(iter([listed + inside]), root, UnpackRules(user == 0, Limits()))
        made = [root / "d" / name for name in ("file", "sub")]
        found = [(stat.S_IMODE(path.stat().st_mode), os.listxattr(path)) for path in made]
        return os.getxattr(root / "d", DEFAULT_ACL), found

    assert as_user(user, make) == (SHARED, [(0o606, []), (0o707, [])])
