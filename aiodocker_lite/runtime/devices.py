"""The few devices of a container, in a /dev of its own; nothing of the image is used (X04)."""

from __future__ import annotations

import errno
import os
import stat

from aiodocker_lite import syscalls
from aiodocker_lite.runtime.inside import directory_inside, file_inside
from aiodocker_lite.runtime.report import step

TYPE_CHECKING = False  # `typing` is slow to import
if TYPE_CHECKING:
    from typing import Any

_TEMPORARY = ".given"
_QUIET = syscalls.MOUNT_ATTR_NOSUID | syscalls.MOUNT_ATTR_NOEXEC

NODES = {
    "null": (1, 3),
    "zero": (1, 5),
    "full": (1, 7),
    "random": (1, 8),
    "urandom": (1, 9),
    "tty": (5, 0),
}
LINKS = {
    "fd": "/proc/self/fd",
    "stdin": "/proc/self/fd/0",
    "stdout": "/proc/self/fd/1",
    "stderr": "/proc/self/fd/2",
    "ptmx": "pts/ptmx",
    "core": "/proc/kcore",
}


def populate(directory: int) -> None:
    """Make the nodes and links in an empty directory, before it is the container's."""
    for name in NODES:
        with step(f"making /dev/{name}"):
            if not make_node(name, directory):
                os.close(os.open(name, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666, dir_fd=directory))
                place = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
                syscalls.move_mount(bound(name), place)
                os.close(place)
    for name, target in LINKS.items():
        if name != "core" or os.path.exists(target):  # noqa: PTH110 - pathlib is slow to import
            os.symlink(target, name, dir_fd=directory)
    os.close(directory)


def give(root: int, devices: list[dict[str, Any]]) -> None:
    """Make the devices of a runtime spec: in /dev, or elsewhere as a mount of a node that is nowhere any more."""
    for device in devices:
        path = device["path"]
        with step(f"making {path}"):
            place, _, name = path.rpartition("/")
            if path.startswith("/dev/"):
                _make_given(device, name, directory_inside(root, place))
                continue
            directory = directory_inside(root, "/dev")
            _make_given(device, _TEMPORARY, directory)
            node = syscalls.open_tree(directory, _TEMPORARY, syscalls.OPEN_TREE_CLONE)
            syscalls.mount_setattr(node, b"", syscalls.AT_EMPTY_PATH, _QUIET)
            syscalls.move_mount(node, file_inside(root, path))
            os.unlink(_TEMPORARY, dir_fd=directory)


def _make_given(device: dict[str, Any], name: str, directory: int) -> None:
    kind = stat.S_IFBLK if device["type"] == "b" else stat.S_IFCHR
    mode = device.get("fileMode", 0o666)
    try:  # noqa: SIM105 - contextlib is slow to import
        os.unlink(name, dir_fd=directory)
    except FileNotFoundError:
        pass
    os.mknod(name, kind | mode, os.makedev(device["major"], device["minor"]), dir_fd=directory)
    os.chown(name, device.get("uid", 0), device.get("gid", 0), dir_fd=directory, follow_symlinks=False)
    os.chmod(name, mode, dir_fd=directory)


def make_node(name: str, directory: int) -> bool:
    """Make a device node, or return False where this is not allowed, as in a user namespace."""
    try:
        os.mknod(name, stat.S_IFCHR | 0o666, os.makedev(*NODES[name]), dir_fd=directory)
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.EACCES):
            raise
        return False
    os.chmod(name, 0o666, dir_fd=directory)  # in spite of the umask
    return True


def bound(name: str) -> int:
    """A mount of the host's device of this name, attached nowhere, once it is known to be that device."""
    tree = syscalls.open_tree(syscalls.AT_FDCWD, f"/dev/{name}", syscalls.OPEN_TREE_CLONE)
    found = os.fstat(tree)
    if not stat.S_ISCHR(found.st_mode) or found.st_rdev != os.makedev(*NODES[name]):
        raise OSError(errno.ENXIO, "the host has another device there", f"/dev/{name}")
    # Read-only holds for what can be changed about the node, which is the host's, not for the device.
    attributes = syscalls.MOUNT_ATTR_RDONLY | syscalls.MOUNT_ATTR_NOSUID | syscalls.MOUNT_ATTR_NOEXEC
    syscalls.mount_setattr(tree, b"", syscalls.AT_EMPTY_PATH, attributes)
    return tree
