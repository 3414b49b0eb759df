"""What the processes of a container use, by its control groups where it has some, else by /proc (proc(5))."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from aiodocker_lite.runtime.cgroups import groups_of

_TICKS = os.sysconf("SC_CLK_TCK")
_UNLIMITED = 1 << 60
"""Version 1 has no word for it, but a number that no machine has."""


@dataclass(frozen=True, slots=True)
class Process:
    """One process, by its number on the host; times in seconds."""

    pid: int
    parent: int
    uid: int
    terminal: str
    """Such as ``pts/0``; ``?`` for none."""
    started: float
    """Since 1970."""
    cpu: float
    threads: int
    command: str


@dataclass(frozen=True, slots=True)
class Usage:
    """What a container uses in this moment; sizes in bytes, sums since it began."""

    cpu: float
    """Seconds of processor time."""
    memory: int
    memory_limit: int
    """The machine's memory, where there is none."""
    received: int
    sent: int
    """In its own network; 0 in the host's."""
    read: int
    written: int
    """From and to disks, by processes that still run."""
    pids: int
    """Processes and threads."""


def measure(pid: int) -> Usage:
    """What the container of this first process uses."""
    found = processes(pid)
    groups = groups_of(pid)
    memory, limit = _memory(groups.get("memory"), [process.pid for process in found])
    cpu = _grouped(groups.get("cpu"), ("cpuacct.usage", 1e-9), ("cpu.stat", 1e-6))
    received, sent = _network(pid)
    disks = [_fields(Path(f"/proc/{process.pid}/io")) for process in found]
    return Usage(
        cpu=sum(process.cpu for process in found) if cpu is None else cpu,
        memory=memory,
        memory_limit=min(limit, 1024 * _fields(Path("/proc/meminfo")).get("MemTotal", limit)),
        received=received,
        sent=sent,
        read=sum(disk.get("read_bytes", 0) for disk in disks),
        written=sum(disk.get("write_bytes", 0) for disk in disks),
        pids=sum(process.threads for process in found),
    )


def processes(pid: int) -> list[Process]:
    """The processes of the container of this first one, by number."""
    return [found for number in sorted(_members(pid)) if (found := _process(number)) is not None]


def _members(pid: int) -> set[int]:
    """All that descend from it, and all in its namespace, if that is not our own."""
    found = [pid]
    for number in found:  # which grows meanwhile
        for task in Path(f"/proc/{number}/task").glob("*/children"):
            found += map(int, _text(task).split())
    space = _space(str(pid))
    if space and space != _space("self"):
        found += [int(name) for name in os.listdir("/proc") if name.isdigit() and _space(name) == space]  # noqa: PTH208
    return set(found)


def _space(pid: str) -> str:
    try:
        return os.readlink(f"/proc/{pid}/ns/pid")  # noqa: PTH115 - it leads nowhere
    except OSError:
        return ""


def _process(pid: int) -> Process | None:
    place = Path(f"/proc/{pid}")
    name, _, rest = _text(place / "stat").partition("(")[2].rpartition(")")
    if not rest:
        return None
    fields = rest.split()
    # In proc_pid_stat(5) these are fields 3 and on: state, parent, …
    device, threads, ticks = int(fields[4]), int(fields[17]), int(fields[19])
    own, of_children = fields[11:13], fields[13:15]
    try:
        uid = place.stat().st_uid
    except OSError:
        return None
    words = _text(place / "cmdline").rstrip("\0").replace("\0", " ")
    return Process(
        pid=pid,
        parent=int(fields[1]),
        uid=uid,
        terminal=f"pts/{(device & 0xFF) | ((device >> 12) & 0xFFF00)}" if device else "?",
        started=time.time() - time.clock_gettime(time.CLOCK_BOOTTIME) + ticks / _TICKS,
        cpu=sum(map(int, (*own, *of_children))) / _TICKS,
        threads=threads,
        command=words or f"[{name}]",
    )


def _memory(group: Path | None, pids: list[int]) -> tuple[int, int]:
    """Bytes, and how many there may be. Pages of files that can go at any time do not count, as with docker."""
    if group is not None:
        used = _grouped(group, ("memory.usage_in_bytes", 1), ("memory.current", 1))
        limit = _grouped(group, ("memory.limit_in_bytes", 1), ("memory.max", 1))
        if used is not None:
            stat = _fields(group / "memory.stat")
            idle = stat.get("total_inactive_file", stat.get("inactive_file", 0))
            return max(0, int(used) - idle), int(limit or _UNLIMITED)
    return sum(map(_resident, pids)), _UNLIMITED


def _resident(pid: int) -> int:
    """Its part of what it shares, where that may be known."""
    share = _fields(Path(f"/proc/{pid}/smaps_rollup")).get("Pss")
    return 1024 * (_fields(Path(f"/proc/{pid}/status")).get("VmRSS", 0) if share is None else share)


def _grouped(group: Path | None, *files: tuple[str, float]) -> float | None:
    """The number in the first of these files that is there, in units; of a file with names, ``usage_usec``."""
    if group is None:
        return None
    for name, unit in files:
        text = _text(group / name).strip()
        if text.isdigit():
            return int(text) * unit
        if (found := _fields(group / name).get("usage_usec")) is not None:
            return found * unit
    return None


def _network(pid: int) -> tuple[int, int]:
    """What came and went, but for the loopback."""
    place = f"/proc/{pid}/ns/net"
    with suppress(OSError):
        if os.readlink(place) == os.readlink("/proc/self/ns/net"):  # noqa: PTH115
            return 0, 0
    lines = _text(Path(f"/proc/{pid}/net/dev")).splitlines()[2:]
    rows = [line.split() for line in lines if not line.strip().startswith("lo:")]
    return sum(int(row[1]) for row in rows), sum(int(row[9]) for row in rows)


def _fields(path: Path) -> dict[str, int]:
    """Numbers by name, from lines such as ``Name: 12 kB`` and ``name 12``."""
    return dict(_numbers(_text(path)))


def _numbers(text: str) -> Iterator[tuple[str, int]]:
    for line in text.splitlines():
        words = line.split()
        if len(words) >= 2 and words[1].isdigit():
            yield words[0].rstrip(":"), int(words[1])


def _text(path: Path) -> str:
    """What a file says, of a process that may have ended, or may not be read."""
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
