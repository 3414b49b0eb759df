"""The Python that becomes a container: started bare, and from a file that the container cannot change.

Until a container's command is executed, this interpreter is `/proc/self/exe`. An image whose
command leads there gets hold of the file, and root in the container could then change the
interpreter of the host (CVE-2019-5736, X01). So it is executed from a read-only mount that is
attached nowhere, or where that is not allowed, from a sealed copy in memory.
"""

from __future__ import annotations

import errno
import fcntl
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from aiodocker_lite import syscalls

_MFD_EXEC = 0x10
_F_ADD_SEALS = 1033
_ALL_SEALS = 0x1 | 0x2 | 0x4 | 0x8
_PACKAGE = Path(__file__).parents[1]
# Modules of this package are found, but its own `__init__` is not run: it is for people, and slow.
_PREPARE = (
    f"import sys; package = sys.modules[{_PACKAGE.name!r}] = type(sys)({_PACKAGE.name!r}); "
    "package.__path__ = [sys.argv.pop(1)]; "
)


@dataclass(frozen=True, slots=True)
class Interpreter:
    """How to start a Python that knows this package and has nothing of the caller's environment."""

    file: str
    fd: int
    """To be passed on to the process, which may close it; -1 if there is none."""

    def command(self, code: str, *arguments: str) -> list[str]:
        """The command line for this program, which finds its arguments in `sys.argv[1:]`."""
        return [
            self.file, "-S", "-s", "-P", "-X", "utf8", "-c", _PREPARE + code, str(_PACKAGE), *arguments
        ]  # fmt: skip

    @property
    def environment(self) -> dict[str, str]:
        """Where its standard library is, which it cannot know from a file without a place."""
        prefixes = dict.fromkeys((sys.base_prefix, sys.base_exec_prefix))
        libraries = [f"{sys.base_exec_prefix}/lib", *os.environ.get("LD_LIBRARY_PATH", "").split(":")]
        return {
            "PYTHONHOME": ":".join(prefixes),
            "LD_LIBRARY_PATH": ":".join(part for part in libraries if part),
        }


def plain_interpreter() -> Interpreter:
    """This process's interpreter as it is."""
    return Interpreter(os.path.realpath(sys.executable), -1)


@contextmanager
def guarded_interpreter() -> Iterator[Interpreter]:
    """This process's interpreter, from a file that nobody can change; it can be started in the block."""
    plain = plain_interpreter()
    if not _is_changeable(plain.file):
        yield plain
        return
    fd = _read_only_mount(plain.file)
    if fd is None:
        fd = _sealed_copy(plain.file)
    try:
        yield Interpreter(f"/proc/self/fd/{fd}", fd)
    finally:
        os.close(fd)


def _is_changeable(file: str) -> bool:
    # Who owns a file may make it writable first.
    return os.access(file, os.W_OK) or Path(file).stat().st_uid == os.geteuid()


def _read_only_mount(file: str) -> int | None:
    try:
        tree = syscalls.open_tree(syscalls.AT_FDCWD, file, syscalls.OPEN_TREE_CLONE)
    except OSError:  # not permitted, or not known; a copy is only slower
        return None
    try:
        syscalls.mount_setattr(tree, b"", syscalls.AT_EMPTY_PATH, syscalls.MOUNT_ATTR_RDONLY)
    except OSError:
        os.close(tree)
        return None
    return tree


def _sealed_copy(file: str) -> int:
    copy = _memory_file()
    try:
        with Path(file).open("rb") as original:
            while os.sendfile(copy, original.fileno(), None, 1 << 30):
                pass
        fcntl.fcntl(copy, _F_ADD_SEALS, _ALL_SEALS)
        # What is open for writing cannot be executed.
        return os.open(f"/proc/self/fd/{copy}", os.O_RDONLY | os.O_CLOEXEC)
    finally:
        os.close(copy)


def _memory_file() -> int:
    flags = os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING
    try:
        return os.memfd_create("aiodocker-lite", flags | _MFD_EXEC)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        return os.memfd_create("aiodocker-lite", flags)  # before Linux 6.3
