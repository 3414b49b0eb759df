"""Layers merged into one tree, for where overlayfs cannot be had."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

from aiodocker_lite import syscalls
from aiodocker_lite.errors import EngineError, StoreUnwritable, from_message, to_message
from aiodocker_lite.removal import remove_directory
from aiodocker_lite.snapshot.merge import merge
from aiodocker_lite.snapshot.node import DIRECTORY, opened
from aiodocker_lite.snapshot.plan import RootfsPlan, store_errors

_START = (
    "import sys; sys.path.insert(0, sys.argv[1]); from aiodocker_lite.snapshot.flatten import main; main()"
)
_PACKAGE_PARENT = str(Path(__file__).parents[2])


def flatten(plan: RootfsPlan) -> None:
    """Merge the layers of a plan without overlay into its root; blocking, and long for large images.

    The tree is what overlayfs would show. Files are reflinked where the file system can, and else
    copied, holes kept. The tree is whole or absent, and one that is there is left alone.
    Raises DiskFull, StoreUnwritable.
    """
    assert plan.upper is None
    if plan.root.exists():
        return
    if os.geteuid() == 0:
        _flatten(plan)
    else:
        _flatten_in_a_user_namespace(plan)


def _flatten(plan: RootfsPlan) -> None:
    partial, links = (plan.root.with_name(f"{plan.root.name}.{what}") for what in ("partial", "links"))
    with store_errors(plan.root), opened(plan.root.parent, DIRECTORY) as parent:
        for path in (partial, links):
            remove_directory(path.name, parent)
            path.mkdir(mode=0o700)
        if plan.lowers:
            merge(plan.lowers, partial, links, plan.model or plan.lowers[-1])
        remove_directory(links.name, parent)
        partial.rename(plan.root)


def _flatten_in_a_user_namespace(plan: RootfsPlan) -> None:
    """An ordinary user cannot read all that he owns, but can in a user namespace, as in a container.

    It takes a process of its own, for one with threads cannot go there.
    """
    command = [sys.executable, "-I", "-S", "-c", _START, _PACKAGE_PARENT]
    with store_errors(plan.root):
        done = subprocess.run(
            [*command, str(plan.root), str(plan.model or ""), *map(str, plan.lowers)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            check=False,
        )
    if done.stdout:
        raise from_message(json.loads(done.stdout))
    if done.returncode:
        raise StoreUnwritable(str(plan.root), f"merging the layers ended with status {done.returncode}")


def main() -> None:
    """Flatten the plan in `sys.argv`: root, model, layers; an error goes to standard output."""
    syscalls.prctl(syscalls.PR_SET_PDEATHSIG, signal.SIGKILL)
    _ignore_modes()
    root, model, *layers = sys.argv[2:]
    try:
        _flatten(RootfsPlan(Path(root), tuple(map(Path, layers)), model=Path(model) if model else None))
    except EngineError as error:
        os.write(1, json.dumps(to_message(error)).encode())


def _ignore_modes() -> None:
    """Be one's own root, with the same numbers; where that is not permitted, modes count.

    A step half-way does no harm: whoever has no number in a namespace still owns what he owns.
    """
    user, group = os.geteuid(), os.getegid()
    refused = (errno.EPERM, errno.EACCES, errno.ENOSYS, errno.EINVAL, errno.ENOSPC, errno.EUSERS)
    try:
        syscalls.unshare(syscalls.CLONE_NEWUSER)
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
        Path("/proc/self/gid_map").write_text(f"{group} {group} 1")
    except OSError as error:
        if error.errno not in refused:
            raise
