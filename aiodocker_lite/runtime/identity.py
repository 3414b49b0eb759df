"""From the engine's rights to the container's: groups, user, capabilities, and no way back."""

from __future__ import annotations

import errno
import os
import stat

from aiodocker_lite import syscalls
from aiodocker_lite.runtime import limits
from aiodocker_lite.runtime.inside import open_inside
from aiodocker_lite.runtime.report import Failed, step

TYPE_CHECKING = False  # `typing` is slow to import
if TYPE_CHECKING:
    from typing import Any

_ACCOUNTS_MAX = 1 << 20
_NUMBERS = {f"CAP_{name}": number for number, name in enumerate(syscalls.CAPABILITIES)}


def read_accounts(root: int, path: str) -> bytes:
    """A file such as /etc/passwd of the image, empty where it is missing.

    Links lead to places inside. What is not a regular file, or is larger than any such file has
    reason to be, is refused (X13); opening does not wait for a FIFO's other end.
    """
    with step(f"reading {path} of the image"):
        try:
            fd = open_inside(root, path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
        except (FileNotFoundError, NotADirectoryError):
            return b""
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode):
            raise Failed(
                "setup-failed", step=f"reading {path} of the image", reason="it is not a regular file"
            )
        content = b""
        while more := os.read(fd, _ACCOUNTS_MAX + 1 - len(content)):
            content += more
        os.close(fd)
    if len(content) > _ACCOUNTS_MAX:
        raise Failed("setup-failed", step=f"reading {path} of the image", reason="it is larger than 1 MiB")
    return content


def allowed(names: list[str]) -> int:
    """A set of capabilities as the kernel writes it."""
    return sum(1 << _NUMBERS[name] for name in set(names))


def held() -> int:
    """What this process is permitted to, which may be less than a container should have."""
    with open("/proc/self/status") as file:  # noqa: PTH123 - pathlib is slow to import
        return next(int(line.split()[1], 16) for line in file if line.startswith("CapPrm"))


def keeps_groups() -> bool:
    """In a user namespace that one without privileges made, nobody gets rid of a group."""
    try:
        with open("/proc/self/setgroups") as file:  # noqa: PTH123 - pathlib is slow to import
            return file.read() == "deny\n"
    except FileNotFoundError:  # a kernel without user namespaces
        return False


def give_up_rights(
    user: dict[str, Any], process: dict[str, Any], seccomp: bytes, *, permitted: int, keeps_groups: bool
) -> None:
    """Become the user, with these of the permitted capabilities, and none to inherit (X07, X08, X11).

    From the end on, system calls are filtered; where new privileges are not forbidden, only root may ask
    for a filter, and it has to let the rest of this pass.
    """
    capabilities, forbids = process["capabilities"], process["noNewPrivileges"]
    with step("leaving the caller's keyring"):
        try:
            syscalls.join_new_keyring()
        except OSError as error:
            # A kernel without keyrings, a filter, or a full quota: then there is nothing to be had here.
            if error.errno not in (errno.ENOSYS, errno.EPERM, errno.EACCES, errno.EDQUOT):
                raise
    # First of all, for it also holds where the bounding set cannot be changed.
    if forbids:
        with step("forbidding new privileges"):
            syscalls.prctl(syscalls.PR_SET_NO_NEW_PRIVS, 1)
    limits.raise_limits(process.get("rlimits", []))
    if not forbids:
        _filter_calls(seccomp)
    with step("limiting capabilities"):
        syscalls.prctl(syscalls.PR_CAP_AMBIENT, syscalls.PR_CAP_AMBIENT_CLEAR_ALL)
        _limit_bounding(allowed(capabilities["bounding"]))
    _give_streams(user["uid"])
    _become(user, keeps_groups=keeps_groups)
    with step("dropping capabilities"):
        permitted &= allowed(capabilities["permitted"]) if user["uid"] == 0 else 0
        syscalls.capset(allowed(capabilities["effective"]) & permitted, permitted, 0)
    if forbids:
        _filter_calls(seccomp)


def _filter_calls(seccomp: bytes) -> None:
    if seccomp:
        with step("filtering system calls (--security-opt seccomp=unconfined does without)"):
            syscalls.load_filter(seccomp)


def _limit_bounding(keep: int) -> None:
    for number in range(64):
        if keep >> number & 1:
            continue
        try:
            syscalls.prctl(syscalls.PR_CAPBSET_DROP, number)
        except OSError as error:
            if error.errno in (errno.EINVAL, errno.EPERM):
                return  # the kernel knows no more of them; or we may not, and then executing gives none
            raise


def _become(user: dict[str, Any], *, keeps_groups: bool) -> None:
    uid, gid = user["uid"], user["gid"]
    with step(f"becoming user {uid}:{gid}"):
        if os.geteuid() not in (0, uid) and uid != 0:
            raise Failed("setup-failed", step=f"becoming user {uid}:{gid}", reason="only root can do that")
        if os.geteuid() != 0:
            return  # without namespaces, the caller is all the root there is
        try:
            # What is so already may be forbidden to be made so.
            if not keeps_groups and os.getgroups() != user["groups"]:
                os.setgroups(user["groups"])
            if os.getresgid() != (gid, gid, gid):
                os.setresgid(gid, gid, gid)
            if os.getresuid() != (uid, uid, uid):
                os.setresuid(uid, uid, uid)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            reason = "the user namespace in which this runs has no such id"
            raise Failed("setup-failed", step=f"becoming user {uid}:{gid}", reason=reason) from None


def _give_streams(uid: int) -> None:
    """Pipes belong to the user, or he could not open /dev/stdout; files of the caller stay his."""
    for fd in (0, 1, 2):
        found = os.fstat(fd)
        if stat.S_ISFIFO(found.st_mode) and found.st_uid != uid:
            try:
                os.fchown(fd, uid, -1)
            except OSError as error:
                if error.errno not in (errno.EPERM, errno.EINVAL, errno.EROFS):
                    raise
