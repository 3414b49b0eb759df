"""A real system, pulled and mounted, against what umoci and podman make of the same image."""

from __future__ import annotations

import io
import platform
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from aiodocker_lite import Engine
from aiodocker_lite.digest import Digest
from aiodocker_lite.image import Image
from aiodocker_lite.manifest import OCI_LAYER
from tests.fakes.images import Layer, image, layer_of, write_layout
from tests.fakes.processes import RealRegistry, program
from tests.fakes.trees import differences, read_tree

SUITE = platform.freedesktop_os_release()["VERSION_CODENAME"]


def packages() -> bytes:
    """A tree of Python packages as a layer of its own: this environment's, with its modes and times."""
    out = io.BytesIO()
    site = Path(pytest.__file__).parents[1]
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name in ("usr", "usr/lib", "usr/lib/python3", "usr/lib/python3/dist-packages"):
            info = tarfile.TarInfo(name)
            info.type, info.mode, info.mtime = tarfile.DIRTYPE, 0o755, 1_600_000_000
            tar.addfile(info)
        for package in ("_pytest", "aiohttp", "anyio", "hypothesis", "rich", "uvloop"):
            name = f"usr/lib/python3/dist-packages/{package}"
            tar.add(site / package, name, filter=lambda i: None if "__pycache__" in i.name else i)
    return out.getvalue()


def changes() -> bytes:
    """What a third step of a Dockerfile does: remove, replace, empty a directory, add odd files."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:

        def add(
            name: str, content: bytes | None = b"", kind: bytes = tarfile.REGTYPE, **more: object
        ) -> None:
            info = tarfile.TarInfo(name)
            info.type, info.mtime = kind, 1_650_000_000
            info.mode = 0o755 if kind == tarfile.DIRTYPE else 0o644
            info.size = len(content or b"")
            for key, value in more.items():
                setattr(info, key, value)
            tar.addfile(info, io.BytesIO(content or b""))

        # With the root in it: it has the time of the uppermost layer, for whoever mounts, and of the
        # last layer that names it, for whoever unpacks.
        for directory in (".", "etc", "usr", "usr/share", "opt"):
            add(directory, kind=tarfile.DIRTYPE)
        add("etc/.wh.debian_version")
        add("etc/motd", b"replaced")
        add("usr/share/doc", kind=tarfile.DIRTYPE)
        add("usr/share/doc/.wh..wh..opq")
        add("usr/share/doc/only", b"this is left")
        add("opt/suid", b"#!", mode=0o6755)
        add("opt/hard", kind=tarfile.LNKTYPE, linkname="opt/suid", mode=0o6755)
        add("opt/soft", kind=tarfile.SYMTYPE, linkname="../etc/motd", mode=0o777)
        add("opt/fifo", kind=tarfile.FIFOTYPE)
        add("opt/device", kind=tarfile.CHRTYPE, devmajor=1, devminor=7)
        add("opt/owned", b"x", uid=1234, gid=4321, pax_headers={"mtime": "1650000000.987654321"})
        add("opt/noted", b"x", pax_headers={"SCHILY.xattr.user.note": "said"})
    return out.getvalue()


def gzipped(tar: Path) -> Layer:
    """A large layer, compressed by gzip itself, which is faster."""
    raw = subprocess.run(["gzip", "-1", "-n", "-c", tar], check=True, stdout=subprocess.PIPE).stdout
    return Layer(OCI_LAYER + "+gzip", raw, Digest.of(tar.read_bytes()))


@pytest.fixture(scope="module")
def layout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Debian minbase, Python packages, and changes to both, as an OCI layout."""
    work = tmp_path_factory.mktemp("debian")
    tar = work / "minbase.tar"
    command = [
        program("mmdebstrap"),
        "--quiet",
        "--variant=minbase",
        "--include=python3-minimal",
        SUITE,
        str(tar),
    ]
    subprocess.run(command, check=True)
    base = gzipped(tar)
    return write_layout(work / "layout", {"latest": image(base, layer_of(packages()), layer_of(changes()))})


@contextmanager
def mounted(engine: Engine, found: Image, place: Path) -> Iterator[Path]:
    """Our layers as one tree, by a read-only overlay."""
    place.mkdir()
    lowers = ":".join(str(engine.store.layers.files(diff_id)) for diff_id in reversed(found.config.diff_ids))
    subprocess.run(
        ["mount", "-t", "overlay", "overlay", "-o", f"ro,lowerdir={lowers}", str(place)], check=True
    )
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)


@pytest.mark.timeout(240)
async def test_a_real_tree_is_what_umoci_and_podman_make_of_it(
    engine: Engine, open_registry: RealRegistry, tmp_path: Path, layout: Path
) -> None:
    """Names, types, modes, owners, times, attributes, link counts and contents are equal."""
    name = open_registry.push(layout, "debian")
    found = await engine.pull(name)
    assert found.verified == "Yes"

    with mounted(engine, found, tmp_path / "ours") as root:
        ours = read_tree(root)
        bundle = tmp_path / "bundle"
        subprocess.run([program("umoci"), "unpack", "--image", f"{layout}:latest", str(bundle)], check=True)
        assert len(ours) > 5000
        assert differences(ours, read_tree(bundle / "rootfs")) == []

        with podman_overlay(tmp_path / "podman") as podman:
            podman("pull", "-q", "--tls-verify=false", name)
            place = podman("image", "mount", name).strip()
            theirs = read_tree(Path(place))
            theirs[b"."] = ours[b"."]  # podman makes the root of an image read-only
            assert differences(ours, theirs) == []
            podman("image", "unmount", name)


@contextmanager
def podman_overlay(root: Path) -> Iterator[Callable[..., str]]:
    """A podman with a store of its own, and nothing left of it."""
    short = tempfile.mkdtemp(prefix="p")  # podman wants a path of at most 50 characters
    command = [program("podman"), "--root", str(root), "--runroot", short, "--storage-driver", "overlay"]

    def podman(*arguments: str) -> str:
        return subprocess.run([*command, *arguments], check=True, stdout=subprocess.PIPE, text=True).stdout

    try:
        yield podman
    finally:
        # It mounts its directory on itself, and leaves it so.
        subprocess.run(["umount", "-R", str(root / "overlay")], check=False)
        shutil.rmtree(root)
        shutil.rmtree(short)
