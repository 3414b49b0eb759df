"""What a connected container is told of its network, and what a connecting program is told of the container."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from aiodocker_lite.ports import Port


@dataclass(frozen=True, slots=True)
class Namespace:
    """A network namespace that waits to be connected."""

    pid: int
    """A process in it."""
    id: str
    """Of its container."""
    is_of_user: bool
    """It belongs to a user namespace of that process."""
    place: Path
    """A directory for what has to be kept."""

    @property
    def path(self) -> str:
        """Where the kernel shows it."""
        return f"/proc/{self.pid}/ns/net"


@dataclass(frozen=True, slots=True)
class Connection:
    """How a container is connected."""

    address: str
    ports: tuple[Port, ...]
    """With the numbers that were chosen."""
    nameservers: tuple[str, ...] = ()
    """In the place of the host's, if any."""
