"""The container's side of a terminal: a fresh one, whose other end goes to the engine (X18).

Where the container has a /dev/pts of its own, the terminal is one of these, else one of the host's.
Only imported where a terminal is wanted, before strangers' files are in reach.
"""

from __future__ import annotations

import _socket
import array
import errno
import fcntl
import os
import struct
import termios
from contextlib import suppress

from aiodocker_lite import syscalls
from aiodocker_lite.runtime.report import frame_of, step

TYPE_CHECKING = False  # `typing` is slow to import
if TYPE_CHECKING:
    from typing import Any

_TIOCGPTPEER = 0x5441
_TIOCSPTLCK = 0x40045431
_MULTIPLEXER = os.makedev(5, 2)
_OPEN = os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC


def open_terminal(multiplexer: str) -> tuple[int, int]:
    """A new terminal: the end that is the engine's, and the container's."""
    with step("opening a terminal"):
        master = os.open(multiplexer, _OPEN)
        if os.fstat(master).st_rdev != _MULTIPLEXER:
            raise OSError(errno.ENXIO, "something else is there", multiplexer)
        fcntl.ioctl(master, _TIOCSPTLCK, struct.pack("i", 0))
        # By descriptor: no name is looked up.
        return master, fcntl.ioctl(master, _TIOCGPTPEER, _OPEN)


def resize(terminal: int, size: dict[str, Any]) -> None:
    """Tell it how many lines and columns there are."""
    with step("setting the size of the terminal"):
        fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("4H", size["height"], size["width"], 0, 0))


def send(fd: int, terminal: int) -> None:
    """Hand the engine its end, over the socket that it is spoken to by."""
    with step("handing over the terminal"):
        sock = _socket.socket(fileno=fd)
        rights = array.array("i", [terminal])
        sock.sendmsg([frame_of(say="terminal")], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, rights)])
        sock.detach()
        os.close(terminal)


def show_as_console(root: int, terminal: int) -> None:
    """Put it on /dev/console too, as docker does, while mounts can still be made."""
    with step("mounting /dev/console"):
        with suppress(FileExistsError):  # a volume may have one
            os.close(os.open("dev/console", os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600, dir_fd=root))
        place = os.open("dev/console", os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=root)
        tree = syscalls.open_tree(terminal, b"", syscalls.OPEN_TREE_CLONE | syscalls.AT_EMPTY_PATH)
        syscalls.move_mount(tree, place)
        os.close(tree)
        os.close(place)


def control(terminal: int, uid: int) -> None:
    """Make it the user's, this session's controlling terminal, and all three standard streams."""
    with step("taking the terminal"):
        try:
            os.fchown(terminal, uid, -1)
        except OSError as error:
            if error.errno not in (errno.EPERM, errno.EINVAL):
                raise
        os.fchmod(terminal, 0o620)
        fcntl.ioctl(terminal, termios.TIOCSCTTY, 0)
        for fd in (0, 1, 2):
            os.dup2(terminal, fd)
        os.close(terminal)
