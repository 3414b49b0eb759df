"""One container as it stands in the store."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiodocker_lite.digest import Digest
from aiodocker_lite.errors import InvalidManifest, StoreUnreadable
from aiodocker_lite.manifest import RunDefaults
from aiodocker_lite.mount import Mount, place
from aiodocker_lite.options import RunOptions
from aiodocker_lite.platforms import Platform
from aiodocker_lite.ports import Port
from aiodocker_lite.records import from_json, to_json
from aiodocker_lite.store.durable import store_errors
from aiodocker_lite.store.locks import is_held
from aiodocker_lite.store.state import ALIVE, State, read_state

CONFIG = "config.json"
_CONNECTION = "connection.json"
_RESTART = "restart"


_KERNEL = ("/proc", "/sys", "/dev")


@dataclass(frozen=True, slots=True)
class Mounted:
    """One place in a container where something else is."""

    target: str
    mount: Mount
    source: Path | None
    """On this machine; None for what is in memory."""


@dataclass(frozen=True, slots=True)
class Container:
    """One container as it stands in the store."""

    id: str
    name: str
    image: str
    manifest: Digest
    image_id: Digest
    platform: Platform
    layers: tuple[Digest, ...]
    defaults: RunDefaults
    """What the image said about running it, when it was here."""
    arguments: tuple[str, ...]
    """In the place of the image's own command, as they were given."""
    command: tuple[str, ...]
    """The whole command line."""
    options: RunOptions
    created: str
    remove: bool
    path: Path

    @property
    def is_damaged(self) -> bool:
        """Its configuration cannot be understood: nothing is known but that it is here."""
        return not self.created

    @property
    def running(self) -> bool:
        """Somebody holds its `alive` lock."""
        return is_held(self.alive)

    @property
    def alive(self) -> Path:
        """The file that is locked as long as it runs."""
        return self.path / ALIVE

    def shall_restart(self) -> bool:
        """It has a policy to be started again by, and nobody has asked it to end."""
        return (self.path / _RESTART).exists()

    def let_restart(self) -> None:
        """Have it started again when it has ended. Raises DiskFull, StoreUnwritable."""
        with store_errors(self.path):
            (self.path / _RESTART).touch()

    def let_end(self) -> None:
        """Have it not started again: what needs no room on a full disk. Raises StoreUnwritable."""
        with store_errors(self.path):
            (self.path / _RESTART).unlink(missing_ok=True)

    @property
    def state(self) -> State:
        """How it is in this moment."""
        return read_state(self.path)

    @property
    def exit_code(self) -> int | None:
        """How it ended, or None if it did not, or nobody knows."""
        return self.state.exit_code

    @property
    def connection(self) -> dict[str, Any]:
        """How its own network was connected when it was started last: address, ports."""
        try:
            found = json.loads((self.path / _CONNECTION).read_bytes())
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    @property
    def ports(self) -> tuple[Port, ...]:
        """Its ports that are the host's too, with the numbers that were chosen."""
        return tuple(from_json(Port, port) for port in self.connection.get("ports", ()))

    @property
    def publish(self) -> tuple[Port, ...]:
        """Which ports shall be the host's too. Raises InvalidOption for what an image exposes and is no port."""
        chosen = self.options.publish
        if not self.options.publish_all:
            return chosen
        known = {port.inside for port in chosen}
        exposed = (port for text in self.defaults.exposed_ports for port in Port.exposed(text))
        return (*chosen, *(port for port in exposed if port.inside not in known))

    def write_connection(self, text: str) -> None:
        """Keep it. Raises DiskFull, StoreUnwritable."""
        with store_errors(self.path):
            (self.path / _CONNECTION).write_text(text)

    @property
    def hostname(self) -> str:
        """What it is called where its options do not say: as the host whose name or, by its options, network it has."""
        shares = "host" in (self.options.uts, self.options.network)
        return os.uname().nodename if shares else self.id[:12]

    @property
    def network(self) -> str:
        """Which one it was given, by the words of the option."""
        exposes = self.options.publish_all and self.defaults.exposed_ports
        return self.options.network or ("private" if self.options.publish or exposes else "host")

    @property
    def mounted(self) -> tuple[Mounted, ...]:
        """What is mounted in it, by target: as its options want, and its image."""
        chosen = {place(mount.target): mount for mount in self.options.mounts}
        for target in self.defaults.volumes:
            where = place(target)
            if where != "/" and not any(f"{where}/".startswith(f"{kernel}/") for kernel in _KERNEL):
                chosen.setdefault(where, Mount(where, ""))
        found = []
        for number, (target, mount) in enumerate(sorted(chosen.items())):
            match mount.kind:
                case "tmpfs":
                    source = None
                case "bind":
                    source = Path(mount.source or "")
                case _ if mount.source:
                    source = self.path.parents[1] / "volumes" / mount.source / "data"
                case _:
                    source = self.path / "volumes" / str(number)
            found.append(Mounted(target, mount, source))
        return tuple(found)

    @property
    def labels(self) -> dict[str, str]:
        """The image's, and its own."""
        return {**self.defaults.labels, **self.options.labels}

    def to_json(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "name": self.name,
            "image": self.image,
            "manifest": str(self.manifest),
            "imageID": str(self.image_id),
            "platform": to_json(self.platform),
            "layers": [str(layer) for layer in self.layers],
            "defaults": to_json(self.defaults),
            "arguments": list(self.arguments),
            "command": list(self.command),
            "options": self.options.to_json(),
            "created": self.created,
            "remove": self.remove,
        }


def read_container(path: Path) -> Container | None:
    """The container in this directory, or None if it is none. Raises StoreUnreadable."""
    config = path / CONFIG
    try:
        found = json.loads(config.read_bytes())
        return Container(
            id=found["id"],
            name=found["name"],
            image=found["image"],
            manifest=Digest.parse(found["manifest"]),
            image_id=Digest.parse(found["imageID"]),
            platform=from_json(Platform, found["platform"]),
            layers=tuple(Digest.parse(layer) for layer in found["layers"]),
            defaults=from_json(RunDefaults, found["defaults"]),
            arguments=tuple(found["arguments"]),
            command=tuple(found["command"]),
            options=RunOptions.from_json(found["options"]),
            created=found["created"],
            remove=found["remove"],
            path=path,
        )
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise StoreUnreadable(str(config), error.strerror or str(error)) from error
    except (ValueError, KeyError, TypeError, AttributeError, InvalidManifest):
        return _damaged(path)


def _damaged(path: Path) -> Container:
    nothing = Digest.of(b"")
    return Container(
        id=path.name,
        name=path.name[:12],
        image="<damaged>",
        manifest=nothing,
        image_id=nothing,
        platform=Platform.here(),
        layers=(),
        defaults=RunDefaults(),
        arguments=(),
        command=(),
        options=RunOptions(),
        created="",
        remove=False,
        path=path,
    )
