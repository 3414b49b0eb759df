"""Limits that a process sets itself, and what belongs to its namespaces: from the child's side."""

from __future__ import annotations

import errno
import os

from aiodocker_lite import syscalls
from aiodocker_lite.runtime.inside import open_inside
from aiodocker_lite.runtime.report import Failed, step

TYPE_CHECKING = False  # `typing` is slow to import
if TYPE_CHECKING:
    from typing import Any

_RESOURCES = (
    "CPU", "FSIZE", "DATA", "STACK", "CORE", "RSS", "NPROC", "NOFILE", "MEMLOCK", "AS", "LOCKS", "SIGPENDING",
    "MSGQUEUE", "NICE", "RTPRIO", "RTTIME",
)  # fmt: skip
"""In the order of their numbers (getrlimit(2))."""
_UNLIMITED = 2**64 - 1


def raise_limits(rlimits: list[dict[str, Any]]) -> None:
    """Make room for the resource limits of a runtime spec, as long as this process has the right to."""
    for limit in rlimits:
        name = limit["type"].removeprefix("RLIMIT_")
        with step(f"setting the limit {name.lower()}"):
            soft, hard = syscalls.get_limit(_RESOURCES.index(name))
            if limit["hard"] <= hard:
                continue
            try:
                syscalls.set_limit(_RESOURCES.index(name), soft, limit["hard"])
            except PermissionError:
                asked = "no limit" if limit["hard"] == _UNLIMITED else limit["hard"]
                reason = f"{asked} is more than this process may have itself"
                raise Failed(
                    "setup-failed", step=f"setting the limit {name.lower()}", reason=reason
                ) from None


def set_limits(rlimits: list[dict[str, Any]]) -> None:
    """Set the resource limits of a runtime spec (X27): last of all, for they may be too small for us."""
    for limit in rlimits:
        name = limit["type"].removeprefix("RLIMIT_")
        with step(f"setting the limit {name.lower()}"):
            syscalls.set_limit(_RESOURCES.index(name), limit["soft"], limit["hard"])


def join_groups(files: list[str]) -> None:
    """Go into the control groups that the engine has made."""
    for file in files:
        with step(f"joining {file}"), open(file, "w") as procs:  # noqa: PTH123 - pathlib is slow to import
            procs.write("0")


def set_oom_score(score: int | None) -> None:
    """Say how soon this process is to be killed when memory runs out."""
    if score is not None:
        with step(f"setting --oom-score-adj {score}"), open("/proc/self/oom_score_adj", "w") as file:  # noqa: PTH123
            file.write(str(score))


def set_sysctls(root: int, values: dict[str, str]) -> None:
    """Set what the kernel keeps for each namespace."""
    for name, value in values.items():
        with step(f"setting {name}"):
            try:
                fd = open_inside(root, f"/proc/sys/{name.replace('.', '/')}", os.O_WRONLY)
            except OSError as error:
                if error.errno != errno.ENOENT:
                    raise
                raise Failed(
                    "setup-failed", step=f"setting {name}", reason="there is no such setting"
                ) from None
            os.write(fd, value.encode())
            os.close(fd)
