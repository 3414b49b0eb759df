"""Devices of the host, where a container cannot have nodes of its own."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from aiodocker_lite.runtime import devices

pytestmark = pytest.mark.root


def test_a_bound_device_works_and_cannot_be_changed(as_root: None) -> None:
    """What is written to it is written; its mode and owner are the host's."""
    fd = devices.bound("null")
    path = f"/proc/self/fd/{fd}"
    try:
        assert os.fstat(fd).st_rdev == os.makedev(1, 3)
        assert Path(path).write_text("x") == 1
        with pytest.raises(OSError, match="Read-only"):
            Path(path).chmod(0)
    finally:
        os.close(fd)


def test_nodes_are_made_whatever_the_umask(as_root: None, tmp_path: Path) -> None:
    """For everybody, as they are on any host."""
    directory = os.open(tmp_path, os.O_RDONLY)
    before = os.umask(0o077)
    try:
        assert devices.make_node("zero", directory)
    finally:
        os.umask(before)
        os.close(directory)
    found = (tmp_path / "zero").stat()
    assert (stat.S_ISCHR(found.st_mode), found.st_mode & 0o777) == (True, 0o666)
