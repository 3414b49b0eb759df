"""What an archive is to those who use it."""

from __future__ import annotations

from pathlib import Path

import pytest

from aiodocker_lite.errors import InvalidArchive
from tests.fakes.archives import Open, classic, parts, tar


def test_closing_an_archive_closes_its_files(open_archive: Open, tmp_path: Path) -> None:
    """After the block nothing is open, and the sections say so instead of reading something else."""
    path = tmp_path / "x.tar"
    path.write_bytes(tar(classic((parts("one"), []))))
    before = len(list(Path("/proc/self/fd").iterdir()))
    with open_archive(path) as archive:
        (section,) = archive.images[0].layers.values()
        assert section.read_at(0, 5) == b"file0"

    assert len(list(Path("/proc/self/fd").iterdir())) == before
    with pytest.raises(InvalidArchive, match="Bad file descriptor"):
        section.read_at(0, 5)
