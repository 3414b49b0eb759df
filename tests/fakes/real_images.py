"""Images of real software, made from what Debian, PyPI and npm give: a base, what an installer puts on it,
and what a third step of a Dockerfile changes."""

from __future__ import annotations

import io
import platform
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

from aiodocker_lite.digest import Digest
from aiodocker_lite.manifest import OCI_LAYER
from aiodocker_lite.testing.images import Image, Layer, image, layer_of
from tests.fakes.processes import program

SUITE = platform.freedesktop_os_release()["VERSION_CODENAME"]
_NODE_PACKAGES = ("express", "mocha", "typescript")
_SCIENCE_PACKAGES = ("numpy", "scipy", "pandas")


def debian(work: Path) -> Image:
    """A Debian minbase, this environment's Python packages, and changes to both."""
    tar = work / "minbase.tar"
    command = [
        program("mmdebstrap"), "--quiet", "--variant=minbase", "--include=python3-minimal", SUITE, str(tar)
    ]  # fmt: skip
    subprocess.run(command, check=True)
    return image(gzipped(tar), layer_of(_environment()), layer_of(_changes()))


def busybox(work: Path) -> Image:
    """One static program with some 250 names, and a few directories that are not root's."""
    return image(layer_of(_busybox()))


def node_modules(work: Path) -> Image:
    """What npm installs into an application, on busybox, and pruned again."""
    app = work / "root" / "app"
    app.mkdir(parents=True)
    command = [program("npm"), "install", "--ignore-scripts", "--no-audit", "--no-fund", "--silent"]
    subprocess.run([*command, "--prefix", app, "--cache", work / "cache", *_NODE_PACKAGES], check=True)
    modules = app / "node_modules"
    pruned = _without([modules / "mocha", modules / ".package-lock.json"], work / "root")
    return image(layer_of(_busybox()), gzipped(_packed(work / "root", work)), layer_of(pruned))


def science(work: Path) -> Image:
    """What pip installs of the scientific Python packages, on busybox, and their tests removed."""
    site = work / "root" / "usr" / "lib" / "python3" / "dist-packages"
    site.mkdir(parents=True)
    command = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--no-compile",
    ]
    subprocess.run([*command, "--target", site, *_SCIENCE_PACKAGES], check=True, stderr=subprocess.DEVNULL)
    tests = sorted(path for path in site.rglob("tests") if path.is_dir() and "tests" not in path.parent.parts)
    without = _without(tests, work / "root")
    return image(layer_of(_busybox()), gzipped(_packed(work / "root", work)), layer_of(without))


MAKERS: dict[str, Callable[[Path], Image]] = {
    "debian": debian,
    "busybox": busybox,
    "node_modules": node_modules,
    "science": science,
}


def gzipped(tar: Path) -> Layer:
    """A large layer, compressed by gzip itself, which is faster."""
    raw = subprocess.run(["gzip", "-1", "-n", "-c", tar], check=True, stdout=subprocess.PIPE).stdout
    return Layer(OCI_LAYER + "+gzip", raw, Digest.of(tar.read_bytes()))


def _packed(root: Path, work: Path) -> Path:
    """A directory as GNU tar packs it, with whole times, as root's."""
    tar = work / "packed.tar"
    command = ["tar", "--format=posix", "--pax-option=delete=atime,delete=ctime", "--numeric-owner"]
    subprocess.run(
        [*command, "--owner=0", "--group=0", "--sort=name", "-C", root, "-cf", tar, "."], check=True
    )
    return tar


def _without(paths: list[Path], root: Path) -> bytes:
    """A layer that removes these, each in a directory as it was before."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        tar.add(root, ".", recursive=False, filter=_as_root)
        parents = {parent for path in paths for parent in path.parents if root in parent.parents}
        for parent in sorted(parents):
            tar.add(parent, str(parent.relative_to(root)), recursive=False, filter=_as_root)
        for path in paths:
            tar.addfile(tarfile.TarInfo(str(path.relative_to(root).with_name(f".wh.{path.name}"))))
    return out.getvalue()


def _as_root(info: tarfile.TarInfo) -> tarfile.TarInfo:
    info.uid = info.gid = 0
    info.uname = info.gname = ""
    return info


class _Tar:
    """A tar that is written entry by entry."""

    def __init__(self) -> None:
        self._out = io.BytesIO()
        self._tar = tarfile.TarFile(fileobj=self._out, mode="w", format=tarfile.PAX_FORMAT)

    def add(self, name: str, content: bytes = b"", kind: bytes = tarfile.REGTYPE, **more: object) -> None:
        info = tarfile.TarInfo(name)
        info.type, info.mtime, info.size = kind, 1_650_000_000, len(content)
        info.mode = {tarfile.DIRTYPE: 0o755, tarfile.SYMTYPE: 0o777}.get(kind, 0o644)
        for key, value in more.items():
            setattr(info, key, value)
        self._tar.addfile(info, io.BytesIO(content))

    def directory(self, name: str, **more: object) -> None:
        self.add(name, b"", tarfile.DIRTYPE, **more)

    def finish(self) -> bytes:
        self._tar.close()
        return self._out.getvalue()


def _busybox() -> bytes:
    binary = Path(program("busybox"))
    tar = _Tar()
    for name in (".", "bin", "etc", "dev", "usr", "usr/bin", "var", "var/spool"):
        tar.directory(name)
    tar.directory("tmp", mode=0o1777)
    tar.directory("root", mode=0o700)
    tar.directory("home", uid=65534, gid=65534)
    tar.directory("var/spool/mail", uid=8, gid=8, mode=0o2775)
    tar.add("bin/busybox", binary.read_bytes(), mode=0o755)
    for name in subprocess.check_output([binary, "--list"], text=True).split():
        if name != "busybox":
            tar.add(f"bin/{name}", kind=tarfile.LNKTYPE, linkname="bin/busybox", mode=0o755)
    tar.add("usr/bin/env", kind=tarfile.SYMTYPE, linkname="../../bin/env")
    tar.add("etc/passwd", b"root:x:0:0:root:/root:/bin/sh\n")
    tar.add("etc/shadow", b"root:*:::::::\n", mode=0)
    tar.add("dev/pts", kind=tarfile.DIRTYPE, mode=0o555)
    return tar.finish()


def _environment() -> bytes:
    """A tree of Python packages as a layer of its own: this environment's, with its modes and times."""
    import pytest

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


def _changes() -> bytes:
    """Remove, replace, empty a directory, add odd files."""
    tar = _Tar()
    # With the root in it: it has the time of the uppermost layer, for whoever mounts, and of the
    # last layer that names it, for whoever unpacks.
    for directory in (".", "etc", "usr", "usr/share", "opt"):
        tar.directory(directory)
    tar.add("etc/.wh.debian_version")
    tar.add("etc/motd", b"replaced")
    tar.directory("usr/share/doc")
    tar.add("usr/share/doc/.wh..wh..opq")
    tar.add("usr/share/doc/only", b"this is left")
    tar.add("opt/suid", b"#!", mode=0o6755)
    tar.add("opt/hard", kind=tarfile.LNKTYPE, linkname="opt/suid", mode=0o6755)
    tar.add("opt/soft", kind=tarfile.SYMTYPE, linkname="../etc/motd")
    tar.add("opt/fifo", kind=tarfile.FIFOTYPE)
    tar.add("opt/device", kind=tarfile.CHRTYPE, devmajor=1, devminor=7)
    tar.add("opt/owned", b"x", uid=1234, gid=4321, pax_headers={"mtime": "1650000000.987654321"})
    tar.add("opt/noted", b"x", pax_headers={"SCHILY.xattr.user.note": "said"})
    tar.add("opt/closed", kind=tarfile.DIRTYPE, mode=0)
    tar.add("opt/closed/secret", b"x", mode=0)
    return tar.finish()
