"""What was run: a directory for each container, with its writable layer.

containers/<id>/config.json   image, name, command; written once, and removed first: without, it is none
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
from contextlib import ExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import anyio
from anyio import to_thread

from aiodocker_lite.digest import Digest
from aiodocker_lite.errors import (
    ContainerNameTaken,
    ContainerRunning,
    InvalidManifest,
    InvalidOption,
    LayerInUse,
    NoSuchContainer,
    StoreUnreadable,
    StoreUnwritable,
)
from aiodocker_lite.image import Image
from aiodocker_lite.store.durable import store_errors, write_durably
from aiodocker_lite.store.locks import hold, hold_now, is_held
from aiodocker_lite.store.paths import Paths
from aiodocker_lite.store.trees import remove_tree

_CONFIG = "config.json"
_ALIVE = "alive"
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
    def is_damaged(self) -> bool:
        """Its configuration cannot be understood: nothing is known but that it is here."""
        return not self.created

    @property
    def running(self) -> bool:
        """Somebody holds its `alive` lock."""
        return is_held(self.path / _ALIVE)

    @property
    def exit_code(self) -> int | None:
        """How it ended, or None if it did not, or nobody was there to see it."""
        try:
            code = json.loads((self.path / "state.json").read_bytes())["exitCode"]
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return code if isinstance(code, int) else None

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
        """Every container, the oldest first. Raises StoreUnreadable."""
        found = [_read(path) for path in self._directories()]
        return sorted(filter(None, found), key=lambda container: container.created)

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
                dead = self._sweep()
                container = self._create(image, command, self._checked_name(name), remove, alive)
            try:
                for path in dead:
                    with suppress(StoreUnwritable):  # not the fault of this one, and tried again by the next
                        await to_thread.run_sync(remove_tree, path)
                yield container
            finally:
                if remove:
                    with anyio.CancelScope(shield=True):
                        _forget(container.path)
                        await to_thread.run_sync(remove_tree, container.path)

    def write_exit(self, container: Container, code: int) -> None:
        """Keep how it ended."""
        state = {"exitCode": code, "finished": datetime.now(UTC).isoformat()}
        with store_errors(container.path):
            (container.path / "state.json").write_text(json.dumps(state))

    def remove(self, container: Container) -> None:
        """Remove a container that does not run. Raises ContainerRunning, NoSuchContainer."""
        if container.running:
            raise ContainerRunning(container.name)
        if not _forget(container.path):
            raise NoSuchContainer(container.name)
        remove_tree(container.path)

    async def leftovers(self) -> list[Path]:
        """What is left of containers whose removal was interrupted, or whose engine was killed."""
        async with hold(self._paths.lock("containers")):
            return self._sweep()

    def let_go_of(self, layer: Digest) -> None:
        """Make sure that a layer can be replaced. Raises LayerInUse while a container runs on it."""
        for container in self.all():
            if layer in container.layers and container.running:
                raise LayerInUse(layer.short, container.name)

    def _directories(self) -> list[Path]:
        try:
            return list(self._paths.containers.iterdir())
        except FileNotFoundError:
            return []
        except OSError as error:
            raise StoreUnreadable(str(self._paths.containers), error.strerror or str(error)) from error

    def _create(
        self, image: Image, command: tuple[str, ...], name: str, remove: bool, alive: ExitStack
    ) -> Container:
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
        try:
            with store_errors(path):
                path.mkdir(mode=0o700)
            # Before it can be seen: nobody may take it for one that has ended.
            alive.enter_context(hold_now(path / _ALIVE))
            config = json.dumps(container.to_json()).encode()
            write_durably(path / _CONFIG, config, beside=self._paths.ingests)
        except BaseException:
            remove_tree(path)
            raise
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

    def _sweep(self) -> list[Path]:
        """Forget what should have gone with its process, whose engine was killed.

        Returns what is to be removed, with what is left of earlier removals. The caller holds
        the lock, so no directory is one that is being made.
        """
        for container in self.all():
            if container.remove and not container.running:
                _forget(container.path)
        with store_errors(self._paths.containers):
            return [path for path in self._directories() if not (path / _CONFIG).exists()]


def _random_names() -> Iterator[str]:
    chance = random.Random(time.time_ns())
    while True:
        yield f"{chance.choice(_MANNERS)}_{chance.choice(_PEOPLE)}"
        yield f"{chance.choice(_MANNERS)}_{chance.choice(_PEOPLE)}{chance.randrange(10_000)}"


def _forget(path: Path) -> bool:
    """Make it no container any more; False if it was none."""
    with store_errors(path):
        try:
            (path / _CONFIG).unlink()
        except FileNotFoundError:
            return False
        return True


def _read(path: Path) -> Container | None:
    config = path / _CONFIG
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
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise StoreUnreadable(str(config), error.strerror or str(error)) from error
    except (ValueError, KeyError, TypeError, InvalidManifest):
        nothing = Digest.of(b"")
        return Container(path.name, path.name[:12], "<damaged>", nothing, nothing, (), (), "", False, path)
