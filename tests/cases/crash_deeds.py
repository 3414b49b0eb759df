"""What is interrupted: a stage with a registry, archives and stores, and every command that writes."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import anyio

from aiodocker_lite import Engine, Settings
from aiodocker_lite.digest import Digest
from aiodocker_lite.errors import NoSuchImage
from aiodocker_lite.platforms import Platform
from aiodocker_lite.settings import Limits
from aiodocker_lite.store import Store
from aiodocker_lite.testing.images import Image, image, layer, layer_of, noise, write_layout
from tests.fakes.processes import RealRegistry, running_registry
from tests.fakes.tars import END, directory, file, hard_link, symlink

HERE = str(Platform.here())
SHARED = layer({"etc/": b"", "etc/conf": noise(5_000, "conf"), "etc/old": b"to go"})
OLD = image(SHARED, layer({"srv/": b"", "srv/old": noise(9_000, "old")}), platform=HERE)
NEW = image(
    SHARED,
    layer_of(
        b"".join((
            directory(b"bin", 0o755), file(b"bin/tool", noise(20_000, "tool"), mode=0o4755), symlink(b"bin/sh", b"tool"),
            hard_link(b"bin/other", b"bin/tool"), file(b"etc/.wh.old"),
            # Needs a joint: what it is linked to is in the layer below.
            hard_link(b"etc/linked", b"etc/conf"),
        )) + END
    ),
    layer({"var/": b"", "var/data": noise(30_000, "data"), "var/more": b"more"}),
    platform=HERE,
)  # fmt: skip
LARGE_SIZES = (12_000_000, 9_000_000, 6_000_000, 3_000_000)
MOST = 125_000
"""Bytes that NEW takes alone, about, packed and unpacked."""
IN_PEACE = Settings(pauses=(0, 0, 0), limits=Limits(free_bytes=0))
OLD_NAME = "kept.test/old:1"
OLD_ARCHIVE = b"what was there before"

Listing = frozenset[tuple[tuple[str, ...], str]]
"""The images of a store: their names, and their IDs."""


@dataclass(frozen=True)
class Stage:
    """Where it all happens; the same for every case."""

    directory: Path
    address: str

    @property
    def new(self) -> str:
        return f"{self.address}/new:1"

    @property
    def large(self) -> str:
        return f"{self.address}/large:1"

    @property
    def archive(self) -> Path:
        """NEW, as `docker save` wrote it until version 24."""
        return self.directory / "new.tar"

    @property
    def saved(self) -> Path:
        """What saving NEW gives."""
        return self.directory / "saved.tar"

    def store(self, kind: str) -> Path:
        """A store to be copied: with OLD alone, with both, or with something to prune."""
        return self.directory / "stores" / kind


@dataclass(frozen=True)
class Ground:
    """The copies that one case may ruin."""

    stage: Stage
    directory: Path

    @property
    def store(self) -> Path:
        return self.directory / "store"

    @property
    def target(self) -> Path:
        return self.directory / "out" / "saved.tar"

    @property
    def places(self) -> tuple[str, str]:
        """What is below them counts."""
        return str(self.store), str(self.target.parent)


@dataclass(frozen=True)
class Deed:
    """One command, the same thing asked of the library, and the store that it is done to."""

    name: str
    kind: str
    words: Callable[[Ground], list[str]]
    again: Callable[[Ground, Engine], Awaitable[object]]
    settings: Settings = IN_PEACE
    """Of the engine that does it again."""


async def _remove_again(ground: Ground, engine: Engine) -> None:
    try:
        await engine.remove(ground.stage.new)
    except NoSuchImage:
        # The name went with the first try, as it had to; the rest is for whoever collects next.
        await engine.prune()


DEEDS = {
    deed.name: deed
    for deed in (
        Deed(
            "pull", "old",
            lambda at: ["pull", "--quiet", at.stage.new],
            lambda at, engine: engine.pull(at.stage.new),
        ),
        Deed(
            "discard", "old",
            lambda at: ["pull", "--quiet", "--discard-blobs", at.stage.new],
            lambda at, engine: engine.pull(at.stage.new),
            replace(IN_PEACE, discard_blobs=True),
        ),
        Deed(
            "evict", "old",
            # OLD has to go.
            lambda at: ["pull", "--quiet", "--max-store", str(MOST), at.stage.new],
            lambda at, engine: engine.pull(at.stage.new),
            replace(IN_PEACE, max_store=MOST),
        ),
        Deed(
            "load", "old",
            lambda at: ["load", "--quiet", "-i", str(at.stage.archive)],
            lambda at, engine: engine.load(at.stage.archive),
        ),
        Deed(
            "tag", "old",
            lambda at: ["tag", OLD_NAME, "more.test/name:2"],
            lambda at, engine: engine.tag(OLD_NAME, "more.test/name:2"),
        ),
        Deed("rmi", "both", lambda at: ["rmi", at.stage.new], _remove_again),
        Deed(
            "prune", "prunable",
            lambda at: ["prune", "--force", "--partial-older-than", "0s"],
            lambda at, engine: engine.prune(partial_older_than=0),
        ),
        Deed(
            "save", "both",
            lambda at: ["save", "-o", str(at.target), at.stage.new],
            lambda at, engine: engine.save([at.stage.new], at.target),
        ),
    )
}  # fmt: skip
LARGE_PULL = Deed(
    "random", "old",
    lambda at: ["pull", "--quiet", at.stage.large],
    lambda at, engine: engine.pull(at.stage.large),
)  # fmt: skip


def large() -> Image:
    """An image that takes a while."""
    layers = (
        layer({f"d{n}/": b"", **{f"d{n}/f{m}": noise(size // 8, f"{n}.{m}") for m in range(8)}})
        for n, size in enumerate(LARGE_SIZES)
    )
    return image(SHARED, *layers, platform=HERE)


def listing(root: Path) -> Listing:
    """All images of a store, as whoever only reads sees them."""
    return frozenset(
        (tuple(sorted(map(str, image.names))), str(image.id)) for image in Store(root).images.all()
    )


@contextmanager
def staging(*, with_large: bool = False) -> Iterator[Stage]:
    """Everything that the deeds need, for as long as the block lasts; for LARGE_PULL a large image."""
    with ExitStack() as stack:
        place = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="crashes.")))
        (place / "registry").mkdir()
        address = stack.enter_context(running_registry(place / "registry", {}))
        images = {"new": NEW, **({"large": large()} if with_large else {})}
        layout = write_layout(place / "layout", images)
        for name in images:
            RealRegistry(address).push(layout, f"{name}:1", name)
        stage = Stage(place, address)
        anyio.run(_stock, stage)
        yield stage


@contextmanager
def ground(stage: Stage, deed: Deed) -> Iterator[Ground]:
    """A copy of the store that a deed is done to."""
    with tempfile.TemporaryDirectory(prefix="case.", dir=stage.directory) as directory:
        found = Ground(stage, Path(directory))
        found.target.parent.mkdir()
        found.target.write_bytes(OLD_ARCHIVE)
        subprocess.run(["cp", "-a", str(stage.store(deed.kind)), str(found.store)], check=True)
        yield found


async def _stock(stage: Stage) -> None:
    names: dict[str, dict[str, Image]] = {
        "old": {OLD_NAME: OLD},
        "both": {OLD_NAME: OLD, stage.new: NEW},
        # Without a name that has a registry or a tag in it, it gets none.
        "prunable": {OLD_NAME: OLD, "bare": NEW},
    }
    for kind, images in names.items():
        layout = write_layout(stage.directory / f"layout-{kind}", images)
        async with Engine(Settings(root=stage.store(kind))) as engine:
            await engine.load(layout)
            if kind == "both":
                await engine.save([stage.new], stage.archive, format="docker-archive")
                await engine.save([stage.new], stage.saved)
            if kind == "prunable":
                await _leave_rubbish(engine)


async def _leave_rubbish(engine: Engine) -> None:
    """A container that has ended, and part of a blob."""
    store = engine.store
    async with store.containers.living(
        store.images.find(OLD_NAME), ("sh",), name="ended", remove=False
    ) as container:
        (container.path / "upper" / "below").mkdir(parents=True)
        (container.path / "upper" / "below" / "file").write_bytes(b"written")
    store.paths.ingest(Digest.of(b"something else")).write_bytes(noise(4_000))
