"""What a container may do: capabilities, new privileges, system calls, devices."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

from aiodocker_lite.bundle.seccomp import default_filter, read_profile
from aiodocker_lite.errors import InvalidOption
from aiodocker_lite.options import RunOptions


def _named(names: str) -> tuple[str, ...]:
    return tuple(f"CAP_{name}" for name in names.split())


CAPABILITIES = _named(
    "CHOWN DAC_OVERRIDE FOWNER FSETID KILL NET_BIND_SERVICE SETFCAP SETGID SETPCAP SETUID SYS_CHROOT"
)
"""What root in a container may do: podman's list, shorter than docker's (X07)."""
ALL_CAPABILITIES = _named(
    "AUDIT_CONTROL AUDIT_READ AUDIT_WRITE BLOCK_SUSPEND BPF CHECKPOINT_RESTORE CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER "
    "FSETID IPC_LOCK IPC_OWNER KILL LEASE LINUX_IMMUTABLE MAC_ADMIN MAC_OVERRIDE MKNOD NET_ADMIN NET_BIND_SERVICE "
    "NET_BROADCAST NET_RAW PERFMON SETFCAP SETGID SETPCAP SETUID SYSLOG SYS_ADMIN SYS_BOOT SYS_CHROOT SYS_MODULE SYS_NICE "
    "SYS_PACCT SYS_PTRACE SYS_RAWIO SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG WAKE_ALARM"
)

_ACCEPTED = ("apparmor=unconfined", "label=disable", "label:disable", "systempaths=confined")
"""Of docker's security options what is so here in any case."""


def chosen_capabilities(options: RunOptions) -> tuple[str, ...]:
    """The default set, with some added and others dropped. Raises InvalidOption."""
    if options.privileged:
        return ALL_CAPABILITIES
    added, dropped = (
        _capabilities("--cap-add", options.cap_add),
        _capabilities("--cap-drop", options.cap_drop),
    )
    if "ALL" in added:
        return tuple(name for name in ALL_CAPABILITIES if name not in dropped)
    kept = set() if "ALL" in dropped else set(CAPABILITIES) - dropped
    return tuple(name for name in ALL_CAPABILITIES if name in kept | added)


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
