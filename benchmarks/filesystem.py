"""A new file system for every run, and what was written to it and lies in it."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from aiodocker_lite import syscalls

SECTOR = 512
"""Bytes of what the kernel counts, whatever the disk has."""


def step_apart() -> None:
    """Mount where nobody else sees it: whoever unshares his mounts meanwhile would keep a disk of ours busy."""
    syscalls.unshare(syscalls.CLONE_NEWNS)
    syscalls.mount(None, "/", None, syscalls.MS_REC | syscalls.MS_PRIVATE)


def _run(*words: str | Path) -> str:
    """What a command says, where the terminal's Ctrl-C does not reach it."""
    done = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True, start_new_session=True)
    return done.stdout.strip()


@dataclass(frozen=True)
class Disk:
    """A mounted file system and, if it has one, the name of its block device."""

    path: Path
    device: str | None = None

    def sync(self) -> None:
        _run("sync", "--file-system", self.path)

    def written(self) -> int:
        """Bytes that the device was sent since it exists."""
        if self.device is None:
            return 0
        return int(Path(f"/sys/block/{self.device}/stat").read_text().split()[6]) * SECTOR


@contextmanager
def fresh_ext4(work: Path, gigabytes: int = 24) -> Iterator[Disk]:
    """A new ext4 on a loop device.

    Creating files where many were just deleted is up to ten times slower on ext4, for whoever comes second.
    """
    image, place = work / "disk.img", work / "disk"
    place.mkdir(exist_ok=True)
    with ExitStack() as closing:
        closing.callback(image.unlink, missing_ok=True)
        with image.open("wb") as file:
            file.truncate(gigabytes << 30)
        _run("mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=0,lazy_journal_init=0", image)
        # Straight to the disk: else what is synced is copied once more, which takes as long as to unpack it.
        device = _run("losetup", "--find", "--show", "--direct-io=on", image)
        closing.callback(_detach, device, image)
        _run("mount", device, place)
        closing.callback(unmount, place)
        disk = Disk(place, Path(device).name)
        disk.sync()
        yield disk


def _detach(device: str, image: Path, patience: float = 60) -> None:
    """Until it is gone: the kernel keeps it while somebody looks at it, such as udev, or a mount namespace."""
    _run("losetup", "--detach", device)
    backing = Path(f"/sys/block/{Path(device).name}/loop/backing_file")
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        try:
            if not backing.read_text().startswith(str(image.absolute())):
                return
        except OSError:
            return
        time.sleep(0.01)
    raise RuntimeError(f"somebody keeps {device} busy")


@contextmanager
def fresh_tmpfs(work: Path) -> Iterator[Disk]:
    """Costs least by itself, so that what we add shows most."""
    place = work / "memory"
    place.mkdir(exist_ok=True)
    _run("mount", "-t", "tmpfs", "-o", "size=4g,nr_inodes=200k", "bench", place)
    try:
        yield Disk(place)
    finally:
        unmount(place)


def unmount(place: Path) -> None:
    """Unmount a place and all that a tool has left mounted below it, the deepest first."""
    mounts = [Path(line.split()[4]) for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    for mount in reversed([mount for mount in mounts if mount.is_relative_to(place)]):
        _run("umount", mount)


def count(roots: Sequence[Path]) -> int:
    """Entries below these directories, themselves left out."""
    total = 0
    for root in roots:
        for _, directories, files in os.walk(root):
            total += len(directories) + len(files)
    return total
