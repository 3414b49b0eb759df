"""Isolation, tried out: the calls that a container needs, made where they change nothing.

They are made in a thread that ends at once, or for a user namespace in a process, since the
kernel gives one only to a process with a single thread. Standard library only.
"""

from __future__ import annotations

import errno
import os

from aiodocker_lite import subids, syscalls
from aiodocker_lite.runtime import mounts
from aiodocker_lite.runtime.report import Failed, reason_of

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_NAMESPACES = (
    syscalls.CLONE_NEWNS
    | syscalls.CLONE_NEWPID
    | syscalls.CLONE_NEWUTS
    | syscalls.CLONE_NEWIPC
    | syscalls.CLONE_NEWCGROUP
)


def try_namespaces(
    scratch: str, *, user_namespace: bool, maps: subids.IdMaps | None = None
) -> tuple[str, str]:
    """Why namespaces are refused, and why an overlay in the directory `scratch` is; empty if they are not.

    With `maps` the user namespace has subordinate ids. Afterwards the thread that called is in
    namespaces of its own, and has to end.
    """
    try:
        _need_calls()
        if maps:
            subids.enter(maps)
        elif user_namespace:
            _make_user_namespace()
        syscalls.unshare(_NAMESPACES)
        syscalls.mount(None, "/", None, syscalls.MS_REC | syscalls.MS_SLAVE)
        if user_namespace:
            _mount_proc()
    except OSError as error:
        return reason_of(error), ""
    try:
        _mount_overlay(scratch, user_namespace=user_namespace)
    except (OSError, Failed) as error:
        return "", reason_of(error)
    return "", ""


def _need_calls() -> None:
    """The newest of the calls that nothing can replace: mount_setattr (Linux 5.12)."""
    try:
        syscalls.mount_setattr(-1, b"", syscalls.AT_EMPTY_PATH, 0)
    except OSError as error:
        if error.errno == errno.ENOSYS:
            raise OSError(errno.ENOSYS, "Linux 5.12 or newer is needed") from None


def _make_user_namespace() -> None:
    uid, gid = os.geteuid(), os.getegid()
    try:
        syscalls.unshare(syscalls.CLONE_NEWUSER)
    except OSError as error:
        if error.errno == errno.ENOSPC:  # which says nothing about disks here
            raise OSError(errno.ENOSPC, "the limit user.max_user_namespaces is reached") from None
        raise
    for file, row in (("setgroups", "deny"), ("uid_map", f"0 {uid} 1"), ("gid_map", f"0 {gid} 1")):
        with open(f"/proc/self/{file}", "w") as target:  # noqa: PTH123 - pathlib is slow to import
            target.write(row)


def _mount_proc() -> None:
    """A new procfs is refused where the one that is here has parts hidden, as in most containers."""
    child = os.fork()
    if child == 0:
        try:
            context = syscalls.fsopen("proc")
            syscalls.fsconfig_create(context)
            syscalls.fsmount(context, 0)
        except OSError as error:
            os._exit(error.errno or 255)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    if number := os.waitstatus_to_exitcode(status):
        raise OSError(number, f"{os.strerror(number)} (mounting /proc)")


def _mount_overlay(scratch: str, *, user_namespace: bool) -> None:
    top = os.open(scratch, _DIRECTORY)
    for name in ("root", "lower", "upper", "work"):
        os.mkdir(name, dir_fd=top)
    place, work = (os.open(name, _DIRECTORY, dir_fd=top) for name in ("root", "work"))
    try:
        rootfs = {"lowers": [f"{scratch}/lower"], "upper": f"{scratch}/upper", "work": f"{scratch}/work"}
        mounts.mount_overlay({**rootfs, "userxattr": user_namespace}, place)
        syscalls.umount2(f"{scratch}/root", syscalls.MNT_DETACH)
        for name in os.listdir(work):  # noqa: PTH208 - a descriptor
            os.rmdir(name, dir_fd=work)  # its mode is 0: nobody but root could look into it
    finally:
        for fd in (top, place, work):
            os.close(fd)


def main(scratch: str, maps: str) -> None:
    """In a process of its own: try a user namespace, and print the two answers."""
    for answer in try_namespaces(scratch, user_namespace=True, maps=subids.from_text(maps)):
        print(" ".join(answer.split()))  # noqa: T201 - this is how it answers
