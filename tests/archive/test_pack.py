"""Tar files of ours, read by GNU tar and the standard library."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

from aiodocker_lite.archive.pack import Packer
from tests.fakes.archives import run_tool

LONG = "blobs/sha512/" + "0" * 128


def packed(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    packer = Packer(out.write)
    for name, content in files.items():
        packer.file(name, len(content), [content[:700], content[700:]])
    packer.end()
    return out.getvalue()


@pytest.mark.parametrize("content", [b"", b"x", b"x" * 511, b"x" * 512, b"x" * 513, b"x" * 5000])
def test_files_come_out_as_they_went_in(content: bytes, tmp_path: Path) -> None:
    """Whatever their sizes, and names longer than an old header has room for."""
    files = {"first": content, LONG: b"long", "dir/last": content}
    (path := tmp_path / "it.tar").write_bytes(packed(files))

    run_tool("tar", "-C", tmp_path, "-xf", path)
    assert {name: (tmp_path / name).read_bytes() for name in files} == files
    with tarfile.open(path) as tar:
        assert tar.getnames() == list(files)
    assert path.stat().st_size % 512 == 0


def test_a_file_may_be_larger_than_a_header_can_say() -> None:
    """8 GiB and more stand in an extended header, as POSIX has it."""
    size = (8 << 30) + 5
    blocks: list[bytes] = []

    class Enough(Exception):
        pass

    def write(content: bytes) -> None:
        blocks.append(content)
        if len(blocks) == 2:
            raise Enough

    with pytest.raises(Enough):
        Packer(write).file("large", size, iter([b"x" * 512]))
    with tarfile.open(fileobj=io.BytesIO(b"".join(blocks))) as tar:
        (member,) = (tar.next(),)
    assert member is not None
    assert (member.name, member.size) == ("large", size)


def test_a_size_that_is_not_kept_is_never_passed_on() -> None:
    """What follows would be read as something else."""
    with pytest.raises(AssertionError, match="f has 3 bytes, and its header says 4"):
        Packer(lambda content: None).file("f", 4, [b"abc"])
