"""Small files are written whole, and what the operating system says is translated."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from aiodocker_lite.errors import DiskFull, EngineError, StoreUnwritable
from aiodocker_lite.store.durable import store_errors, write_durably
from tests.store.filling import traced

WRITE = """
import sys
from pathlib import Path
from aiodocker_lite.errors import StoreError
from aiodocker_lite.store.durable import write_durably
path = Path(sys.argv[1])
try:
    write_durably(path, b"new", beside=path.parent)
except StoreError as error:
    print(error)
"""


@pytest.mark.parametrize(
    ("number", "error"),
    [
        (errno.ENOSPC, DiskFull),
        (errno.EDQUOT, DiskFull),
        (errno.EIO, StoreUnwritable),
        (errno.EROFS, StoreUnwritable),
        (errno.EACCES, StoreUnwritable),
        (errno.EMFILE, StoreUnwritable),
    ],
)
def test_errors_of_the_system_become_ours(number: int, error: type[EngineError]) -> None:
    """The sentence has the path that the system named, or else the one that was worked on."""
    with pytest.raises(error, match=f"/store: {os.strerror(number)}"), store_errors(Path("/store")):
        raise OSError(number, "whatever")
    with pytest.raises(error, match="/store/file"), store_errors(Path("/store")):
        raise OSError(number, "whatever", "/store/file")


def test_a_file_is_replaced(tmp_path: Path) -> None:
    """The new content is there, and nothing beside it."""
    path = tmp_path / "index"
    path.write_bytes(b"old and longer")
    write_durably(path, b"new", beside=tmp_path)
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [("index", b"new")]


def test_a_file_that_must_not_be_replaced_stays(tmp_path: Path) -> None:
    """Whoever comes second leaves what he finds; the first makes it."""
    path = tmp_path / "index"
    for content in (b"first", b"second"):
        write_durably(path, content, beside=tmp_path, replace=False)
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [("index", b"first")]


@pytest.mark.parametrize("replace", [True, False])
def test_a_full_disk_leaves_the_old_file(small_disk: Path, replace: bool) -> None:
    """The error says so, nothing half-written is in sight, and with space it works (S05)."""
    path = small_disk / "index"
    path.write_bytes(b"old")
    filler = small_disk / "filler"
    with pytest.raises(DiskFull, match="no space left"):
        write_durably(filler, bytes(2 << 20), beside=small_disk, replace=replace)
    assert [(p.name, p.read_bytes()) for p in small_disk.iterdir()] == [("index", b"old")]
    write_durably(path, b"new", beside=small_disk)
    assert path.read_bytes() == b"new"


@pytest.mark.parametrize(
    ("fault", "content", "sentence"),
    [
        ("fsync:error=EIO:when=1", "old", "Input/output error"),
        ("fsync:error=EIO:when=2", "new", "Input/output error"),
        ("?rename,?renameat,?renameat2:error=EDQUOT", "old", "no space left"),
    ],
)
def test_a_failing_disk_is_reported(tmp_path: Path, fault: str, content: str, sentence: str) -> None:
    """An fsync that failed is never taken for one that worked; the file is the old one or the new one (S05)."""
    path = tmp_path / "index"
    path.write_text("old")
    assert sentence in traced(WRITE, path, fault=fault)
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [("index", content)]
