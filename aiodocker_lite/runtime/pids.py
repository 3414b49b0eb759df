"""Processes that are no children of ours: which one it is, and what it can be told."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


def start_ticks(pid: int) -> int:
    """When a process began, by field 22 of its stat (proc_pid_stat(5)); 0 if it is gone."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return 0
    return int(stat.rpartition(b")")[2].split()[19])


@contextmanager
def opened(pid: int, ticks: int) -> Iterator[int | None]:
    """A descriptor of the process with this number that began then; None if it is gone."""
    try:
        fd = os.pidfd_open(pid) if pid > 0 else -1
    except ProcessLookupError:
        fd = -1
    try:
        # The number may be another's by now, but not from here on.
        yield fd if fd >= 0 and start_ticks(pid) == ticks else None
    finally:
        if fd >= 0:
            os.close(fd)


def send(pidfd: int, number: int) -> None:
    """Send a signal; to one that has ended is no error."""
    with suppress(ProcessLookupError):
        signal.pidfd_send_signal(pidfd, number)


def hears(pid: int, number: int) -> bool:
    """The kernel does not deliver to process 1 of a namespace what it has no handler for."""
    if number in (signal.SIGKILL, signal.SIGSTOP):
        return True
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return False
    status = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
    if len(status.get("NSpid", "").split()) < 2:
        return True
    heard = int(status["SigCgt"], 16) | int(status["SigBlk"], 16)
    return bool(heard >> (number - 1) & 1)
