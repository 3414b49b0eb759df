"""A file system whose power can be cut: what was not synced is lost, as it is when a machine goes down."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import struct
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

from aiodocker_lite import syscalls

MAKERS = {
    "ext4": ("mkfs.ext4", "-q", "-F", "-N", "60000", "-E", "lazy_itable_init=0"),
    "xfs": ("mkfs.xfs", "-q", "-f"),
}
_SHUTDOWN = 0x8004587D
"""EXT4_IOC_SHUTDOWN and XFS_IOC_GOINGDOWN: _IOR('X', 125, __u32)."""
_PATIENCE = 30.0


class Cut(IntEnum):
    """What is still written when the file system is shut down (EXT4_GOING_FLAGS_*)."""

    EVERYTHING = 0
    LOG = 1
    NOTHING = 2


@dataclass
class Disk:
    """A file system in a file, on a loop device that keeps nothing in memory."""

    kind: str
    device: str
    place: Path
    options: str

    def cut(self, how: Cut) -> None:
        """Everything that is written from now on is lost, and fails."""
        fd = os.open(self.place, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.ioctl(fd, _SHUTDOWN, struct.pack("I", how))
        finally:
            os.close(fd)

    def recover(self) -> None:
        """Start the machine again: the journal is replayed, and the file system checked."""
        self.unmount()
        self.mount()
        if self.kind == "ext4":
            self.unmount()
            words = ["e2fsck", "-f", "-n", self.device]
            done = subprocess.run(words, capture_output=True, text=True, check=False)
            assert done.returncode == 0, f"the kernel left a damaged file system:\n{done.stdout}"
            self.mount()

    def mount(self) -> None:
        options = ["-o", self.options] if self.options else []
        subprocess.run(["mount", "-t", self.kind, *options, self.device, self.place], check=True)

    def unmount(self) -> None:
        """Return when nobody has it any more: killed processes end when they like."""
        known = Path(f"/sys/fs/{self.kind}/{Path(self.device).name}")
        end = time.monotonic() + _PATIENCE
        words = ["umount", str(self.place)]
        while (done := subprocess.run(words, capture_output=True, text=True, check=False)).returncode:
            if os.strerror(errno.EBUSY).lower() not in done.stderr.lower() and "busy" not in done.stderr:
                raise RuntimeError(done.stderr)
            self._wait(end)
        while known.exists():
            self._wait(end)

    def _wait(self, end: float) -> None:
        if time.monotonic() > end:
            raise TimeoutError(f"{self.place} is still in use")
        time.sleep(0.02)  # the kernel tells nobody when the last user has gone


def hide_mounts() -> None:
    """Have mounts of this process and its children seen by nobody else.

    Whoever made a mount namespace elsewhere on this machine would keep the disk for as long as it lasts.
    """
    syscalls.unshare(syscalls.CLONE_NEWNS)
    syscalls.mount("none", "/", None, syscalls.MS_REC | syscalls.MS_PRIVATE)


@contextmanager
def loop_disk(directory: Path, kind: str = "ext4", options: str = "", size: int = 3 << 30) -> Iterator[Disk]:
    """A new file system in a file of this directory, mounted."""
    image, place = directory / "disk.img", directory / "disk"
    place.mkdir(exist_ok=True)
    with image.open("wb") as file:
        file.truncate(size)
    subprocess.run([*MAKERS[kind], image], check=True)
    words = ["losetup", "--find", "--show", "--direct-io=on", str(image)]
    device = subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip()
    disk = Disk(kind, device, place, options)
    try:
        disk.mount()
        try:
            yield disk
        finally:
            disk.unmount()
    finally:
        subprocess.run(["losetup", "--detach", disk.device], check=True)
        image.unlink()


def why_not() -> str:
    """Why no disk can be had here; empty where one can."""
    if os.geteuid() != 0:
        return "mounting a disk needs uid 0"
    for name in ("losetup", "mkfs.ext4"):
        if shutil.which(name) is None:
            return f"this needs {name}"
    for words in (["unshare", "--mount", "true"], ["losetup", "--find"]):
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        if done.returncode:
            return f"this machine gives no disk: {done.stderr.strip()}"
    return ""
