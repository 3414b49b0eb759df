"""Devices of the host that a container is given."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiodocker_lite.errors import InvalidOption

_OWN = tuple(
    f"/dev/{name}"
    for name in (
        "pts",
        "shm",
        "mqueue",
        "console",
        "null",
        "zero",
        "full",
        "random",
        "urandom",
        "tty",
        "ptmx",
    )
)
"""What a container has of its own, whatever it is given."""
_ACCESS = re.compile("[rwm]+")

_PLAIN = ((1, 3), (1, 5), (1, 7), (1, 8), (1, 9), (5, 0), (5, 2))
"""null, zero, full, random, urandom, tty and ptmx."""
_PTS_MAJOR = 136


@dataclass(frozen=True, slots=True)
class Device:
    """A device of the host in a container."""

    source: str
    access: str
    """What may be done to it: r, w and m."""
    node: dict[str, Any]
    """As in `linux.devices`."""


def devices_of(options: Iterable[str]) -> list[Device]:
    """The devices of these options of docker's. Raises InvalidOption."""
    found = []
    for text in options:
        source, target, access = _parse(text)
        path = Path(source)
        if path.is_dir():
            inside = sorted(file for file in path.rglob("*") if _is_device(file))
            if not inside:
                raise InvalidOption("--device", f"'{source}' is no device, and there are none in it")
            found += [_device(file, f"{target}/{file.relative_to(path)}", access) for file in inside]
        elif path.exists() and _is_device(path):
            found.append(_device(path, target, access))
        else:
            reason = "is not a device" if path.exists() else "does not exist"
            raise InvalidOption("--device", f"'{source}' {reason}")
    return found


def all_devices() -> Iterator[Device]:
    """Everything that this machine has, but what every container has of its own."""
    for directory, directories, files in os.walk("/dev"):
        directories[:] = [name for name in directories if f"{directory}/{name}" not in _OWN]
        for name in sorted(files):
            file = Path(directory, name)
            if str(file) not in _OWN and _is_device(file, follow=False):
                yield _device(file, str(file), "rwm")


def access_rules(given: Iterable[Device]) -> list[dict[str, Any]]:
    """`linux.resources.devices`: everything may be made, and only these used."""
    rules: list[dict[str, Any]] = [
        {"allow": False, "access": "rwm"},
        {"allow": True, "type": "c", "access": "m"},
        {"allow": True, "type": "b", "access": "m"},
        *({"allow": True, "type": "c", "major": a, "minor": b, "access": "rwm"} for a, b in _PLAIN),
        {"allow": True, "type": "c", "major": _PTS_MAJOR, "access": "rwm"},
    ]
    for device in given:
        numbers = {key: device.node[key] for key in ("type", "major", "minor")}
        rules.append({"allow": True, **numbers, "access": device.access})
    return rules


def _parse(text: str) -> tuple[str, str, str]:
    """Source, target and access of ``HOST[:CONTAINER[:rwm]]``, or ``HOST:rwm``."""
    parts = text.split(":")
    if not 1 <= len(parts) <= 3 or not all(parts):
        raise InvalidOption("--device", f"'{text}' is not HOST[:CONTAINER[:rwm]]")
    source = target = parts[0]
    access = "rwm"
    if len(parts) == 3:
        target, access = parts[1:]
    elif len(parts) == 2:
        if _ACCESS.fullmatch(parts[1]):
            access = parts[1]
        else:
            target = parts[1]
    if not source.startswith("/") or not target.startswith("/"):
        raise InvalidOption("--device", f"'{text}' has a path that is not absolute")
    if not _ACCESS.fullmatch(access):
        raise InvalidOption("--device", f"'{access}' is not made of r, w and m")
    return source, target, access


def _is_device(path: Path, *, follow: bool = True) -> bool:
    try:
        mode = path.stat(follow_symlinks=follow).st_mode
    except OSError:
        return False
    return stat.S_ISCHR(mode) or stat.S_ISBLK(mode)


def _device(file: Path, target: str, access: str) -> Device:
    found = file.stat()
    node = {
        "path": target,
        "type": "c" if stat.S_ISCHR(found.st_mode) else "b",
        "major": os.major(found.st_rdev),
        "minor": os.minor(found.st_rdev),
        "fileMode": stat.S_IMODE(found.st_mode),
        "uid": found.st_uid,
        "gid": found.st_gid,
    }
    return Device(str(file), access, node)
