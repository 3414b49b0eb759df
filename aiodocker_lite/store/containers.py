"""What was run: a directory for each container, with its writable layer.

containers/<id>/config.json   image, name, command; written once
                state.json    running or exited, and how
                alive         locked by whoever runs it, as long as it runs
                upper/ work/  the overlay's writable part
                rootfs/       where it is mounted, or the flattened tree
"""

from __future__ import annotations

import json
import random
import re
import secrets
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from aiodocker_lite.digest import Digest
from aiodocker_lite.errors import ContainerNameTaken, ContainerRunning, InvalidOption, NoSuchContainer, StoreCorrupt
from aiodocker_lite.image import Image
from aiodocker_lite.store.durable import remove_tree, store_errors
from aiodocker_lite.store.locks import hold, hold_now
from aiodocker_lite.store.paths import Paths

_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]*")
_MANNERS = (
    "brave",
    "calm",
    "clever",
    "eager",
    "gentle",
    "happy",
    "keen",
    "lucid",
    "merry",
    "patient",
    "quick",
)
_PEOPLE = (
    "babbage",
    "curie",
    "dijkstra",
    "euler",
    "gauss",
    "hopper",
    "knuth",
    "lovelace",
    "noether",
    "turing",
)


@dataclass(frozen=True, slots=True)
class Container:
    """One container as it stands in the store."""

    id: str
    name: str
    image: str
    manifest: Digest
    image_id: Digest
    layers: tuple[Digest, ...]
    command: tuple[str, ...]
    created: str
    remove: bool
    path: Path

    @property
    def running(self) -> bool:
        """Somebody holds its `alive` lock."""
        with hold_now(self.path / "alive") as free:
            return not free

    @property
    def exit_code(self) -> int | None:
        """How it ended, or None if it did not, or nobody was there to see it."""
        try:
            code = json.loads((self.path / "state.json").read_bytes())["exitCode"]
        except (OSError, ValueError, KeyError):
            return None
        return int(code)

    def to_json(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "name": self.name,
            "image": self.image,
            "manifest": str(self.manifest),
            "imageID": str(self.image_id),
            "layers": [str(layer) for layer in self.layers],
            "command": list(self.command),
            "created": self.created,
            "remove": self.remove,
        }


class Containers:
    """The containers of a store."""

    def __init__(self, paths: Paths) -> None:
        self._paths = paths

    def all(self) -> list[Container]:
        """Every container, the oldest first. Raises StoreCorrupt."""
        found = [_read(path) for path in self._paths.containers.iterdir() if (path / "config.json").exists()]
        return sorted(found, key=lambda container: container.created)

    def find(self, text: str) -> Container:
        """The container of this name, this ID or the beginning of one. Raises NoSuchContainer."""
        containers = self.all()
        for container in containers:
            if text in (container.name, container.id):
                return container
        found = [container for container in containers if text and container.id.startswith(text)]
        if len(found) != 1:
            raise NoSuchContainer(text)
        return found[0]

    @asynccontextmanager
    async def living(
        self, image: Image, command: tuple[str, ...], *, name: str | None, remove: bool
    ) -> AsyncIterator[Container]:
        """A new container that is alive while the block runs, and removed after it if it shall be.

        Raises ContainerNameTaken, InvalidOption, DiskFull, StoreUnwritable.
        """
        with ExitStack() as alive:
            async with hold(self._paths.lock("containers")):
                self._sweep()
                container = self._create(image, command, self._checked_name(name), remove=remove)
                alive.enter_context(hold_now(container.path / "alive"))
            try:
                yield container
            finally:
                if remove:
                    remove_tree(container.path)

    def write_exit(self, container: Container, code: int) -> None:
        """Keep how it ended."""
        state = {"exitCode": code, "finished": datetime.now(UTC).isoformat()}
        with store_errors(container.path):
            (container.path / "state.json").write_text(json.dumps(state))

    def remove(self, container: Container) -> None:
        """Remove a container that does not run. Raises ContainerRunning."""
        if container.running:
            raise ContainerRunning(container.name)
        remove_tree(container.path)

    def _create(self, image: Image, command: tuple[str, ...], name: str, *, remove: bool) -> Container:
        identity = secrets.token_hex(32)
        path = self._paths.containers / identity
        container = Container(
            identity,
            name,
            image.name,
            image.manifest.digest,
            image.id,
            image.config.diff_ids,
            command,
            datetime.now(UTC).isoformat(),
            remove,
            path,
        )
        with store_errors(path):
            path.mkdir(mode=0o700)
            (path / "alive").touch(mode=0o600)
            (path / "config.json").write_text(json.dumps(container.to_json()))
        return container

    def _checked_name(self, name: str | None) -> str:
        taken = {container.name: container.id for container in self.all()}
        if name is None:
            return next(candidate for candidate in _random_names() if candidate not in taken)
        if not _NAME.fullmatch(name):
            raise InvalidOption("--name", f"'{name}' may only have letters, digits, '_', '.' and '-'")
        if name in taken:
            raise ContainerNameTaken(name, taken[name][:12])
        return name

    def _sweep(self) -> None:
        """Remove what should have gone with its process, whose engine was killed."""
        for container in self.all():
            if container.remove and not container.running:
                remove_tree(container.path)


def _random_names() -> Iterator[str]:
    chance = random.Random(time.time_ns())
    while True:
        yield f"{chance.choice(_MANNERS)}_{chance.choice(_PEOPLE)}"
        yield f"{chance.choice(_MANNERS)}_{chance.choice(_PEOPLE)}{chance.randrange(10_000)}"


def _read(path: Path) -> Container:
    config = path / "config.json"
    try:
        found = json.loads(config.read_bytes())
        return Container(
            found["id"],
            found["name"],
            found["image"],
            Digest.parse(found["manifest"]),
            Digest.parse(found["imageID"]),
            tuple(Digest.parse(layer) for layer in found["layers"]),
            tuple(found["command"]),
            found["created"],
            found["remove"],
            path,
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StoreCorrupt(str(config), str(error)) from error
