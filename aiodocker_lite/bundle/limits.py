"""What a container may use: limits of a process, of its control group, and settings of its namespaces."""

from __future__ import annotations

import math
import os
import re
from typing import Any

from aiodocker_lite.errors import InvalidOption
from aiodocker_lite.options import RunOptions

_RLIMITS = (
    "as", "core", "cpu", "data", "fsize", "locks", "memlock", "msgqueue", "nice", "nofile", "nproc", "rss", "rtprio",
    "rttime", "sigpending", "stack",
)  # fmt: skip
_UNLIMITED = 2**64 - 1
_MEMORY_MIN = 6 << 20
_PERIOD = 100_000
"""Microseconds in which `--cpus` is measured."""
_CPUSET = re.compile(r"\d+(-\d+)?(,\d+(-\d+)?)*")
_IPC_SYSCTLS = re.compile(
    r"kernel\.(msgmax|msgmnb|msgmni|sem|shmall|shmmax|shmmni|shm_rmid_forced)|fs\.mqueue\.[a-z_]+"
)


def rlimits_of(options: RunOptions) -> list[dict[str, Any]]:
    """`process.rlimits`. Raises InvalidOption."""
    found: dict[str, dict[str, Any]] = {}
    for text in options.ulimits:
        name, assigned, values = text.partition("=")
        limits = [_rlimit(text, part) for part in values.split(":")]
        if not assigned or len(limits) > 2:
            raise InvalidOption("--ulimit", f"'{text}' is not NAME=SOFT[:HARD]")
        if name not in _RLIMITS:
            raise InvalidOption("--ulimit", f"there is no limit '{name}'")
        soft, hard = limits[0], limits[-1]
        if soft > hard:
            raise InvalidOption("--ulimit", f"the soft limit is larger than the hard one in '{text}'")
        found[name] = {"type": f"RLIMIT_{name.upper()}", "soft": soft, "hard": hard}
    return list(found.values())


def _rlimit(text: str, number: str) -> int:
    if number in ("-1", "unlimited"):
        return _UNLIMITED
    if not (number.isascii() and number.isdigit() and int(number) < _UNLIMITED):
        raise InvalidOption("--ulimit", f"'{number}' in '{text}' is not a number")
    return int(number)


def sysctls_of(options: RunOptions, *, has_network: bool) -> dict[str, str]:
    """`linux.sysctl`: only what a namespace of the container has for itself. Raises InvalidOption."""
    for name in options.sysctls:
        if name.startswith("net."):
            if has_network:
                continue
            raise InvalidOption("--sysctl", f"'{name}' would change the host, whose network this is")
        if not _IPC_SYSCTLS.fullmatch(name) or options.ipc == "host":
            raise InvalidOption("--sysctl", f"'{name}' is not in a namespace of its own")
    return dict(options.sysctls)


def resources_of(options: RunOptions) -> dict[str, Any]:
    """`linux.resources` but devices. Raises InvalidOption."""
    found: dict[str, Any] = {}
    if memory := _memory(options):
        found["memory"] = memory
    if cpu := _cpu(options):
        found["cpu"] = cpu
    if options.pids_limit is not None and options.pids_limit > 0:
        found["pids"] = {"limit": options.pids_limit}
    return found


def _memory(options: RunOptions) -> dict[str, int]:
    limit, swap, reservation = options.memory or 0, options.memory_swap or 0, options.memory_reservation or 0
    if limit and limit < _MEMORY_MIN:
        raise InvalidOption("--memory", "the least that can be had is 6 MB")
    if swap and not limit:
        raise InvalidOption("--memory-swap", "it is memory and swap together, and --memory is missing")
    if 0 < swap < limit:
        raise InvalidOption("--memory-swap", "it is memory and swap together, and less than --memory")
    if swap < -1 or reservation < 0 or limit < 0:
        raise InvalidOption("--memory", "a size cannot be negative")
    if reservation and limit and reservation > limit:
        raise InvalidOption("--memory-reservation", "it is more than --memory")
    found = {"limit": limit, "swap": swap or 2 * limit, "reservation": reservation}
    return {name: value for name, value in found.items() if value}


def _cpu(options: RunOptions) -> dict[str, Any]:
    period, quota = options.cpu_period or 0, options.cpu_quota or 0
    if options.cpus:
        count = os.cpu_count() or 1
        if not math.isfinite(options.cpus) or not 0.01 <= options.cpus <= count:
            raise InvalidOption(
                "--cpus", f"it can be from 0.01 to {count}.00, as there are only {count} CPUs"
            )
        if period or quota:
            raise InvalidOption("--cpus", "it cannot be combined with --cpu-period and --cpu-quota")
        period, quota = _PERIOD, round(options.cpus * _PERIOD)
    if period and not 1_000 <= period <= 1_000_000:
        raise InvalidOption("--cpu-period", "it can be from 1 ms (1000) to 1 s (1000000)")
    if 0 < quota < 1_000:
        raise InvalidOption("--cpu-quota", "it cannot be less than 1 ms (1000)")
    if options.cpu_shares is not None and options.cpu_shares < 0:
        raise InvalidOption("--cpu-shares", "it cannot be negative")
    for option, text in (("--cpuset-cpus", options.cpuset_cpus), ("--cpuset-mems", options.cpuset_mems)):
        if text and not _CPUSET.fullmatch(text):
            raise InvalidOption(option, f"'{text}' is not a list such as 0-2,4")
    found = {
        "shares": options.cpu_shares,
        "period": period,
        "quota": quota,
        "cpus": options.cpuset_cpus,
        "mems": options.cpuset_mems,
    }
    return {name: value for name, value in found.items() if value}
