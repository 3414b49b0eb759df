"""The second wall around a layer that is being unpacked: a process with nothing else in sight.

The first wall is `beneath`, which resolves no path outside. Should it have a hole, whoever gets
through finds himself in a chroot of the one directory, without a network, without other mounts, and
with no capability but those that unpacking needs. Where the host does not permit a part of this,
that part is left out: either wall alone is enough.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path

from aiodocker_lite import subids, syscalls

_APART = syscalls.CLONE_NEWNS | syscalls.CLONE_NEWNET | syscalls.CLONE_NEWIPC | syscalls.CLONE_NEWUTS
_REFUSED = (errno.EPERM, errno.EACCES, errno.ENOSYS, errno.EINVAL, errno.ENOSPC, errno.EUSERS)

_CHOWN, _DAC_OVERRIDE, _FOWNER, _FSETID, _SYS_ADMIN, _MKNOD, _SETFCAP = 0, 1, 3, 4, 21, 27, 31
# SYS_ADMIN for the trusted.* marks of overlayfs, and for nothing else.
_NEEDED = sum(1 << n for n in (_CHOWN, _DAC_OVERRIDE, _FOWNER, _FSETID, _SYS_ADMIN, _MKNOD, _SETFCAP))


def step_apart(maps: subids.IdMaps | None = None) -> bool:
    """Leave the host's mounts, network and names, as root or in a user namespace; False if refused.

    Once for a process that will unpack many layers. With `maps` it becomes root of these ids,
    whatever else is refused; raises OSError if that is.
    """
    if maps:
        subids.enter(maps)
    elif os.geteuid() != 0 and not _works_in_a_copy():
        # Half-way into a user namespace there is no way back, nor on.
        return False
    return _step_apart()


def _works_in_a_copy() -> bool:
    pid = os.fork()
    if pid == 0:
        try:
            os._exit(0 if _step_apart() else 1)
        except OSError:
            os._exit(1)
    return os.waitpid(pid, 0)[1] == 0


def _step_apart() -> bool:
    user, group = os.geteuid(), os.getegid()
    try:
        if user != 0:
            syscalls.unshare(_APART | syscalls.CLONE_NEWUSER)
            # The same numbers as before: nothing that is made has another owner for it.
            Path("/proc/self/setgroups").write_text("deny")
            Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
            Path("/proc/self/gid_map").write_text(f"{group} {group} 1")
        else:
            syscalls.unshare(_APART)
        syscalls.mount(None, "/", None, syscalls.MS_REC | syscalls.MS_PRIVATE)
    except OSError as error:
        if error.errno not in _REFUSED:
            raise
        return False
    return True


def enter(directory: int) -> bool:
    """Make this directory all there is, for ever, and keep only the rights that unpacking needs.

    False if the host does not permit it. Nothing can be imported afterwards.
    """
    os.fchdir(directory)
    try:
        os.chroot(".")
    except OSError as error:
        if error.errno not in _REFUSED:
            raise
        return False
    held = syscalls.capget()[1] & _NEEDED
    syscalls.prctl(syscalls.PR_SET_NO_NEW_PRIVS, 1)
    syscalls.capset(held, held, 0)
    return True
