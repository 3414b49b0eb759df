"""Process 1 of a container that asks for one: it passes signals on, and takes leave of the dead (X23)."""

from __future__ import annotations

import os
import sys

from aiodocker_lite import syscalls

TYPE_CHECKING = False  # `typing` is slow to import
if TYPE_CHECKING:
    from aiodocker_lite.runtime.report import Engine

_CHILD_ENDED = 17
_KILL = 9
_SIGNAL_SIZE = 128


def stay_behind(engine: Engine) -> None:
    """Return in a child, which dies with this process; this process stays and ends as the child ends."""
    # Not by waiting for them, which unblocks them: whoever wants to know sees that they are heard.
    signals = syscalls.blocked_signals()
    null = os.open(os.devnull, os.O_RDWR)
    child = os.fork()
    if child == 0:
        os.close(null)
        os.close(signals)
        os.setpgid(0, 0)
        try:  # noqa: SIM105 - contextlib is slow to import
            os.tcsetpgrp(0, os.getpid())
        except OSError:  # there is no terminal, or it is not this session's
            pass
        syscalls.reset_signals()
        syscalls.prctl(syscalls.PR_SET_PDEATHSIG, _KILL)
        return
    # Whoever reads the container's output waits until all have closed it.
    engine.close()
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    while True:
        number = int.from_bytes(os.read(signals, _SIGNAL_SIZE)[:4], sys.byteorder)
        if number != _CHILD_ENDED:
            os.kill(child, number)
            continue
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == child:
                os._exit(128 + os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status))
            if pid == 0:
                break
