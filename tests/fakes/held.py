"""A program whose system calls are held up, one at a time over all its threads and children, until somebody has decided.

By seccomp's user notifications (seccomp_unotify(2)), set up by libseccomp. Unlike a tracer, which counts by
thread and by call, this sees one order of all calls, and only those that are meant: of openat(2), for
example, those that create something. Needs root, for a program that gains privileges stays what it is.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

_ALLOW, _NOTIFY = 0x7FFF0000, 0x7FC00000
_NO_NEW_PRIVS = 3
_MASKED_EQUAL = 7
_RECEIVE, _ANSWER = 0xC0502100, 0xC0182101
_CONTINUE = 1
_NOTICE = struct.Struct("=QIIiIQ6Q")
_REPLY = struct.Struct("=QqiI")
_AT = {
    # Which arguments are a directory and a name in it; the last pair is where something appears.
    **dict.fromkeys(("openat", "openat2", "mkdirat", "mknodat", "unlinkat", "fchmodat", "fchmodat2"), (0, 1)),
    **dict.fromkeys(("fchownat", "utimensat"), (0, 1)),
    **dict.fromkeys(("renameat", "renameat2", "linkat"), (2, 3)),
    "symlinkat": (1, 2),
}
_PATH = {
    **dict.fromkeys(("open", "creat", "mkdir", "rmdir", "unlink", "mknod", "truncate", "chmod", "chown"), 0),
    **dict.fromkeys(("lchown", "setxattr", "lsetxattr", "removexattr", "lremovexattr"), 0),
    **dict.fromkeys(("rename", "link", "symlink"), 1),
    "mount": 1,
}
_NOWHERE = (
    "socket",
    "socketpair",
    "pipe",
    "pipe2",
    "epoll_create1",
    "eventfd2",
    "clone",
    "clone3",
    "fork",
    "vfork",
    "dup",
)
"""Those without a file."""


@dataclass(frozen=True)
class Call:
    """A system call that is about to be made."""

    name: str
    place: str
    """The path of the file it is about, or what the kernel calls it, such as ``pipe:[1]``."""
    pid: int
    by_main: bool
    """Made by the program itself, and not by a child."""

    def __str__(self) -> str:
        return f"{self.name}({self.place}) by {'the main process' if self.by_main else 'a worker'}"


Decision = Literal["go on", "kill it", "kill main", "kill all"] | int
"""An integer is the number of an error that the call ends with, without being made."""
Decide = Callable[[Call], Decision]


@dataclass
class Program:
    """A program under supervision; it has ended when `wait` returns, its children perhaps not yet."""

    process: subprocess.Popen[bytes]
    error: Path
    _watcher: threading.Thread | None = None
    failures: list[BaseException] = field(default_factory=list)

    def wait(self) -> tuple[int, str]:
        """Exit code, or minus the signal; and what it wrote to standard error."""
        try:
            code = self.process.wait(120)
        except subprocess.TimeoutExpired as error:
            raise TimeoutError(f"it does not end: {', '.join(self._threads())}") from error
        return code, self.error.read_text(errors="replace")

    def _threads(self) -> Iterator[str]:
        """What each waits for: the number of a system call and its arguments, or ``running``."""
        for task in Path(f"/proc/{self.process.pid}/task").iterdir():
            with suppress(OSError):
                yield f"{(task / 'comm').read_text().strip()}: {(task / 'syscall').read_text().strip()}"


@contextmanager
def held(
    command: Sequence[str], environment: Mapping[str, str], calls: Sequence[str], decide: Decide, log: Path
) -> Iterator[Program]:
    """Run a program; `decide` is asked about each of these calls. At the end of the block all its processes have ended.

    ``openat+`` means an openat(2) that may create something. Standard output and error go to `log`.
    """
    ours, theirs = socket.socketpair()
    launch = [sys.executable, "-I", "-S", __file__, str(theirs.fileno()), ",".join(calls), *command]
    with ours, log.open("wb") as output:
        process = subprocess.Popen(
            launch,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=output,
            pass_fds=[theirs.fileno()],
            start_new_session=True,
        )
        theirs.close()
        program = Program(process, log)
        _, descriptors, _, _ = socket.recv_fds(ours, 1, 1)
    if not descriptors:
        process.wait()
        raise RuntimeError(f"the filter could not be installed: {log.read_text()}")
    listener = descriptors[0]

    def watch() -> None:
        try:
            _watch(listener, process.pid, decide)
        except BaseException as error:
            program.failures.append(error)
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        finally:
            os.close(listener)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield program
    except BaseException:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        raise
    finally:
        watcher.join()
        process.wait()
    if program.failures:
        raise program.failures[0]


def _watch(listener: int, main: int, decide: Decide) -> None:
    names: dict[int, str] = {}
    groups: dict[int, int] = {}
    poll = select.poll()
    poll.register(listener, select.POLLIN)
    while True:
        events = poll.poll()[0][1]
        if not events & select.POLLIN:
            return  # all have ended
        notice = bytearray(_NOTICE.size)
        try:
            fcntl.ioctl(listener, _RECEIVE, notice)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.EINTR):
                continue  # whoever called was killed meanwhile
            raise
        number, tid, _, nr, _, _, *arguments = _NOTICE.unpack(notice)
        name = names.setdefault(nr, _name_of(nr))
        try:
            pid = groups.get(tid) or groups.setdefault(tid, _group_of(tid))
            decision = decide(Call(name, _place(tid, name, arguments), pid, pid == main))
        except (FileNotFoundError, ProcessLookupError):
            continue
        if isinstance(decision, int):
            reply = number, 0, -decision, 0
        else:
            if decision != "go on":
                _kill(decision, pid, main)
            reply = number, 0, 0, _CONTINUE
        if decision not in ("kill it", "kill all"):
            with suppress(FileNotFoundError):
                fcntl.ioctl(listener, _ANSWER, bytearray(_REPLY.pack(*reply)))


def _kill(whom: str, pid: int, main: int) -> None:
    with suppress(ProcessLookupError):
        if whom == "kill all":
            os.killpg(main, signal.SIGKILL)
        else:
            os.kill(pid if whom == "kill it" else main, signal.SIGKILL)


def _group_of(tid: int) -> int:
    for line in Path(f"/proc/{tid}/status").read_text().splitlines():
        if line.startswith("Tgid:"):
            return int(line.split()[1])
    raise ProcessLookupError(tid)


def _place(tid: int, name: str, arguments: Sequence[int]) -> str:
    """As we see it, also where the caller lives in a chroot."""
    if name in _NOWHERE:
        return ""
    if name in _AT:
        at, path = _AT[name]
        number = ctypes.c_int(arguments[at]).value
        directory = "cwd" if number == -100 else f"fd/{number}"
        return _joined(tid, directory, arguments[path])
    if name in _PATH:
        return _joined(tid, "cwd", arguments[_PATH[name]])
    return _link(tid, f"fd/{ctypes.c_int(arguments[0]).value}")


def _joined(tid: int, directory: str, pointer: int) -> str:
    with open(f"/proc/{tid}/mem", "rb", buffering=0) as memory:  # noqa: PTH123
        try:
            memory.seek(pointer)
            path = os.fsdecode(memory.read(4096).partition(b"\0")[0])
        except (OSError, OverflowError, ValueError):
            path = ""
    if path.startswith("/proc/self/fd/"):
        return path
    top = _link(tid, "root") if path.startswith("/") else _link(tid, directory)
    return os.path.normpath(f"{top}/{path}")


def _link(tid: int, name: str) -> str:
    try:
        return os.readlink(f"/proc/{tid}/{name}")  # noqa: PTH115
    except OSError:
        return ""  # there is no such descriptor


def _name_of(nr: int) -> str:
    library = _library()
    found: int | None = library.seccomp_syscall_resolve_num_arch(library.seccomp_arch_native(), nr)
    return ctypes.string_at(found).decode() if found else str(nr)


def _library() -> ctypes.CDLL:
    library = ctypes.CDLL("libseccomp.so.2", use_errno=True)
    library.seccomp_init.restype = ctypes.c_void_p
    library.seccomp_syscall_resolve_num_arch.restype = ctypes.c_void_p
    library.seccomp_arch_native.restype = ctypes.c_uint32
    return library


class _Comparison(ctypes.Structure):
    _fields_ = (
        ("argument", ctypes.c_uint),
        ("how", ctypes.c_int),
        ("a", ctypes.c_uint64),
        ("b", ctypes.c_uint64),
    )


def _install(calls: Sequence[str]) -> int:
    """Have these calls of this process held up from now on; returns the descriptor to hear of them."""
    library = _library()
    filter = ctypes.c_void_p(library.seccomp_init(_ALLOW))
    _insist(library.seccomp_attr_set(filter, _NO_NEW_PRIVS, 0))
    for call in calls:
        nr = library.seccomp_syscall_resolve_name(call.rstrip("+").encode())
        if nr < 0:
            continue  # this machine has another call for it
        flags = [os.O_CREAT, os.O_TMPFILE & ~os.O_DIRECTORY] if call.endswith("+") else []
        for flag in flags:
            compared = _Comparison(2, _MASKED_EQUAL, flag, flag)
            _insist(library.seccomp_rule_add_array(filter, _NOTIFY, nr, 1, ctypes.byref(compared)))
        if not flags:
            _insist(library.seccomp_rule_add_array(filter, _NOTIFY, nr, 0, None))
    _insist(library.seccomp_load(filter))
    return int(library.seccomp_notify_fd(filter))


def _insist(result: int) -> None:
    if result < 0:
        raise OSError(-result, os.strerror(-result))


def _launch(number: str, calls: str, *command: str) -> None:
    with socket.socket(fileno=int(number)) as there:
        listener = _install(calls.split(","))
        socket.send_fds(there, [b"x"], [listener])
        os.close(listener)
    os.execvpe(command[0], command, os.environ)


if __name__ == "__main__":
    _launch(*sys.argv[1:])
