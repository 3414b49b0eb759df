"""What the kernel shows of some layers, next to the tree that we make of them where it cannot."""

from __future__ import annotations

import os
import pickle
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest

from aiodocker_lite import syscalls
from aiodocker_lite.removal import remove_directory
from aiodocker_lite.runtime.mounts import mount_overlay
from aiodocker_lite.snapshot import RootfsPlan, flatten, plan_rootfs
from tests.fakes.trees import Node, read_tree
from tests.runtime.cage import NOBODY, become_nobody, show_python

T = TypeVar("T")
Layers = Callable[[Path], list[Path]]
"""Makes the directories of some layers below a directory, and returns them, lowest first."""

USERS = [
    pytest.param(0, id="root", marks=pytest.mark.skipif(os.geteuid() != 0, reason="needs uid 0")),
    pytest.param(
        NOBODY, id="ordinary-user", marks=pytest.mark.skipif(os.geteuid() != 0, reason="needs uid 0")
    ),
]
"""For parametrize: both who have overlays of their own."""


def as_user(user: int, do: Callable[[Path], T]) -> T:
    """Call something in a process of this user, with a directory of his that is removed afterwards.

    Nothing that it changes about itself, or mounts, outlasts it.
    """
    base = Path(tempfile.mkdtemp(prefix="o"))
    os.chown(base, user, user)
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.close(read)
            show_python()
            _put_in_memory(base, user)
            if user:
                become_nobody()
                syscalls.prctl(syscalls.PR_SET_DUMPABLE, 1)  # else /proc/self is root's
            answer = pickle.dumps((do(base), None))
        except BaseException as error:
            error.add_note(f"in a process of user {user}")
            answer = pickle.dumps((None, error))
        with os.fdopen(write, "wb") as file:
            file.write(answer)
        os._exit(0)
    os.close(write)
    try:
        with os.fdopen(read, "rb") as file:
            answer = file.read()
        assert os.waitpid(pid, 0)[1] == 0
    finally:
        parent = os.open(base.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        remove_directory(base.name, parent)
        os.close(parent)
    result, problem = pickle.loads(answer)
    if problem is not None:
        raise problem
    return result  # type: ignore[no-any-return]


def _put_in_memory(base: Path, user: int) -> None:
    """A quick file system, which before Linux 6.6 lacks the attributes of ordinary users."""
    syscalls.mount("tmpfs", str(base), "tmpfs", 0, f"mode=755,uid={user},gid={user}")
    try:
        os.setxattr(base, "user.tried", b"")
        os.removexattr(base, "user.tried")
    except OSError:
        syscalls.umount2(str(base), 0)


def overlay_and_tree(make: Layers, user: int) -> tuple[dict[bytes, Node], dict[bytes, Node]]:
    """The mounted overlay of these layers, and the tree of `flatten`, as this user's container sees them."""

    def both(base: Path) -> tuple[dict[bytes, Node], dict[bytes, Node]]:
        layers = make(base)
        (base / "flat").mkdir()
        flat = plan_rootfs(layers, base / "flat", overlay=False)
        flatten(flat)
        assert sorted(path.name for path in (base / "flat").iterdir()) == ["rootfs"]
        (base / "mounted").mkdir()
        plan = plan_rootfs(layers, base / "mounted", overlay=True)
        enter_namespaces()
        mount_plan(plan, user_namespace=user != 0)
        return read_tree(plan.root), read_tree(flat.root)

    return as_user(user, both)


def enter_namespaces() -> None:
    """Mounts of one's own; for an ordinary user as root of a user namespace."""
    user, group = os.geteuid(), os.getegid()
    if user:
        syscalls.unshare(syscalls.CLONE_NEWUSER | syscalls.CLONE_NEWNS)
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"0 {user} 1")
        Path("/proc/self/gid_map").write_text(f"0 {group} 1")
    else:
        syscalls.unshare(syscalls.CLONE_NEWNS)
    syscalls.mount(None, "/", None, syscalls.MS_REC | syscalls.MS_PRIVATE)


def mount_plan(plan: RootfsPlan, *, user_namespace: bool) -> None:
    """Mount the overlay of a plan, in this mount namespace."""
    place = os.open(plan.root, os.O_PATH | os.O_DIRECTORY)
    rootfs = {"upper": plan.upper, "work": plan.work, "lowers": plan.lowers, "userxattr": user_namespace}
    mount_overlay(rootfs, place)
    os.close(place)
