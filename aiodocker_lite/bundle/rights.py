"""What a container may do: capabilities, new privileges, system calls, devices."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from aiodocker_lite import syscalls
from aiodocker_lite.bundle.seccomp import default_filter, read_profile
from aiodocker_lite.errors import InvalidOption
from aiodocker_lite.options import RunOptions

CAPABILITIES = tuple(
    f"CAP_{name}"
    for name in (
        "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID", "SETPCAP", "NET_BIND_SERVICE",
        "SYS_CHROOT", "SETFCAP",
    )
)  # fmt: skip
"""What root in a container may do: podman's list, shorter than docker's (X07)."""
ALL_CAPABILITIES = tuple(f"CAP_{name}" for name in syscalls.CAPABILITIES)

_ACCEPTED = ("apparmor=unconfined", "label=disable", "label:disable", "systempaths=confined")
"""Of docker's security options what is so here in any case."""


def chosen_capabilities(options: RunOptions, *, in_user_namespace: bool = False) -> tuple[str, ...]:
    """The default set, with some added and others dropped. Raises InvalidOption."""
    if options.privileged:
        return _all_there_are(in_user_namespace)
    added, dropped = (
        _capabilities("--cap-add", options.cap_add),
        _capabilities("--cap-drop", options.cap_drop),
    )
    if "ALL" in added:
        return tuple(name for name in _all_there_are(in_user_namespace) if name not in dropped)
    kept = set() if "ALL" in dropped else set(CAPABILITIES) - dropped
    return tuple(name for name in ALL_CAPABILITIES if name in kept | added)


def _all_there_are(in_user_namespace: bool) -> tuple[str, ...]:
    """What this process could hand on; all of them in a user namespace of its own."""
    if in_user_namespace:
        return ALL_CAPABILITIES
    lines = Path("/proc/self/status").read_text().splitlines()
    bounding = next((int(line.split()[1], 16) for line in lines if line.startswith("CapBnd")), 0)
    return tuple(name for number, name in enumerate(ALL_CAPABILITIES) if bounding >> number & 1)


def _capabilities(option: str, given: Iterable[str]) -> set[str]:
    found = set()
    for text in given:
        name = text.upper()
        if name != "ALL":
            name = f"CAP_{name.removeprefix('CAP_')}"
            if name not in ALL_CAPABILITIES:
                raise InvalidOption(option, f"there is no capability '{text}'")
        found.add(name)
    return found


def security_of(options: RunOptions, capabilities: Iterable[str]) -> tuple[bool, dict[str, Any] | None]:
    """Whether new privileges are forbidden, and `linux.seccomp`. Raises InvalidOption."""
    machine = os.uname().machine
    forbidden = not options.privileged
    seccomp = None if options.privileged else default_filter(frozenset(capabilities), machine)
    for text in options.security:
        name, separator, value = text.partition("=" if "=" in text else ":")
        if name == "no-new-privileges":
            if value not in ("", "true", "false"):
                raise InvalidOption("--security-opt", f"'{text}' is neither true nor false")
            forbidden = value != "false"
        elif name == "seccomp" and separator:
            if value == "unconfined":
                seccomp = None
            elif value == "builtin":
                seccomp = default_filter(frozenset(capabilities), machine)
            else:
                seccomp = read_profile(value, capabilities, machine)
        elif text not in (*_ACCEPTED, "systempaths=unconfined"):
            known = "no-new-privileges, seccomp=unconfined, seccomp=FILE and systempaths=unconfined"
            raise InvalidOption("--security-opt", f"'{text}' cannot be done here, only {known}")
    return forbidden, seccomp


def hides_system_paths(options: RunOptions) -> bool:
    """What tells about the host is covered, and what changes it is read-only."""
    return not options.privileged and "systempaths=unconfined" not in options.security
