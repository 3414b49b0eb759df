"""Where one run of a tool happens."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.images import Image
from benchmarks.network import SERVER


@dataclass(frozen=True)
class Place:
    """Where one run happens: its file system, a directory for sockets, the image and its registry.

    `enter` moves a process to the network and the control group of the run.
    """

    disk: Path
    scratch: Path
    image: Image
    address: str
    cgroup: str
    enter: Callable[[], None]

    @property
    def reference(self) -> str:
        return f"{self.address}/{self.image.reference}"

    @property
    def references(self) -> list[str]:
        """Of several images that are one job."""
        return [f"{self.address}/{name}" for name in self.image.names]

    @property
    def trace(self) -> Path:
        """Where one of ourselves that is traced writes it."""
        return self.scratch / "trace.json"

    @property
    def is_plain(self) -> bool:
        """A registry of ours, or one like it: http without TLS."""
        return self.address.rpartition(":")[0] in {"localhost", "127.0.0.1", SERVER}

    @property
    def host_and_name(self) -> tuple[str, str]:
        host, _, name = self.reference.partition("/")
        return host, name


Command = Callable[[Place], list[str]]


def given_words(words: Sequence[str], place: Place) -> list[str]:
    """`IMAGE` among the words is the image's name, `IMAGES` those of all; `--plain-http` is left out where it would be wrong."""
    known = {"IMAGE": [place.reference], "IMAGES": place.references}
    named = [name for word in words for name in known.get(word, [word])]
    return [word for word in named if word != "--plain-http" or place.is_plain]
