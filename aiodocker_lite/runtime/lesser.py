"""What can be done without namespaces: a chroot, or not even that. Neither is a safe place.

The root is a tree of its own in the container's directory then, so files can be put into it as
they are; mounts of any kind are out of reach.
"""

from __future__ import annotations

import os
import stat

from aiodocker_lite import syscalls
from aiodocker_lite.runtime import devices
from aiodocker_lite.runtime.command import candidates
from aiodocker_lite.runtime.inside import directory_inside, file_inside, open_inside
from aiodocker_lite.runtime.report import Failed, step

TYPE_CHECKING = False  # `typing` is slow to import
if TYPE_CHECKING:
    from typing import Any

_KILL = 9
_LIBRARIES = ("lib64", "usr/lib64", "lib", "usr/lib", "usr/local/lib")
_PROGRAM_INTERPRETER = 3


def adopt_orphans() -> None:
    """What loses its parent becomes a child of this process: no pid namespace ends with the container."""
    syscalls.prctl(syscalls.PR_SET_CHILD_SUBREAPER, 1)


def end_orphans() -> None:
    """Kill what the container's process has left behind; what may not be killed is left."""
    try:
        while found := _children():
            for pid in found:
                os.kill(pid, _KILL)
            for _ in found:
                os.waitpid(-1, 0)
    except OSError:
        return


def _children() -> list[int]:
    found = []
    for name in os.listdir("/proc"):  # noqa: PTH208 - pathlib is slow to import
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat") as file:  # noqa: PTH123 - as above
                    parent = file.read().rpartition(")")[2].split()[1]
            except OSError:  # it has just ended
                continue
            if int(parent) == os.getpid():
                found.append(int(name))
    return found


def open_tree_of(rootfs: dict[str, Any]) -> int:
    """Open the root of a plan without overlay."""
    with step("opening the root file system"):
        return os.open(rootfs["root"], os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)


def copy_files(root: int, mounts: list[dict[str, Any]]) -> None:
    """What would be bound over the image's files, such as /etc/hosts, is written into the tree (X17)."""
    for mount in mounts:
        if mount["type"] != "bind" or not mount["destination"].startswith("/etc/"):
            continue
        with step(f"writing {mount['destination']}"):
            source = os.open(mount["source"], os.O_RDONLY | os.O_CLOEXEC)
            os.close(file_inside(root, mount["destination"]))
            flags = os.O_WRONLY | os.O_TRUNC | os.O_NONBLOCK | os.O_NOCTTY
            target = open_inside(root, mount["destination"], flags)
            if stat.S_ISREG(os.fstat(target).st_mode):
                while os.sendfile(target, source, None, 1 << 20):
                    pass
            os.close(source)
            os.close(target)


def enter_chroot(root: int) -> None:
    """Make the tree this process's root, with device nodes where they may be made."""
    with step("making device nodes"):
        directory = directory_inside(root, "/dev")
        for name in devices.NODES:
            _unlink(name, directory)
            devices.make_node(name, directory)
        os.close(directory)
    change_root(root)


def change_root(root: int) -> None:
    """Make an open directory this process's root."""
    with step("changing the root directory"):
        os.fchdir(root)
        os.chroot(".")
        os.chdir("/")


def outside_command(
    root: int, arguments: list[str], environment: dict[str, str]
) -> tuple[list[str], list[str], dict[str, str]]:
    """A command of the image as the host can execute it: its file, arguments and environment.

    Its libraries are the image's, and so is its loader where it names one; what it starts itself
    finds the image's programs by PATH, and the host's by absolute names.
    """
    top = _path_of(root)
    inside = environment.get("PATH", "")
    file = _find(root, arguments[0], inside)
    path = ":".join(f"{top}{part}" for part in inside.split(":") if part.startswith("/"))
    libraries = ":".join(f"{top}/{part}" for part in _LIBRARIES)
    environment = {**environment, "PATH": path, "LD_LIBRARY_PATH": libraries}
    loader = _loader(root, file)
    if loader is None:
        return [file], arguments, environment
    return [loader], [loader, "--argv0", arguments[0], file, *arguments[1:]], environment


def _find(root: int, name: str, path: str) -> str:
    for candidate in candidates(name, path):
        try:
            found = open_inside(root, candidate, os.O_PATH)
        except OSError:
            continue
        return _path_of(found)
    raise Failed("command-not-found", command=name, reason="executable file not found in the image")


def _loader(root: int, file: str) -> str | None:
    """The program interpreter that an ELF file names, as a path of the host, if the image has it."""
    try:
        with open(file, "rb") as program:  # noqa: PTH123 - pathlib is slow to import
            header = program.read(64)
            if header[:5] != b"\x7fELF\x02" or header[5] != 1:
                return None
            offset, size, count = (
                int.from_bytes(header[start:end], "little") for start, end in ((32, 40), (54, 56), (56, 58))
            )
            program.seek(offset)
            table = program.read(size * count)
            for entry in (table[i : i + size] for i in range(0, len(table), size or 1)):
                if int.from_bytes(entry[:4], "little") == _PROGRAM_INTERPRETER:
                    program.seek(int.from_bytes(entry[8:16], "little"))
                    name = program.read(min(int.from_bytes(entry[32:40], "little"), 4096))
                    return _path_of(open_inside(root, os.fsdecode(name.rstrip(b"\0")), os.O_PATH))
    except (OSError, ValueError):
        return None  # executing it says what is wrong
    return None


def _path_of(fd: int) -> str:
    return os.readlink(f"/proc/self/fd/{fd}")  # noqa: PTH115 - pathlib is slow to import


def _unlink(name: str, directory: int) -> None:
    try:
        os.unlink(name, dir_fd=directory)
    except FileNotFoundError:
        return
