"""What is put at a place in a container: docker's `-v`, `--mount` and `--tmpfs` as one value."""

from __future__ import annotations

import csv
import os
import posixpath
import re
from dataclasses import dataclass
from typing import Literal

from aiodocker_lite.errors import InvalidOption

VOLUME_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]+")
"""What a volume can be called, as in docker."""
_TMPFS = re.compile(
    r"rw|ro|(no)?(exec|suid|dev|atime|diratime)|relatime|strictatime|(size|nr_blocks|nr_inodes)=\d+[kmgKMG]?|size=\d+%"
    r"|mode=[0-7]{3,4}|[ug]id=\d+"
)
_TRUTHS = {"": True, "true": True, "1": True, "false": False, "0": False}
_PRIVATE = ("private", "rprivate")
_SHARED = ("shared", "rshared", "slave", "rslave")


def place(target: str) -> str:
    """The target of a mount, written in the one way in which targets can be compared."""
    return posixpath.normpath("/" + target.lstrip("/"))


@dataclass(frozen=True, slots=True)
class Mount:
    """A path of the host (`bind`), a volume by its name, or an empty file system in memory (`tmpfs`)."""

    target: str
    source: str | None = None
    """An absolute path, the name of a volume, nothing (``""``) for a volume of this container, or None for a tmpfs."""
    read_only: bool = False
    options: tuple[str, ...] = ()
    """Of a tmpfs, as in mount(8); ``nocopy`` of a volume that shall not begin with what the image has there."""
    create: bool = False
    """Make a directory where the source is missing, as docker's `-v` does."""

    @property
    def kind(self) -> Literal["bind", "volume", "tmpfs"]:
        """A mount without a source is a tmpfs; a source that is no path is a volume."""
        if self.source is None:
            return "tmpfs"
        return "bind" if self.source.startswith("/") else "volume"

    @classmethod
    def parse(cls, text: str) -> Mount:
        """Read docker's ``-v [SOURCE:]TARGET[:ro]``. Raises InvalidOption."""
        option = "--volume"
        parts = text.split(":")
        if len(parts) == 1 and text.startswith("/"):
            return cls(_target(option, text), "")
        if len(parts) not in (2, 3) or not all(parts):
            raise InvalidOption(option, f"'{text}' is not SOURCE:TARGET[:ro]")
        modes = set(parts[2].split(",")) if len(parts) == 3 else set()
        # z and Z relabel for SELinux, the others are the default or of other systems: accepted for old habits.
        known = {"ro", "rw", "z", "Z", "nocopy", "consistent", "cached", "delegated", *_PRIVATE}
        if unknown := sorted(modes - known):
            raise InvalidOption(option, f"unknown mode '{', '.join(unknown)}' in '{text}'")
        target, source = _target(option, parts[1]), _source(option, parts[0])
        nocopy = ("nocopy",) if "nocopy" in modes else ()
        return cls(target, source, "ro" in modes, nocopy, create=source.startswith("/"))

    @classmethod
    def parse_tmpfs(cls, text: str) -> Mount:
        """Read docker's ``--tmpfs TARGET[:OPTIONS]``. Raises InvalidOption."""
        target, _, options = text.partition(":")
        given = tuple(filter(None, options.split(",")))
        for option in given:
            if not _TMPFS.fullmatch(option):
                raise InvalidOption("--tmpfs", f"unknown option '{option}' in '{text}'")
        return cls(_target("--tmpfs", target), None, "ro" in given, given)

    @classmethod
    def parse_long(cls, text: str) -> Mount:
        """Read docker's ``--mount type=bind|volume|tmpfs,source=…,target=…``. Raises InvalidOption."""
        found: dict[str, str] = {}
        for field in next(csv.reader([text]), []):
            key, assigned, value = field.partition("=")
            key = _LONG_NAMES.get(key.strip().lower(), key.strip().lower())
            if not assigned and key not in _SWITCHES:
                raise InvalidOption("--mount", f"'{field}' must be key=value")
            found[key] = value
        kind = found.pop("type", "volume")
        target = _target("--mount", found.pop("target", ""))
        read_only = _switch(found, "readonly")
        match kind:
            case "bind":
                mount = _long_bind(target, read_only, found)
            case "volume":
                source = found.pop("source", "")
                nocopy = ("nocopy",) if _switch(found, "volume-nocopy") else ()
                mount = cls(target, _source("--mount", source) if source else "", read_only, nocopy)
                if mount.kind != "volume":
                    raise InvalidOption("--mount", f"'{source}' is not the name of a volume")
            case "tmpfs":
                mount = _long_tmpfs(target, read_only, found)
            case _:
                raise InvalidOption("--mount", f"the type '{kind}' is none of bind, volume and tmpfs")
        if found:
            raise InvalidOption("--mount", f"unexpected key '{next(iter(found))}' in '{text}'")
        return mount


_LONG_NAMES = {"src": "source", "dst": "target", "destination": "target", "ro": "readonly"}
_SWITCHES = ("readonly", "volume-nocopy", "bind-create-src")


def _long_bind(target: str, read_only: bool, found: dict[str, str]) -> Mount:
    source = found.pop("source", "")
    if not source.startswith(("/", ".", "~")):
        raise InvalidOption("--mount", f"the source '{source}' of a bind mount must be a path")
    propagation = found.pop("bind-propagation", "rprivate")
    if propagation in _SHARED:
        raise InvalidOption("--mount", f"bind-propagation={propagation}: mounts of a container stay in it")
    if propagation not in _PRIVATE:
        raise InvalidOption("--mount", f"invalid propagation '{propagation}'")
    found.pop("consistency", None)
    create = _switch(found, "bind-create-src")
    return Mount(target, _source("--mount", source), read_only, create=create)


def _long_tmpfs(target: str, read_only: bool, found: dict[str, str]) -> Mount:
    names = (("tmpfs-size", "size"), ("tmpfs-mode", "mode"))
    options = tuple(f"{name}={found.pop(key)}" for key, name in names if key in found)
    if wrong := next((option for option in options if not _TMPFS.fullmatch(option)), None):
        raise InvalidOption("--mount", f"'tmpfs-{wrong}' cannot be understood")
    if found.pop("source", ""):
        raise InvalidOption("--mount", "a tmpfs has no source")
    return Mount(target, None, read_only, options)


def _switch(found: dict[str, str], key: str) -> bool:
    text = found.pop(key, "false").lower()
    if text not in _TRUTHS:
        raise InvalidOption("--mount", f"the value of '{key}' is '{text}', neither true nor false")
    return _TRUTHS[text]


def _target(option: str, text: str) -> str:
    if not text.startswith("/") or posixpath.normpath(text).strip("/") == "":
        raise InvalidOption(option, f"the target '{text}' must be an absolute path other than '/'")
    return text


def _source(option: str, text: str) -> str:
    if text.startswith(("/", ".", "~")):
        return os.path.realpath(os.path.expanduser(text))  # noqa: PTH111
    if not VOLUME_NAME.fullmatch(text):
        raise InvalidOption(
            option,
            f"'{text}' cannot be the name of a volume, only letters, digits, '_', '.' and '-' can; "
            "a path begins with '/' or './'",
        )
    return text
