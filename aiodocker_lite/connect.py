"""The network of a container: which one, who makes it, and what the container is told of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from aiodocker_lite.errors import ContainerNotRunning, InvalidOption
from aiodocker_lite.network.connection import Connection, Namespace
from aiodocker_lite.network.mode import Mode
from aiodocker_lite.runtime.ladder import Ladder
from aiodocker_lite.runtime.network import NETWORK_FILES, Surroundings, write_network_files
from aiodocker_lite.store import Store
from aiodocker_lite.store.container import Container

if TYPE_CHECKING:
    from aiodocker_lite.network.choice import Connect


@dataclass(frozen=True, slots=True)
class Wiring:
    """What is going to be the network of a container."""

    container: Container
    hostname: str
    mode: Mode
    namespaces: tuple[Mapping[str, str], ...]
    """For the spec; none for the host's network."""
    is_of_user: bool
    notes: Path
    way: Connect | None = None
    other: Container | None = None
    """Whose network it shares."""

    def files(self) -> dict[str, Path]:
        """What is to be bound where. Raises InvalidOption, StoreUnwritable."""
        if self.other:
            return {target: self.other.path / Path(target).name for target in NETWORK_FILES}
        around = Surroundings(is_host=self.mode.kind == "host")
        return write_network_files(self.container.path, self.hostname, self.container.options, around)

    async def connect(self, lifetime: AsyncExitStack, pid: int) -> None:
        """Connect the namespace of a process until `lifetime` ends. Raises NetworkFailed, StoreUnwritable."""
        if self.way is None:
            return
        options = self.container.options
        namespace = Namespace(pid, self.container.id, self.is_of_user, self.notes)
        made = await lifetime.enter_async_context(self.way(namespace, self.container.publish))
        around = Surroundings(is_host=False, address=made.address, nameservers=made.nameservers)
        write_network_files(self.container.path, self.hostname, options, around)
        self.container.write_connection(_described(made))


def _described(made: Connection) -> str:
    return json.dumps({"address": made.address, "ports": [asdict(port) for port in made.ports]})


def plan_network(container: Container, hostname: str, store: Store, ladder: Ladder) -> Wiring:
    """Find out what the options want, and whether it can be had here.

    Raises InvalidOption, NetworkUnavailable, NoSuchContainer, ContainerNotRunning.
    """
    mode = Mode.parse(container.options.network, publishes=bool(container.publish))
    if mode.kind != "host" and not ladder.is_isolated:
        reason = f"with the isolation '{ladder.rung}' there is no other than the host's"
        raise InvalidOption("--network", reason)
    is_of_user = bool(ladder.uid_map)
    notes = store.paths.root / "networks"
    namespaces: tuple[Mapping[str, str], ...] = () if mode.kind == "host" else ({"type": "network"},)
    way, other = None, None
    if mode.kind == "private":
        from aiodocker_lite.network.choice import choose

        way = choose(mode.program, privileged=not is_of_user)
    elif mode.kind == "container":
        other = store.containers.find(mode.container)
        state = other.state
        if not state.pid or not other.running:
            raise ContainerNotRunning(other.name)
        namespaces = ({"type": "network", "path": f"/proc/{state.pid}/ns/net"},)
        if is_of_user:  # to whom the other one belongs
            namespaces = ({"type": "user", "path": f"/proc/{state.pid}/ns/user"}, *namespaces)
    return Wiring(container, hostname, mode, namespaces, is_of_user, notes, way, other)


async def sweep_networks(store: Store) -> None:
    """Take back what containers of killed engines have left of theirs. Raises NetworkFailed, StoreUnwritable."""
    place = store.paths.root / "networks"
    if not place.exists():
        return
    from aiodocker_lite.network import cni

    await cni.sweep(place, store.containers.kept_from_running)
