"""A container's first process, and the two that watch over it: the order of every step.

`launch` starts this in a Python of its own. Three processes follow one another, each the parent
of the next, each killed by the kernel when its parent dies:

    the starter    makes the user namespace, waits, ends with the exit code of the container
    the keeper     the first process of a pid namespace around the container's: when it is gone, the
                   kernel kills whatever is left, whoever that has become meanwhile
    the first      makes the file system, gives up rights, becomes the command; process 1 inside

Without namespaces there is no keeper. A process that joins a container that runs (`exec`) is the first of
a job with a ``target``: it has a starter and no keeper, and takes the root that is there. `job` comes from the engine as `marshal`; answers go to it
by `report`.
"""

from __future__ import annotations

import marshal
import os
import sys

from aiodocker_lite import syscalls
from aiodocker_lite.runtime import command, devices, identity, joining, lesser, limits, mounts, reaper
from aiodocker_lite.runtime.report import Engine, Failed, reason_of, step

TYPE_CHECKING = False  # `typing` is slow to import
if TYPE_CHECKING:
    from types import ModuleType
    from typing import Any, NoReturn

_OWN = {
    "mount": syscalls.CLONE_NEWNS,
    "uts": syscalls.CLONE_NEWUTS,
    "ipc": syscalls.CLONE_NEWIPC,
    "cgroup": syscalls.CLONE_NEWCGROUP,
}
"""Namespaces that the first process makes; those of users and processes are there by then."""
_KILL = 9
_ENGINE_FAILED = 125


def main(engine_fd: int, job_fd: int, python_fd: int) -> NoReturn:
    """Start what the job says and end with its exit code; what fails goes to the engine."""
    engine = Engine(engine_fd)
    try:
        if python_fd >= 0:
            os.close(python_fd)  # this program's own file, which is open enough
        with open(job_fd, "rb") as file:
            job = marshal.load(file)
        _start(job, engine)
    except Failed as failed:
        engine.fail(failed)
    except BaseException as error:  # a bug of ours must not get lost, nor be printed by a container
        engine.fail(Failed("setup-failed", step="preparing it", reason=reason_of(error)))
    finally:
        os._exit(_ENGINE_FAILED)


def _start(job: dict[str, Any], engine: Engine) -> NoReturn:
    syscalls.reset_signals()
    os.umask(0o022)
    with open("/proc/self/comm", "w") as name:  # noqa: PTH123 - pathlib is slow to import
        name.write("adl-watch")  # in lists of processes it would have the number of a descriptor
    console = _console_for(job["spec"]["process"])
    own = {space["type"]: space for space in job["spec"]["linux"]["namespaces"]}
    if "network" in own:
        from aiodocker_lite.runtime import loopback
    if "runtime" in job:
        from aiodocker_lite.runtime import handover
    # What is imported from here on would be the image's, sooner or later.
    sys.path.clear()
    sys.meta_path.clear()
    _die_with_parent()
    if os.getppid() != job["parent"]:
        os._exit(_ENGINE_FAILED)
    if "target" in job:
        _join(job, engine, console)
    if job["rung"] == "user-namespaces":
        with step("creating a user namespace"):
            if not _enter(own["user"], syscalls.CLONE_NEWUSER):
                syscalls.unshare(syscalls.CLONE_NEWUSER)
                engine.ask(say="write-id-maps")
        _die_with_parent()  # new credentials made the kernel forget it
    if "network" in own:
        with step("creating a network namespace"):
            if not _enter(own["network"], syscalls.CLONE_NEWNET):
                syscalls.unshare(syscalls.CLONE_NEWNET)
                loopback.bring_up()
                # Here and not later: nobody but the kernel can look into what comes after this process.
                engine.ask(say="connect")
    if _has_namespaces(job):
        with step("creating a pid namespace"):
            syscalls.unshare(syscalls.CLONE_NEWPID)
        _fork_and_wait(engine)
        if "runtime" in job:
            handover.hand_over(job, engine)
        with step("creating a pid namespace"):
            syscalls.unshare(syscalls.CLONE_NEWPID)
    parent = _fork_and_wait(engine, adopts=not _has_namespaces(job))
    _become_container(job, engine, parent, console)


def _enter(namespace: dict[str, Any], kind: int) -> bool:
    """Enter the namespace that is named, if one is."""
    if "path" not in namespace:
        return False
    fd = os.open(namespace["path"], os.O_RDONLY | os.O_CLOEXEC)
    syscalls.setns(fd, kind)
    os.close(fd)
    return True


def _join(job: dict[str, Any], engine: Engine, console: ModuleType | None) -> NoReturn:
    # Nobody inside may look into this process when it comes (X01).
    syscalls.prctl(syscalls.PR_SET_DUMPABLE, 0)
    if _has_namespaces(job):
        joining.join(job["target"])
        syscalls.prctl(syscalls.PR_SET_DUMPABLE, 0)
        _die_with_parent()  # new credentials made the kernel forget both
    parent = _fork_and_wait(engine, adopts=not _has_namespaces(job))
    _become_container(job, engine, parent, console)


def _console_for(process: dict[str, Any]) -> ModuleType | None:
    if not process["terminal"]:
        return None
    from aiodocker_lite.runtime import console

    return console


def _has_namespaces(job: dict[str, Any]) -> bool:
    return job["rung"] in ("namespaces", "user-namespaces")


def _die_with_parent() -> None:
    syscalls.prctl(syscalls.PR_SET_PDEATHSIG, _KILL)


def _fork_and_wait(engine: Engine, *, adopts: bool = False) -> int:
    """Return in a child that dies with this process; this process ends as the child ends.

    The child gets a descriptor that shows end of file once its parent is dead, for the signal may
    be asked for too late. With `adopts`, this process does what the end of a pid namespace would.
    """
    if adopts:
        lesser.adopt_orphans()
    watch, held = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(held)
        os.set_blocking(watch, False)
        _die_with_parent()
        _end_if_orphaned(watch)
        return watch
    # Whoever reads the container's output waits until all have closed it.
    engine.close()
    null = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    os.chdir("/")
    _, status = os.waitpid(child, 0)
    if adopts:
        lesser.end_orphans()
    os._exit(128 + os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status))


def _end_if_orphaned(watch: int) -> None:
    try:
        os.read(watch, 1)
    except BlockingIOError:
        return
    os._exit(_ENGINE_FAILED)


def _become_container(
    job: dict[str, Any], engine: Engine, parent: int, console: ModuleType | None
) -> NoReturn:
    spec, process = job["spec"], job["spec"]["process"]
    limits.set_oom_score(process.get("oomScoreAdj"))
    # Before the namespace of control groups is made, for this is what it begins with.
    limits.join_groups(job["cgroups"])
    # Nobody inside may look into this process before it is theirs (X01).
    syscalls.prctl(syscalls.PR_SET_DUMPABLE, 0)
    os.setsid()  # without a terminal of its own nothing can be typed into the caller's (X18)
    permitted, keeps_groups = identity.held(), identity.keeps_groups()
    terminal = -1
    if console and not _has_namespaces(job):
        terminal = _open_terminal(console, engine, process, "/dev/ptmx")
    root = _make_root(job, spec)
    if console and terminal < 0:
        terminal = _open_terminal(console, engine, process, "/dev/pts/ptmx")
        if "target" not in job:
            console.show_as_console(root, terminal)
    user = _ask_for_user(root, engine, process["user"].get("username", ""))
    environment = command.environment_of(process["env"], user["home"])
    arguments = process["args"]
    if "target" in job:
        command.need_directory(root, process["cwd"], arguments[0])
    command.go_to(root, process["cwd"])
    if job["rung"] == "none":
        files, arguments, environment = lesser.outside_command(root, arguments, environment)
    else:
        files = command.candidates(arguments[0], environment.get("PATH", ""))
    if console:
        console.control(terminal, user["uid"])
    identity.give_up_rights(user, process, job["seccomp"], permitted=permitted, keeps_groups=keeps_groups)
    _die_with_parent()
    _end_if_orphaned(parent)
    if job["init"]:
        reaper.stay_behind(engine)
    command.close_on_execute()
    limits.set_limits(process.get("rlimits", []))
    engine.say(say="executing")
    command.execute(files, arguments, environment)


def _make_root(job: dict[str, Any], spec: dict[str, Any]) -> int:
    """Make the file system, and make it this process's; returns it open."""
    if "target" in job:
        return _root_there(job)
    if not _has_namespaces(job):
        root = lesser.open_tree_of(job["rootfs"])
        lesser.copy_files(root, spec["mounts"])
        if job["rung"] == "chroot":
            lesser.enter_chroot(root)
        return root
    own = [namespace["type"] for namespace in spec["linux"]["namespaces"]]
    with step("creating namespaces"):
        syscalls.unshare(sum(_OWN[kind] for kind in own if kind in _OWN))
    if "uts" in own:
        with step("setting the host name"):
            syscalls.sethostname(os.fsencode(spec["hostname"]))
            if domain := spec.get("domainname"):
                syscalls.setdomainname(os.fsencode(domain))
    root = mounts.mount_root(job["rootfs"])
    mounts.mount_all(root, spec["mounts"])
    devices.give(root, spec["linux"].get("devices", []))
    limits.set_sysctls(root, spec["linux"].get("sysctl", {}))
    mounts.hide(root, spec["linux"]["maskedPaths"], spec["linux"]["readonlyPaths"])
    mounts.enter(root, read_only=spec["root"]["readonly"])
    return root


def _root_there(job: dict[str, Any]) -> int:
    if _has_namespaces(job):
        return os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    if job["rung"] == "none":
        return lesser.open_tree_of(job["rootfs"])
    root = joining.open_root(job["target"])
    lesser.change_root(root)
    return root


def _open_terminal(console: ModuleType, engine: Engine, process: dict[str, Any], multiplexer: str) -> int:
    ours, terminal = console.open_terminal(multiplexer)
    if size := process.get("consoleSize"):
        console.resize(terminal, size)
    console.send(engine.fd, ours)
    return int(terminal)


def _ask_for_user(root: int, engine: Engine, text: str) -> dict[str, Any]:
    """The engine reads the files, for it is not root of anything of ours by then."""
    passwd = identity.read_accounts(root, "/etc/passwd")
    group = identity.read_accounts(root, "/etc/group")
    user: dict[str, Any] = engine.ask(
        passwd, group, say="find-user", user=text, passwd=len(passwd), group=len(group)
    )
    return user
