"""Into a container that runs: its control groups, its namespaces, its root (setns(2)).

The container is named by a descriptor of its first process (pidfd_open(2)), which no other process can
take the place of; what is read of /proc by number is its own as long as that one lives.
"""

from __future__ import annotations

import errno
import os

from aiodocker_lite import syscalls
from aiodocker_lite.runtime.report import Failed, step

TYPE_CHECKING = False  # `typing` is slow to import
if TYPE_CHECKING:
    from typing import Any

_KINDS = (
    ("mnt", syscalls.CLONE_NEWNS),
    ("pid", syscalls.CLONE_NEWPID),
    ("uts", syscalls.CLONE_NEWUTS),
    ("ipc", syscalls.CLONE_NEWIPC),
    ("net", syscalls.CLONE_NEWNET),
    ("cgroup", syscalls.CLONE_NEWCGROUP),
)


def join(target: dict[str, Any]) -> None:
    """Enter what this process is not in yet; a process that is forked now is in its pid namespace too."""
    pid, pidfd = target["pid"], target["pidfd"]
    with step("joining the container"):
        _join_control_groups(pid)
        # The other namespaces may belong to this one, and then they are open to who is in it.
        if _differs(pid, "user"):
            syscalls.setns(pidfd, syscalls.CLONE_NEWUSER)
        kinds = sum(flag for kind, flag in _KINDS if _differs(pid, kind))
        if kinds:
            syscalls.setns(pidfd, kinds)
    os.close(pidfd)


def open_root(target: dict[str, Any]) -> int:
    """The root of a container without namespaces, open."""
    with step("joining the container"):
        root = os.open(f"/proc/{target['pid']}/root", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        os.close(target["pidfd"])
        return root


def _differs(pid: int, kind: str) -> bool:
    try:
        ours, theirs = os.stat(f"/proc/self/ns/{kind}"), os.stat(f"/proc/{pid}/ns/{kind}")  # noqa: PTH116 - pathlib is slow to import
    except FileNotFoundError:
        if os.path.exists(f"/proc/self/ns/{kind}"):  # noqa: PTH110 - as above
            raise Failed("setup-failed", step="joining the container", reason="it has just ended") from None
        return False  # a kernel without them
    return ours.st_ino != theirs.st_ino


def _join_control_groups(pid: int) -> None:
    ours, theirs = _control_groups("self"), _control_groups(str(pid))
    for controllers, path in theirs.items():
        if ours.get(controllers) == path:
            continue
        place = f"/sys/fs/cgroup/{controllers.removeprefix('name=')}{path}/cgroup.procs"
        try:
            with open(place, "w") as file:  # noqa: PTH123 - as above
                file.write("0")
        except OSError as error:
            if error.errno != errno.ENOENT:
                raise


def _control_groups(process: str) -> dict[str, str]:
    """Paths by controllers; those of the unified hierarchy have the empty name."""
    with open(f"/proc/{process}/cgroup") as file:  # noqa: PTH123 - as above
        fields = [line.rstrip("\n").split(":", 2) for line in file]
    return {controllers: path for _, controllers, path in fields}
