"""Kernel calls that need more than passing on."""

from __future__ import annotations

import os
import re
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from aiodocker_lite import syscalls


@pytest.mark.parametrize("number", [syscalls._SYS_FCHMODAT2, 100_000], ids=["new kernel", "old kernel"])
def test_modes_are_set_in_a_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """Also of what cannot be opened, and where the kernel has no call for it."""
    monkeypatch.setattr(syscalls, "_SYS_FCHMODAT2", number)
    os.mkfifo(tmp_path / "pipe")
    here = os.open(tmp_path, os.O_RDONLY)
    syscalls.chmod_at(here, b"pipe", 0o4751)
    os.close(here)
    assert stat.S_IMODE((tmp_path / "pipe").stat().st_mode) == 0o4751


@pytest.mark.skipif(
    tuple(map(int, re.findall(r"\d+", os.uname().release)[:2])) < (6, 6), reason="needs Linux 6.6"
)
def test_a_link_is_not_followed(tmp_path: Path) -> None:
    """The mode of what a link leads to stays (Linux 6.6)."""
    (tmp_path / "file").touch(0o600)
    (tmp_path / "link").symlink_to("file")
    here = os.open(tmp_path, os.O_RDONLY)
    with pytest.raises(OSError, match="not supported"):
        syscalls.chmod_at(here, b"link", 0o777)
    os.close(here)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o600


def test_renames_elsewhere_hinder_nobody(tmp_path: Path) -> None:
    """While a path goes up, the kernel gives up for any rename on this machine, and asks to be called again."""
    (tmp_path / "root/a").mkdir(parents=True)
    (tmp_path / "root/file").touch()
    (tmp_path / "x").touch()
    storm = "import os\nprint(flush=True)\nwhile True:\n os.rename('x', 'y')\n os.rename('y', 'x')"
    here = os.open(tmp_path / "root", os.O_PATH)
    words = [sys.executable, "-c", storm]
    with subprocess.Popen(words, cwd=tmp_path, stdout=subprocess.PIPE) as renaming:
        try:
            assert renaming.stdout is not None
            renaming.stdout.readline()
            for _ in range(2000):
                path, rule = b"a/../" * 10 + b"file", syscalls.RESOLVE_IN_ROOT
                os.close(syscalls.openat2(here, path, os.O_RDONLY, resolve=rule))
        finally:
            renaming.kill()
            os.close(here)
