"""Take rights away, truly, and then execute a command: cage.py RIGHTS COMMAND...

ordinary-user   another user than root, in none of root's groups
root-of-little  root without CAP_SYS_ADMIN
chroot          the same, where nobody may make a user namespace
nothing         an ordinary user, where nobody may make a user namespace
one-id          root of a user namespace in which there is no other id
one-id-chroot   the same without CAP_SYS_ADMIN, where nobody may make a user namespace
one-id-nothing  the same without CAP_SYS_CHROOT

After RIGHTS may come a colon and a line of /etc/subuid and /etc/subgid, which are this line then;
with a second colon before it, newgidmap is a program that fails.

Has to be started as root. The interpreter may be in a directory that only root can enter: it is
then shown at the same path, in a mount namespace of this process.
"""

from __future__ import annotations

import os
import shutil
import stat
import sys
import tempfile
from pathlib import Path

from aiodocker_lite import syscalls

NOBODY = 65534
_CAP_SYS_CHROOT, _CAP_SYS_ADMIN = 18, 21


def show(paths: list[Path]) -> None:
    """Make these directories reachable for everybody."""
    syscalls.unshare(syscalls.CLONE_NEWNS)
    syscalls.mount(None, "/", None, syscalls.MS_REC | syscalls.MS_PRIVATE)
    closed: dict[Path, dict[Path, int]] = {}
    for path in paths:
        if any(other in path.parents for other in paths):
            continue  # it comes with the other
        barrier = next((p for p in reversed(path.parents) if not p.stat().st_mode & stat.S_IXOTH), None)
        if barrier is not None:
            flags = syscalls.OPEN_TREE_CLONE | syscalls.AT_RECURSIVE
            closed.setdefault(barrier, {})[path] = syscalls.open_tree(syscalls.AT_FDCWD, str(path), flags)
    for barrier, trees in closed.items():
        syscalls.mount("tmpfs", str(barrier), "tmpfs", 0, "mode=755")
        for path, tree in trees.items():
            path.mkdir(parents=True, exist_ok=True)
            syscalls.move_mount(tree, os.open(path, os.O_PATH))


def show_python() -> None:
    """Make this interpreter and this checkout reachable for everybody."""
    show([Path(sys.base_prefix), Path(sys.prefix), Path(__file__).parents[2]])


def forbid_user_namespaces() -> None:
    """Go into a user namespace with the same ids, in which no other can be made."""
    ready, go = os.pipe(), os.pipe()
    parent = os.getpid()
    child = os.fork()
    if child == 0:
        os.read(ready[0], 1)
        for name in ("uid_map", "gid_map"):
            Path(f"/proc/{parent}/{name}").write_text("0 0 4294967295")
        os.write(go[1], b"!")
        os._exit(0)
    syscalls.unshare(syscalls.CLONE_NEWUSER)
    os.write(ready[1], b"!")
    os.read(go[0], 1)
    os.waitpid(child, 0)
    Path("/proc/sys/user/max_user_namespaces").write_text("0")


def keep_one_id() -> None:
    """Go into a user namespace as its root, as `unshare -U -r` does."""
    syscalls.unshare(syscalls.CLONE_NEWUSER)
    for name, text in (("setgroups", "deny"), ("uid_map", "0 0 1"), ("gid_map", "0 0 1")):
        Path(f"/proc/self/{name}").write_text(text)


def grant(line: str) -> None:
    """Have this line in the files of subordinate ids, in this mount namespace."""
    with tempfile.NamedTemporaryFile("w") as file:
        file.write(f"{line.removeprefix(':')}\n")
        file.flush()
        os.chmod(file.name, 0o644)  # noqa: PTH101
        for path in ("/etc/subuid", "/etc/subgid"):
            syscalls.mount(file.name, path, None, syscalls.MS_BIND)
    if line.startswith(":"):
        syscalls.mount(shutil.which("false") or "", "/usr/bin/newgidmap", None, syscalls.MS_BIND)


def become_nobody() -> None:
    os.setgroups([])
    os.setresgid(NOBODY, NOBODY, NOBODY)
    os.setresuid(NOBODY, NOBODY, NOBODY)


def main(rights: str, command: list[str]) -> None:
    show_python()
    rights, _, line = rights.partition(":")
    if line:
        grant(line)
    if rights.startswith("one-id"):
        keep_one_id()
    if rights in ("one-id-chroot", "one-id-nothing"):
        Path("/proc/sys/user/max_user_namespaces").write_text("0")
    if rights in ("chroot", "nothing"):
        forbid_user_namespaces()
    if rights in ("ordinary-user", "nothing"):
        become_nobody()
    if rights in ("chroot", "root-of-little", "one-id-chroot", "one-id-nothing"):
        syscalls.prctl(syscalls.PR_CAPBSET_DROP, _CAP_SYS_ADMIN)
    if rights == "one-id-nothing":
        syscalls.prctl(syscalls.PR_CAPBSET_DROP, _CAP_SYS_CHROOT)
    os.execv(command[0], command)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
