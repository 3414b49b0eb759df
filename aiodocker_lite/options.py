"""How a container is to be run: what `docker run` has as options, as one frozen value."""

from __future__ import annotations

import re
import signal
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import IO, Any, Literal, Self, TypeAlias

from aiodocker_lite import records
from aiodocker_lite.errors import InvalidOption
from aiodocker_lite.mount import Mount as Mount
from aiodocker_lite.ports import Port
from aiodocker_lite.restart import RestartPolicy

PullPolicy: TypeAlias = Literal["always", "missing", "never"]
"""When an image is pulled: even if it is here (for one request where it is up to date), if it is not, or not at all."""
Stream: TypeAlias = int | IO[Any] | None
_SIGNAL = re.compile(r"(?:SIG)?(?:(?P<number>[0-9]{1,3})|(?P<base>[A-Z0-9]+)(?:\+(?P<more>[0-9]{1,3}))?)")

STOP_SIGNAL = "org.opencontainers.image.stopSignal"
"""The annotation of a runtime spec that says which signal ends a container (image-spec, conversion.md)."""
INIT = "aiodocker-lite.init"
"""The annotation of one that wants a process 1 before its command."""


def signal_number(name: str, option: str = "--stop-signal") -> int:
    """The number of ``SIGTERM``, ``term``, ``15`` or ``SIGRTMIN+3``. Raises InvalidOption."""
    if not (number := _signal_number(name)):
        raise InvalidOption(option, f"there is no signal '{name}'")
    return number


def known_signal(name: str) -> str:
    """The signal that an image names, or nothing if there is none of this name."""
    return name if _signal_number(name) else ""


def _signal_number(name: str) -> int:
    """0 for what is none."""
    match = _SIGNAL.fullmatch(name.upper())
    if match is None or (match["more"] and match["base"] != "RTMIN"):
        return 0
    if match["number"]:
        number = int(match["number"])
    else:
        number = signal.Signals.__members__.get(f"SIG{match['base']}", 0) + int(match["more"] or 0)
    return number if number <= signal.SIGRTMAX else 0


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


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """Options of one run; vary it with `dataclasses.replace`. None means: as the image says."""

    env: Mapping[str, str] = field(default_factory=dict, hash=False)
    mounts: tuple[Mount, ...] = ()
    user: str | None = None
    groups: tuple[str, ...] = ()
    """More groups of the process, by name or number."""
    workdir: str | None = None
    entrypoint: tuple[str, ...] | None = None
    hostname: str | None = None
    domainname: str | None = None
    hosts: tuple[str, ...] = ()
    """More lines of /etc/hosts, as ``NAME:ADDRESS``."""
    dns: tuple[str, ...] = ()
    dns_search: tuple[str, ...] = ()
    dns_options: tuple[str, ...] = ()
    name: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict, hash=False)
    terminal: bool = False
    """A terminal in the place of the three standard streams."""
    network: str | None = None
    """``host``, ``none``, ``private`` or ``container:NAME``; None is the host's, or a private one with ports."""
    publish: tuple[Port, ...] = ()
    publish_all: bool = False
    """Also all ports that the image exposes, each on a port of the host that is free."""
    remove: bool = False
    """Remove the container, with everything it wrote, when its process has ended."""
    restart: str | None = None
    """``on-failure[:N]``, ``always`` or ``unless-stopped``, for one that is detached; None is ``no``."""
    interactive: bool = False
    """Keep standard input open; one that is detached reads nothing from it, and no end either."""
    init: bool = False
    """Have a process 1 that passes signals on and takes leave of the dead."""
    stop_signal: str | None = None
    stop_timeout: int | None = None
    """Seconds between that signal and SIGKILL; -1 is for ever."""
    read_only: bool = False
    """Nothing of the root can be written."""
    shm_size: int | None = None
    """Bytes of /dev/shm."""
    ipc: str | None = None
    uts: str | None = None
    pid: str | None = None
    sysctls: Mapping[str, str] = field(default_factory=dict, hash=False)
    cap_add: tuple[str, ...] = ()
    cap_drop: tuple[str, ...] = ()
    security: tuple[str, ...] = ()
    """As docker's `--security-opt`, but for a profile of seccomp, which stands here with its content."""
    privileged: bool = False
    """All capabilities and devices, and no filter: no protection of the host."""
    devices: tuple[str, ...] = ()
    """Devices of the host, as ``HOST[:CONTAINER[:rwm]]``."""
    ulimits: tuple[str, ...] = ()
    """As ``NAME=SOFT[:HARD]``; -1 is unlimited."""
    oom_score_adj: int | None = None
    memory: int | None = None
    """Bytes, as the next two."""
    memory_swap: int | None = None
    """Memory and swap together; -1 is unlimited."""
    memory_reservation: int | None = None
    cpus: float | None = None
    cpu_shares: int | None = None
    cpu_period: int | None = None
    """Microseconds, as the next one."""
    cpu_quota: int | None = None
    cpuset_cpus: str | None = None
    cpuset_mems: str | None = None
    pids_limit: int | None = None
    require_isolation: bool = False
    """Refuse to run with less isolation than all namespaces."""
    runtime: str | None = None
    """``native``, ``crun``, ``runc``, ``youki`` or the absolute path of one of them; None is the default one."""

    def __post_init__(self) -> None:
        for option in (
            "user", "workdir", "hostname", "domainname", "name", "stop_signal", "restart", "ipc", "uts", "pid", "runtime", "cpuset_cpus",
            "cpuset_mems",
        ):  # fmt: skip
            if (given := getattr(self, option)) is not None:
                text(option, given)
        if self.entrypoint is not None:
            words("entrypoint", self.entrypoint)
        for option in (
            "groups", "hosts", "dns", "dns_search", "dns_options", "cap_add", "cap_drop", "security", "devices",
            "ulimits",
        ):  # fmt: skip
            words(option, getattr(self, option))
        for option in ("env", "labels", "sysctls"):
            if not isinstance(given := getattr(self, option), Mapping):
                raise InvalidOption(option, f"{given!r} is not a mapping")
            for member in (*given, *given.values()):
                text(option, member)
        for option in (
            "stop_timeout", "shm_size", "oom_score_adj", "memory", "memory_swap", "memory_reservation", "cpu_shares",
            "cpu_period", "cpu_quota", "pids_limit",
        ):  # fmt: skip
            given = getattr(self, option)
            if given is not None and (not isinstance(given, int) or isinstance(given, bool)):
                raise InvalidOption(option, f"{given!r} is not a whole number")
        mounts: object = self.mounts
        if not isinstance(mounts, Sequence) or not all(isinstance(mount, Mount) for mount in mounts):
            raise InvalidOption("mounts", f"{self.mounts!r} is not a tuple of mounts")
        if not RestartPolicy.parse(self.restart).is_none and self.remove:
            raise InvalidOption("--restart", "Conflicting options: --restart and --rm")

    def to_json(self) -> dict[str, Any]:
        """All of it, for `from_json`."""
        found: dict[str, Any] = records.to_json(self)
        return found

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> Self:
        """What `to_json` described. Raises InvalidOption, TypeError."""
        return records.from_json(cls, found)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecOptions:
    """Options of one more process in a container. None means: as its first process has it."""

    env: Mapping[str, str] = field(default_factory=dict, hash=False)
    user: str | None = None
    workdir: str | None = None
    terminal: bool = False
    """A terminal in the place of the three standard streams."""
    privileged: bool = False
    """With all capabilities that there are here, and without a filter."""


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
