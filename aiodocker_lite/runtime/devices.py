"""The few devices of a container, in a /dev of its own; nothing of the image is used (X04)."""

from __future__ import annotations

import errno
import os
import stat

from aiodocker_lite import syscalls
from aiodocker_lite.runtime.report import step

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
        os.symlink(target, name, dir_fd=directory)
    os.close(directory)


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
