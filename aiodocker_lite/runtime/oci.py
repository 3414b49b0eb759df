"""Other OCI runtimes: which of them are here, what they can do, and the spec as they are given it.

A runtime is found by its absolute path in the system's directories, or is one that the user names by its path, and is asked
what it is when it is first used (X28).
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from aiodocker_lite.errors import InvalidOption, RuntimeUnavailable
from aiodocker_lite.options import INIT
from aiodocker_lite.programs import find_program
from aiodocker_lite.runtime.handover import is_of_kernel
from aiodocker_lite.runtime.identity import allowed, held

NATIVE = "native"
KINDS = ("crun", "runc", "youki")
_OLDEST = {"crun": (1, 4), "runc": (1, 1), "youki": (0, 1)}
"""The first ones that know recursive attributes of mounts (runtime-spec 1.1, "rro")."""
_OPTIONS = {
    # Ours are the control groups. runc has no option for that, but a rootless one leaves alone what it cannot write.
    "crun": ("--cgroup-manager=disabled", "--log-format=text"),
    "runc": ("--rootless=true", "--log-format=text"),
    "youki": ("--log-format=text",),
}
_TIMEOUT = 20.0
_OTHERS_WRITE = 0o022
_RECURSIVE = {"ro": "rro", "nosuid": "rnosuid", "nodev": "rnodev", "noexec": "rnoexec"}
_NAMESPACES_OF_OURS = ("user", "network")
_OURS = ("uidMappings", "gidMappings", "resources", "cgroupsPath")


@dataclass(frozen=True, slots=True)
class Backend:
    """A runtime that is here and answers."""

    kind: str
    program: str
    """Its absolute path."""
    version: str
    has_seccomp: bool
    has_domain_names: bool

    @property
    def options(self) -> tuple[str, ...]:
        """What it is called with, before the verb."""
        return _OPTIONS[self.kind]

    def refuse(self, spec: dict[str, Any]) -> None:
        """Say what this runtime would pass over in silence. Raises InvalidOption."""
        wanted = (
            ("--security-opt", "seccomp" in spec["linux"] and not self.has_seccomp, "it has no seccomp"),
            ("--init", INIT in spec.get("annotations", {}), "it has no process 1 of its own"),
            ("--domainname", "domainname" in spec and not self.has_domain_names, "it does not know it"),
        )
        for option, is_refused, reason in wanted:
            if is_refused:
                name = f"{self.kind} {self.version}"
                raise InvalidOption(option, f"the runtime {name} cannot do that: {reason}")


def find_backend(name: str | None) -> Backend | None:
    """The runtime of this name, None for ours. Raises InvalidOption, RuntimeUnavailable."""
    if name is None or name == NATIVE:
        return None
    if name.startswith("/"):
        return _probe(name)
    if name not in KINDS:
        raise InvalidOption(
            "--runtime",
            f"unknown or invalid runtime name: {name} (it can be native, {', '.join(KINDS)} or an absolute path)",
        )
    program = find_program(name)
    if program is None:
        raise RuntimeUnavailable(name, f"it is not installed here (apt-get install {name})")
    return _probe(program)


@cache
def _probe(program: str) -> Backend:
    """Ask it what it is; for as long as this process lives. Raises RuntimeUnavailable."""
    try:
        if Path(program).stat().st_mode & _OTHERS_WRITE:
            raise RuntimeUnavailable(program, "others than its owner can change it")
        said = _answer(program, "--version")
    except (OSError, subprocess.SubprocessError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise RuntimeUnavailable(program, reason) from error
    match = re.match(r"(\w+)(?: version)?:? ((\d+)\.(\d+)\S*)", said)
    if match is None or match[1] not in KINDS:
        raise RuntimeUnavailable(program, f"it is none of {', '.join(KINDS)}")
    kind, version = match[1], match[2]
    if (int(match[3]), int(match[4])) < _OLDEST[kind]:
        oldest = ".".join(map(str, _OLDEST[kind]))
        raise RuntimeUnavailable(program, f"{kind} {version} is too old, {oldest} or newer is needed")
    features = _features(program)
    linux = features.get("linux", {})
    newest = [int(part) for part in re.findall(r"\d+", features.get("ociVersionMax", "1.0"))[:2]]
    return Backend(
        kind,
        program,
        version,
        has_seccomp=linux.get("seccomp", {}).get("enabled", False) if features else "+SECCOMP" in said,
        has_domain_names=newest >= [1, 1] or (kind == "crun" and not features),
    )


def _features(program: str) -> dict[str, Any]:
    """What it says of itself (runtime-spec, features.md); empty for one that cannot."""
    try:
        found = json.loads(_answer(program, "features"))
    except (OSError, ValueError, subprocess.SubprocessError):
        return {}
    return found if isinstance(found, dict) else {}


def _answer(program: str, word: str) -> str:
    done = subprocess.run(
        [program, word],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        cwd="/", env={}, timeout=_TIMEOUT, check=True, text=True, errors="replace",
    )  # fmt: skip
    return done.stdout


# --- the spec --------------------------------------------------------------------------------


def document(spec: dict[str, Any], user: dict[str, Any], cwd: str, *, in_user_namespace: bool) -> bytes:
    """The spec for a runtime that is called inside of our namespaces, with the root and the user's mounts in their places.

    `user` has what the image's files say, with the groups that can be had.
    """
    process = {name: value for name, value in spec["process"].items() if name != "user"}
    can = -1 if in_user_namespace else held()
    process |= {
        "user": {"uid": user["uid"], "gid": user["gid"], "additionalGids": user["groups"]},
        "cwd": cwd,
        "env": _environment(process["env"], user["home"]),
        "capabilities": {
            kind: [name for name in names if allowed([name]) & can]
            for kind, names in process["capabilities"].items()
        },
    }
    linux = {name: value for name, value in spec["linux"].items() if name not in _OURS}
    linux["namespaces"] = [one for one in linux["namespaces"] if one["type"] not in _NAMESPACES_OF_OURS]
    mounts = [_recursive(mount) for mount in spec["mounts"] if is_of_kernel(mount)]
    return json.dumps({**spec, "process": process, "mounts": mounts, "linux": linux}).encode(
        "utf-8", "surrogateescape"
    )


def _environment(entries: Iterable[str], home: str) -> list[str]:
    found = list(entries)
    return found if any(entry.startswith("HOME=") for entry in found) else [*found, f"HOME={home}"]


def _recursive(mount: dict[str, Any]) -> dict[str, Any]:
    """What holds for a mount holds for all below it."""
    if "rbind" not in mount["options"]:
        return mount
    return {**mount, "options": [_RECURSIVE.get(option, option) for option in mount["options"]]}


def found() -> list[Backend]:
    """All that are here and can be used."""
    backends = []
    for name in KINDS:
        if program := find_program(name):
            try:
                backends.append(_probe(os.path.realpath(program)))
            except RuntimeUnavailable:
                continue
    return backends
