"""What a layer may cost: refused with the figure that was passed, and never for what real images need."""

from __future__ import annotations

import gzip
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from aiodocker_lite.digest import Digest
from aiodocker_lite.errors import DiskFull, EngineError, LimitExceeded
from aiodocker_lite.layer.pool import Job, Unpackers
from aiodocker_lite.layer.rules import UnpackRules
from aiodocker_lite.settings import Limits
from tests.fakes import layers
from tests.fakes.tars import END, directory, file, gnu_long, header, pax

LARGE = 1 << 20


@pytest.fixture(autouse=True)
def _umask() -> Iterator[None]:
    before, here = os.umask(0), Path.cwd()
    yield
    os.umask(before)
    os.chdir(here)


def unpack(content: bytes, root: Path, limits: Limits) -> None:
    root.mkdir()
    layers.unpack(iter([content]), root, UnpackRules(os.geteuid() == 0, limits))


@pytest.mark.parametrize(
    ("limits", "fits", "exceeds", "figures"),
    [
        (Limits(unpacked_bytes=1000), file(b"a", bytes(600)) + file(b"b", bytes(400)),
         file(b"a", bytes(600)) + file(b"b", bytes(401)), "unpacked size .* 1001 is more than 1000"),
        (Limits(entries=2), file(b"a") * 2, file(b"a") * 3, "number of entries .* 3 is more than 2"),
        (Limits(name_bytes=120), gnu_long(b"n" * 120) + file(b"x"), gnu_long(b"n" * 121) + file(b"x"),
         "length of a name .* 121 is more than 120"),
        (Limits(header_bytes=80), pax({b"a": b"v" * 60}) + file(b"x"), pax({b"a": b"v" * 90}) + file(b"x"),
         "extension header .* 96 is more than 80"),
        (Limits(depth=3), file(b"a/b/c"), file(b"a/b/c/d"), "depth of a path .* 4 is more than 3"),
        (Limits(path_bytes=1000), directory(b"a") + directory(b"b"), b"".join(directory(b"%d" % n) for n in range(4)),
         "memory for directories and links .* 1204 is more than 1000"),
    ],
)  # fmt: skip
def test_each_limit_has_its_figure(
    tmp_path: Path, limits: Limits, fits: bytes, exceeds: bytes, figures: str
) -> None:
    """Up to the limit it is unpacked, and beyond it is refused."""
    unpack(fits + END, tmp_path / "fits", limits)
    with pytest.raises(LimitExceeded, match=figures):
        unpack(exceeds + END, tmp_path / "exceeds", limits)


async def refused_for(tmp_path: Path, packed: bytes, plain: bytes, limits: Limits) -> EngineError | None:
    """What a worker says of a layer; None if it takes it."""
    blob, root = tmp_path / "blob", tmp_path / "root"
    blob.write_bytes(packed)
    root.mkdir()
    job = Job(blob, Digest.of(packed), len(packed), Digest.of(plain), root, limits, os.geteuid() == 0)

    async def all_of_it(have: int) -> int:
        return len(packed)

    async with Unpackers(1) as unpackers:
        try:
            await unpackers.unpack(job, all_of_it, lambda consumed: None)
        except EngineError as error:
            return error
    return None


async def test_what_compresses_well_is_no_bomb_while_it_is_small(tmp_path: Path) -> None:
    """Zeros shrink to a thousandth: that is refused only where it becomes more than a gigabyte."""
    plain = file(b"zeros", bytes(32 * LARGE)) + END
    packed = gzip.compress(plain, mtime=0)
    assert len(plain) > 200 * len(packed)
    assert await refused_for(tmp_path, packed, plain, Limits()) is None


async def test_a_gigabyte_from_a_megabyte_is_refused(tmp_path: Path) -> None:
    """And the layer's size may be set free of that."""
    piece = gzip.compress(bytes(64 * LARGE), mtime=0)
    packed = gzip.compress(header(b"zeros", size=2 << 30), mtime=0) + piece * 17
    error = await refused_for(tmp_path, packed, b"", Limits())
    assert str(error).startswith("the uncompressed size of layer")
    assert "is more than 1073741824" in str(error)


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to mount a small disk")
def test_a_part_of_the_disk_stays_free(tmp_path: Path) -> None:
    """Five per cent, or as much as was asked for if that is less."""
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(disk)], check=True)
    try:
        layer = file(b"f", bytes(4_000_000)) + END
        with pytest.raises(DiskFull, match=r"\d+ bytes would be left, and 209715 have to stay free"):
            unpack(layer, disk / "default", Limits())
        unpack(layer, disk / "root", Limits(free_bytes=0))
        assert (disk / "root/f").stat().st_size == 4_000_000
    finally:
        subprocess.run(["umount", "--lazy", str(disk)], check=True)
