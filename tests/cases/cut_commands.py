"""What a machine does until its power is cut: images, commands, and what must hold after each of them."""

from __future__ import annotations

import io
import random
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from hashlib import sha256
from pathlib import Path

from aiodocker_lite.testing.images import Image, image, layer, layer_of, noise, write_layout
from tests.fakes.processes import RealRegistry
from tests.fakes.tars import END, directory, file, symlink

Names = Mapping[str, str]
"""Names of images, and the IDs of these."""


@cache
def images() -> dict[str, Image]:
    """Several that share layers: of many small files, of some megabytes, and with links across layers."""
    base = layer({f"etc/{n}": noise(n * 17, f"base{n}") for n in range(150)})
    many = layer({f"lib/{n % 40}/{n}": noise(200 + n * 3, f"many{n}") for n in range(1200)})
    fat = layer({f"opt/{n}": noise(4 << 20, f"fat{n}") for n in range(3)}, "zstd")
    huge = layer({"huge": noise(40 << 20), **{f"h/{n}": noise(99, f"{n}") for n in range(99)}}, "plain")
    small = layer({"app/one": b"1", "app/two": noise(5000)})
    tar = b"".join(
        [directory(b"usr"), directory(b"usr/lib"), file(b"usr/lib/a", b"a"), symlink(b"lib", b"usr/lib")]
    )
    links, beyond = layer_of(tar + END), layer_of(file(b"lib/b", b"b" * 9000) + END)
    return {
        "tiny": image(base, small),
        "files": image(base, many),
        "large": image(base, fat, small),
        "all": image(base, many, fat, huge),
        "linked": image(links, beyond, small),
    }


def archive(target: Path, name: str, each: Image) -> Path:
    """An OCI archive of one image with this name."""
    layout = write_layout(target.with_suffix(".layout"), {name: each})
    with tarfile.open(target, "w") as tar:
        tar.add(layout, ".")
    return target


def archives(work_place: Path, label: str) -> dict[str, Path]:
    """Files to load, by the name that they give."""
    found = {}
    for which in ("tiny", "files", "linked"):
        name, target = f"localhost/{which}:{label}", work_place / f"{which}-{label}.tar"
        found[name] = target if target.exists() else archive(target, name, images()[which])
    return found


def fill(registry: RealRegistry, work_place: Path) -> None:
    """Have all images in the registry, for everybody who works."""
    layout = write_layout(work_place / "layout", images())
    for which in images():
        for label in ("a", "b"):
            registry.push(layout, f"{which}:{label}", which)


@dataclass(frozen=True)
class Command:
    """One command, and what is in the store when it has ended with 0."""

    words: tuple[str, ...]
    before: Names
    after: Names
    saved: Path | None = None

    def allows(self, name: str) -> set[str | None]:
        """What a name may lead to when it was interrupted: to what it led before, or what it shall."""
        return {self.before.get(name), self.after.get(name)}

    @property
    def may_be_done(self) -> bool:
        """To do it twice is an error: what was to be removed may have gone."""
        return self.words[0] == "rmi"


@dataclass
class Shell:
    """Somebody who works on a store, with names of their own."""

    label: str
    registry: RealRegistry
    archives: Mapping[str, Path]
    place: Path
    """Where archives are saved to."""
    chance: random.Random
    alone: bool
    """Nobody else has names in the store, so all images may go."""
    names: Names
    saved: frozenset[Path] = frozenset()

    def next(self) -> Command:
        """What is done next, by chance."""
        kinds = {
            "pull": 10,
            "load": 4,
            "tag": 3 if self.names else 0,
            "rmi": 4 if self.names else 0,
            "save": 2 if self.names else 0,
            "prune": 1,
            "prune-all": 1 if self.alone else 0,
        }
        (kind,) = self.chance.choices(list(kinds), list(kinds.values()))
        return self._command(kind)

    def end(self, command: Command) -> None:
        """It has ended with 0."""
        self.names = command.after
        if command.saved:
            self.saved |= {command.saved}

    def _command(self, kind: str) -> Command:
        which = self.chance.choice(list(images()))
        identity = str(images()[which].config.digest)
        if kind == "pull":
            name = f"{self.registry.address}/{which}:{self.label}"
            return self._doing(("pull", "--quiet", name), {name: identity})
        if kind == "load":
            name = self.chance.choice(sorted(self.archives))
            identity = str(images()[name.removeprefix("localhost/").partition(":")[0]].config.digest)
            return self._doing(("load", "--quiet", "-i", str(self.archives[name])), {name: identity})
        if kind == "prune":
            return self._doing(("prune", "-f", "--partial-older-than", "1s"), {})
        if kind == "prune-all":
            return replace(self._doing(("prune", "-a", "-f"), {}), after={})
        old = self.chance.choice(sorted(self.names))
        if kind == "tag":
            new = f"localhost/alias:{self.chance.randrange(3)}-{self.label}"
            return self._doing(("tag", old, new), {new: self.names[old]})
        if kind == "rmi":
            left = {name: found for name, found in self.names.items() if name != old}
            return replace(self._doing(("rmi", old), {}), after=left)
        target = self.place / f"saved-{self.label}.tar"
        return replace(self._doing(("save", "-o", str(target), old), {}), saved=target)

    def _doing(self, words: tuple[str, ...], new: Names) -> Command:
        return Command(words, self.names, {**self.names, **new})


def broken_archive(path: Path) -> str:
    """What is wrong with an archive that was saved; empty if it is whole."""
    try:
        with tarfile.open(path) as tar:
            members = {member.name: tar.extractfile(member) for member in tar if member.isfile()}
            contents = {name: found.read() for name, found in members.items() if found}
    except (tarfile.TarError, EOFError, io.UnsupportedOperation) as error:
        return f"{path.name} is no archive: {error}"
    for name, content in contents.items():
        if name.startswith("blobs/") and sha256(content).hexdigest() != name.rpartition("/")[2]:
            return f"{path.name}: {name} is not what its name says"
    return "" if "index.json" in contents else f"{path.name} has no index.json"
