"""A container that another OCI runtime (crun, runc, youki) makes, in namespaces that are ours.

This process is the keeper, the first of a pid namespace around the container's: the runtime, the container and
whatever either leaves behind end with it, and so does the container when an engine is killed. It mounts the root
and what a user wants to have in it by our own code, which trusts nothing of the image, and leaves
kernel file systems, masks, namespaces, rights and filters to the runtime (runtime.md: create, then start).
Control groups are the engine's: they are read-only here, and the runtime leaves alone what it cannot write.
"""

from __future__ import annotations

import _socket
import array
import errno
import os

from aiodocker_lite import syscalls
from aiodocker_lite.runtime import console, identity, mounts, rehearsal
from aiodocker_lite.runtime.inside import directory_inside
from aiodocker_lite.runtime.report import Engine, Failed, frame_of, step

TYPE_CHECKING = False  # `typing` is slow to import
if TYPE_CHECKING:
    from typing import Any, NoReturn

_KILL = 9
_KERNELS = ("/dev", "/proc", "/sys")
_GROUPS = "/sys/fs/cgroup"
_QUIET = ["nosuid", "noexec", "nodev"]
_NAME = "container"
_LOG_MAX = 1 << 16
_DESCRIPTORS_MAX = 64


def hand_over(job: dict[str, Any], engine: Engine) -> NoReturn:
    """Have the runtime start the container, and end with its exit code. Raises Failed."""
    spec, process = job["spec"], job["spec"]["process"]
    # Nobody inside may look into this process (X01).
    syscalls.prctl(syscalls.PR_SET_DUMPABLE, 0)
    root = _make_root(job, spec)
    groups = _open_groups(job.get("cgroups", ()))
    with step("making control groups read-only"):
        _hide_groups()
    cwd = _resolve(root, job["rootfs"]["root"], process["cwd"])
    passwd, group = (identity.read_accounts(root, f"/etc/{name}") for name in ("passwd", "group"))
    answer = engine.ask(
        passwd, group, say="find-user", user=process["user"].get("username", ""), cwd=cwd
    )  # fmt: skip
    rehearsal.rehearse(root, process, answer, cwd)
    os.close(root)
    pid = _create(job, engine, answer["config"], groups)
    _close_gaps(pid, spec)
    _call(job, ["start", _NAME])
    engine.say(say="executing")
    engine.close()
    _be_nobody()
    os.chdir("/")
    os._exit(_wait_for(pid))


# --- what is there before the runtime comes --------------------------------------------------


def is_of_kernel(mount: dict[str, Any]) -> bool:
    """The runtime makes it: it is of a file system that the runtime makes, or below one."""
    target = mount["destination"]
    return any(target == place or target.startswith(f"{place}/") for place in _KERNELS)


def _make_root(job: dict[str, Any], spec: dict[str, Any]) -> int:
    with step("creating namespaces"):
        syscalls.unshare(syscalls.CLONE_NEWNS)
    root = mounts.mount_root(job["rootfs"])
    for place in _KERNELS:
        with step(f"mounting {place}"):
            os.close(mounts.kernel_directory(root, place))
    mounts.mount_all(root, [mount for mount in spec["mounts"] if not is_of_kernel(mount)])
    with step("mounting /proc"):
        # The runtime looks for itself by its number here.
        mounts.mount_new("proc", _QUIET, "/proc")
    with step("giving the runtime a place"):
        place = job["runtime"]["place"]
        if not os.path.isdir(place):  # noqa: PTH112 - pathlib is slow to import
            os.mkdir(place, 0o700)  # noqa: PTH102
        # In memory, for who can see these mounts only, and gone with them.
        mounts.mount_new("tmpfs", [*_QUIET, "mode=0700"], place)
        os.chdir(place)
    return root


def _open_groups(files: list[str]) -> list[int]:
    """Where the container joins its control groups, by a mount that stays writable."""
    if not files:
        return []
    with step("opening control groups"):
        tree = syscalls.open_tree(
            syscalls.AT_FDCWD, _GROUPS, syscalls.OPEN_TREE_CLONE | syscalls.AT_RECURSIVE
        )
        found = [os.open(file.removeprefix(f"{_GROUPS}/"), os.O_WRONLY, dir_fd=tree) for file in files]
        os.close(tree)
        return found


def _hide_groups() -> None:
    unified = f"{_GROUPS}/unified"
    if os.path.isdir(unified):  # noqa: PTH112 - pathlib is slow to import
        # crun refuses hierarchies of both versions, whatever is in them.
        mounts.mount_new("tmpfs", [*_QUIET, "mode=0555"], unified)
    if os.path.ismount(_GROUPS):
        read_only = syscalls.MOUNT_ATTR_RDONLY
        syscalls.mount_setattr(syscalls.AT_FDCWD, _GROUPS, syscalls.AT_RECURSIVE, read_only)


def _resolve(root: int, top: str, path: str) -> str:
    """The working directory, made where it is missing, without links: nothing is left to be followed (X02)."""
    with step(f"entering the working directory {path}"):
        found = path
        if not path.startswith(("/dev/", "/proc/", "/sys/")):
            place = directory_inside(root, path)
            found = os.readlink(f"/proc/self/fd/{place}").removeprefix(top.rstrip("/")) or "/"  # noqa: PTH115
            os.close(place)
        if found.startswith("/proc/"):
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path[1:])
        return found


# --- the runtime -----------------------------------------------------------------------------


def _create(job: dict[str, Any], engine: Engine, config: bytes, groups: list[int]) -> int:
    """Have everything made but the command executed; returns the number of the first process."""
    process = job["spec"]["process"]
    with step("writing the bundle"):
        with open("config.json", "wb") as file:  # noqa: PTH123 - pathlib is slow to import
            file.write(config)
        listener = _listen() if process["terminal"] else None
    options = ["--console-socket", "console"] if listener else []
    _call(job, ["create", "--bundle", ".", "--pid-file", "pid", *options, _NAME], groups)
    with step("looking for the container"):
        with open("pid") as file:  # noqa: PTH123 - as above
            pid = int(file.read())
        if listener:
            master = _received(listener)
            if size := process.get("consoleSize"):
                console.resize(master, size)
            console.send(engine.fd, master)
        pidfd = os.pidfd_open(pid)
        sock = _socket.socket(fileno=engine.fd)
        rights = array.array("i", [pidfd])
        sock.sendmsg([frame_of(say="first-process")], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, rights)])
        sock.detach()
        os.close(pidfd)
    return pid


def _close_gaps(pid: int, spec: dict[str, Any]) -> None:
    """What a runtime leaves open is closed before anything executes, from inside of the container's mounts.

    crun lets go of the root's attributes, and nodes in an image would be the host's devices (X04); the directory
    of control groups stays writable.
    """
    child = os.fork()
    if child == 0:
        code = 1
        try:
            space = os.open(f"/proc/{pid}/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
            syscalls.setns(space, syscalls.CLONE_NEWNS)
            syscalls.mount_setattr(syscalls.AT_FDCWD, "/", 0, syscalls.MOUNT_ATTR_NODEV)
            for mount in spec["mounts"]:
                if mount["type"] == "cgroup" and "ro" in mount["options"]:
                    syscalls.mount_setattr(
                        syscalls.AT_FDCWD, mount["destination"], 0, syscalls.MOUNT_ATTR_RDONLY
                    )
            code = 0
        finally:
            os._exit(code)
    if code := _wait_for(child):
        reason = f"a process that does so ended with status {code}"
        raise Failed("setup-failed", step="making the root file system safe", reason=reason)


def _listen() -> _socket.socket:
    listener = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    listener.bind("console")
    listener.listen(1)
    return listener


def _received(listener: _socket.socket) -> int:
    """The descriptor that was sent; it waits in a connection that nobody has taken yet."""
    listener.setblocking(False)
    fd, _ = listener._accept()  # type: ignore[attr-defined] # the module `socket` is slow to import
    connection = _socket.socket(fileno=fd)
    _, ancillary, _, _ = connection.recvmsg(4096, _socket.CMSG_SPACE(4 * _DESCRIPTORS_MAX))
    connection.close()
    listener.close()
    descriptors = array.array("i")
    for _, _, data in ancillary:
        descriptors.frombytes(data[: len(data) // 4 * 4])
    if len(descriptors) != 1:
        raise OSError(0, "the runtime has sent no terminal")
    os.set_inheritable(descriptors[0], False)
    return descriptors[0]


def _call(job: dict[str, Any], words: list[str], groups: list[int] | None = None) -> None:
    """Call the runtime and wait for its end; what becomes the container has our streams, and these control groups.

    Raises Failed with what it complains of.
    """
    runtime = job["runtime"]
    child = os.fork()
    if child == 0:
        try:
            syscalls.prctl(syscalls.PR_SET_PDEATHSIG, _KILL)
            if groups is None:
                _be_nobody()
            for group in groups or ():
                os.write(group, b"0")
            syscalls.close_range(3, 2**32 - 1, syscalls.CLOSE_RANGE_CLOEXEC)
            arguments = [runtime["program"], *runtime["options"], "--root", "state", "--log", "log", *words]
            os.execve(runtime["program"], arguments, {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"})
        finally:
            os._exit(127)
    code = _wait_for(child)
    if code:
        raise Failed("setup-failed", step=f"{words[0]} with {runtime['program']}", reason=_complaint(code))


def _complaint(code: int) -> str:
    """The last line of the log that is an error: JSON, which is not parsed here, or plain text."""
    try:
        with open("log", errors="replace") as file:  # noqa: PTH123 - pathlib is slow to import
            lines = [line.strip() for line in file.read(_LOG_MAX).splitlines() if "rror" in line]
    except OSError:
        lines = []
    return lines[-1] if lines else f"it ended with status {code}"


# --- the end ---------------------------------------------------------------------------------


def _be_nobody() -> None:
    """Whoever reads the container's output waits until all have closed it."""
    null = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(null, fd)


_ended: dict[int, int] = {}
"""How others have ended while somebody was waited for: a container may be quicker than who starts it."""


def _wait_for(pid: int) -> int:
    """The exit code of a process."""
    while pid not in _ended:
        found, status = os.waitpid(-1, 0)
        _ended[found] = 128 + os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
    return _ended.pop(pid)
