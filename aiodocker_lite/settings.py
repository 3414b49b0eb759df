"""Where the store is, and how much is done at once."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from fractions import Fraction
from pathlib import Path

from aiodocker_lite.errors import InvalidOption
from aiodocker_lite.platforms import Platform

_PLATFORM = "DOCKER_DEFAULT_PLATFORM"
RUNTIME = "AIODOCKER_LITE_RUNTIME"
_NUMBER = re.compile(r"([0-9]{1,15})|([0-9]{1,15}(?:\.[0-9]{1,9})?)(?:([KMGT])(?:iB)?|([kKMGT])B)")


def number_of(text: str) -> int | None:
    """A number such as ``5000``, ``20G`` (of 1024s) or ``1.5GB`` (of 1000s); None for anything else."""
    match = _NUMBER.fullmatch(text)
    if match is None:
        return None
    whole, number, binary, decimal = match.groups()
    base, letter = (1024, binary) if binary else (1000, (decimal or " ").upper())
    return math.ceil(Fraction(whole or number) * int(base ** " KMGT".index(letter)))


def default_root() -> Path:
    """``AIODOCKER_LITE_ROOT``, else ``/var/lib`` for root and ``$XDG_DATA_HOME`` for others."""
    if chosen := os.environ.get("AIODOCKER_LITE_ROOT"):
        return Path(chosen)
    if os.geteuid() == 0:
        return Path("/var/lib/aiodocker-lite")
    data = os.environ.get("XDG_DATA_HOME")
    return (Path(data) if data else Path.home() / ".local" / "share") / "aiodocker-lite"


def default_config_dirs() -> tuple[Path, ...]:
    """``$XDG_CONFIG_HOME`` or ``~/.config``, and ``/etc``."""
    try:
        own = Path(os.environ.get("XDG_CONFIG_HOME") or "~/.config").expanduser()
    except RuntimeError:  # a user without a home
        return (Path("/etc"),)
    return own, Path("/etc")


def default_platform() -> Platform:
    """``DOCKER_DEFAULT_PLATFORM``, else this machine's. Raises InvalidOption."""
    chosen = os.environ.get(_PLATFORM)
    return Platform.parse(chosen, _PLATFORM) if chosen else Platform.here()


def default_runtime() -> str:
    """``AIODOCKER_LITE_RUNTIME``, else ``native``, which is everywhere."""
    return os.environ.get(RUNTIME) or "native"


def default_workers() -> int:
    """One unpacking process for each core and one more, for they also wait for bytes."""
    return min(len(os.sched_getaffinity(0)) + 1, 8)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one layer may cost before it is refused."""

    unpacked_bytes: int = 1 << 40
    """Bytes of its regular files, holes included."""
    ratio: int = 200
    """How many times the size of its blob its tar may be, when that is more than 1 GiB."""
    entries: int = 5_000_000
    depth: int = 1000
    """Directories in one path."""
    name_bytes: int = 4096
    header_bytes: int = 1 << 20
    path_bytes: int = 160 << 20
    """Memory for directories and links that must be remembered to the end."""
    free_bytes: int = 1 << 30
    """What stays free of the disk, or 5 % of it if that is less."""

    @classmethod
    def parse(cls, changes: Iterable[str]) -> Limits:
        """Defaults with changes such as ``entries=9000000`` or ``unpacked_bytes=2T``. Raises InvalidOption."""
        names = {field.name for field in fields(cls)}
        found = {}
        for change in changes:
            name, _, text = change.partition("=")
            if name not in names:
                raise InvalidOption("--limit", f"there is no limit '{name}', only {', '.join(sorted(names))}")
            if (number := number_of(text)) is None:
                raise InvalidOption("--limit", f"'{text}' is not a number such as 5000 or 20G")
            found[name] = number
        return cls(**found)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything an engine is told once. All sizes are bytes, all times seconds."""

    root: Path = field(default_factory=default_root)
    platform: Platform = field(default_factory=default_platform)
    runtime: str = field(default_factory=default_runtime)
    """Who makes containers whose options name nobody."""
    insecure: bool = False
    """Plain http, and https without checking certificates, for every registry."""
    cert_dir: Path | None = None
    """Certificates for every registry, in the place of those in `certs.d`."""
    config_dirs: tuple[Path, ...] = field(default_factory=default_config_dirs)
    """Where the files of docker, podman and containerd about registries are; the first that is there counts."""
    creds: Mapping[str, tuple[str, str]] = field(default_factory=dict, repr=False, hash=False)
    """User name and password by registry; they come before those in files, and are kept nowhere."""
    authfile: Path | None = None
    """The one file with credentials, in the place of ``REGISTRY_AUTH_FILE`` and docker's and podman's own."""
    downloads: int = 6
    """Download slots: requests for layers that are answered at once. No host gets many more connections."""
    streams: int = 4
    """How many of them one large layer may have while nobody else wants them; 1 for none but its own."""
    split_above: int = 32 << 20
    """A layer of which more is missing is large."""
    foreign_layers: bool = False
    """Fetch layers that registries may not distribute from the addresses in their manifest, as a stranger."""
    workers: int = field(default_factory=default_workers)
    """Unpacking processes."""
    batch: int = 1 << 20
    """How much each stream writes to disk at once, and the most that a killed pull fetches twice."""
    pauses: tuple[float, ...] = (1.0, 2.0, 4.0, 8.0, 16.0)
    """The most that is waited before each new try of a failed request, while no progress is made."""
    patience: float = 300.0
    """What one pull waits in all because of requests that brought nothing."""
    idle_timeout: float = 60.0
    """A connection that brings nothing for so long is given up. However slow it is while bytes come, it
    is kept, as in containerd and podman: nobody knows how slow a link may be."""
    limits: Limits = field(default_factory=Limits)
    discard_blobs: bool = False
    """Keep no blob of a layer that was unpacked: for machines that run images, and pass none on."""
    max_store: int | None = None
    """Bytes that images may take in all; after a pull, those that were used last the longest ago make room."""

    def __post_init__(self) -> None:
        for name in ("downloads", "streams", "workers", "batch"):
            if getattr(self, name) < 1:
                raise InvalidOption(name, "it must be at least 1")
