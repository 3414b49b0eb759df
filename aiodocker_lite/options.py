"""How a container is to be run: what `docker run` has as options, as one frozen value."""

from __future__ import annotations

import os
import posixpath
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import IO, Any, Literal, Self, TypeAlias

from aiodocker_lite.errors import InvalidOption
from aiodocker_lite.ports import Port

PullPolicy: TypeAlias = Literal["always", "missing", "never"]
"""When an image is pulled: even if it is here (for one request where it is up to date), if it is not, or not at all."""
Stream: TypeAlias = int | IO[Any] | None


def text(option: str, given: object) -> str:
    """What was given, if it is a string. Raises InvalidOption."""
    if not isinstance(given, str):
        raise InvalidOption(option, f"{given!r} is not a string")
    return given


def words(option: str, given: Iterable[str]) -> tuple[str, ...]:
    """The words of a command; a string is a row of letters too, and that is never meant. Raises InvalidOption."""
    if isinstance(given, str | bytes) or not isinstance(given, Iterable):
        raise InvalidOption(option, f"{given!r} is not a list of words, such as ['echo', 'hi']")
    return tuple(text(option, word) for word in given)


def pull_policy(given: object, option: str = "pull") -> PullPolicy:
    """What was given, if it is a policy. Raises InvalidOption."""
    match given:
        case "always" | "missing" | "never":
            return given
        case _:
            raise InvalidOption(option, f'{given!r} is not one of "always", "missing" or "never"')


@dataclass(frozen=True, slots=True)
class Mount:
    """A directory or file of the host (`bind`), or an empty file system in memory (`tmpfs`)."""

    target: str
    source: str | None = None
    read_only: bool = False

    @property
    def kind(self) -> Literal["bind", "tmpfs"]:
        """A mount without a source is a tmpfs."""
        return "tmpfs" if self.source is None else "bind"

    @classmethod
    def parse(cls, text: str) -> Mount:
        """Read docker's ``-v SOURCE:TARGET[:ro]``. Raises InvalidOption."""
        parts = text.split(":")
        if len(parts) not in (2, 3) or not all(parts):
            raise InvalidOption("--volume", f"'{text}' is not SOURCE:TARGET[:ro]")
        source, target = parts[0], parts[1]
        modes = set(parts[2].split(",")) if len(parts) == 3 else set()
        # z and Z relabel for SELinux, rw is the default: accepted for the sake of old habits.
        if unknown := modes - {"ro", "rw", "z", "Z"}:
            raise InvalidOption("--volume", f"unknown mode '{', '.join(sorted(unknown))}' in '{text}'")
        if not target.startswith("/") or posixpath.normpath(target) == "/":
            raise InvalidOption("--volume", f"the target '{target}' must be an absolute path other than '/'")
        if not source.startswith(("/", ".", "~")):
            raise InvalidOption(
                "--volume", f"'{source}' is a named volume; give a path, such as './{source}'"
            )
        return cls(target, os.path.realpath(os.path.expanduser(source)), "ro" in modes)  # noqa: PTH111


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """Options of one run; vary it with `dataclasses.replace`. None means: as the image says."""

    env: Mapping[str, str] = field(default_factory=dict, hash=False)
    mounts: tuple[Mount, ...] = ()
    user: str | None = None
    workdir: str | None = None
    entrypoint: tuple[str, ...] | None = None
    hostname: str | None = None
    name: str | None = None
    terminal: bool = False
    """A terminal in the place of the three standard streams."""
    network: str | None = None
    """``host``, ``none``, ``private`` or ``container:NAME``; None is the host's, or a private one with ports."""
    publish: tuple[Port, ...] = ()
    remove: bool = False
    """Remove the container, with everything it wrote, when its process has ended."""
    require_isolation: bool = False
    """Refuse to run with less isolation than all namespaces."""

    def __post_init__(self) -> None:
        for option in ("user", "workdir", "hostname", "name"):
            if (given := getattr(self, option)) is not None:
                text(option, given)
        if self.entrypoint is not None:
            words("entrypoint", self.entrypoint)
        if not isinstance(self.env, Mapping):
            raise InvalidOption("env", f"{self.env!r} is not a mapping")
        for given in (*self.env, *self.env.values()):
            text("env", given)
        mounts: object = self.mounts
        if not isinstance(mounts, Sequence) or not all(isinstance(mount, Mount) for mount in mounts):
            raise InvalidOption("mounts", f"{self.mounts!r} is not a tuple of mounts")


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecOptions:
    """Options of one more process in a container. None means: as its first process has it."""

    env: Mapping[str, str] = field(default_factory=dict, hash=False)
    user: str | None = None
    workdir: str | None = None
    terminal: bool = False
    """A terminal in the place of the three standard streams."""


@dataclass(frozen=True, slots=True)
class Streams:
    """Standard streams of a container: a descriptor, a file, `subprocess.PIPE` or `DEVNULL`, or None
    for this process's own."""

    stdin: Stream = subprocess.DEVNULL
    stdout: Stream = None
    stderr: Stream = None
    size: tuple[int, int] | None = None
    """Lines and columns at the start, if the options want a terminal."""

    @classmethod
    def captured(cls, *, has_input: bool = False) -> Self:
        """Pipes for the output, and for the input if there is one."""
        return cls(subprocess.PIPE if has_input else subprocess.DEVNULL, subprocess.PIPE, subprocess.PIPE)
