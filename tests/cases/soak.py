"""Many processes on one store, each doing one thing after the other by chance; and whoever judges them."""

from __future__ import annotations

import fcntl
import json
import os
import random
import re
import shutil
import signal
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from hashlib import sha256
from pathlib import Path

from aiodocker_lite.testing.images import Image, image, layer, noise, write_layout
from tests.cases.cut_commands import archive
from tests.fakes.commands import command, environment
from tests.fakes.processes import RealRegistry, descendants
from tests.fakes.real_images import busybox

LONGEST = 400.0
"""Seconds after which a command hangs; fifty of them share two cores."""
_LOOK = "cd /data && find . -type f | sort | xargs sha256sum"
_GONE = "No such image: "
_FITTING: Mapping[str, tuple[str, ...]] = {
    "run": (_GONE,),
    "inspect": ("No such object: ",),
    "tag": (_GONE,),
    "rmi": (_GONE, "conflict: unable to delete "),
    "verify": (_GONE,),
    "save": (_GONE,),
}
"""How errors may begin that are nobody's fault, for somebody else was faster."""
_WEIGHTS = {
    "pull": 5,
    "run": 6,
    "images": 2,
    "inspect": 2,
    "tag": 2,
    "rmi": 4,
    "prune": 2,
    "prune -a": 1,
    "df": 1,
    "verify": 1,
    "save": 2,
    "load": 2,
}


# --- the images ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Known:
    """An image, and what a container of it sees."""

    image: Image
    seen: str


Files = dict[str, bytes]


@cache
def known() -> dict[str, Known]:
    """Eight that share layers: each has its own upon a choice of four."""
    (base,) = busybox(Path()).layers
    one = {f"data/one/{n}": noise(50 * n, f"one{n}") for n in range(40)}
    two = {f"data/two/{n % 7}/{n}": noise(10 * n, f"two{n}") for n in range(300)}
    three = {"data/three": noise(3 << 20, "three")}
    four = {
        "data/one/.wh.7": b"",
        "data/two/3/.wh..wh..opq": b"",
        "data/two/3/new": b"4",
        "data/three": b"less",
    }
    stacks = (
        (one,),
        (one, two),
        (two,),
        (two, three),
        (one, two, three),
        (one, two, three, four),
        (three, one),
        (two, four),
    )
    found = {}
    for number, stack in enumerate(stacks):
        files = [*stack, {f"data/own/{number}": noise(3000, f"own{number}"), "data/which": b"%d" % number}]
        found[f"soak{number}"] = Known(image(base, *map(layer, files)), _seen(files))
    return found


def _seen(stack: list[Files]) -> str:
    """What `_LOOK` prints in a container of these layers."""
    tree: Files = {}
    for files in stack:
        for path in files:
            parent, _, name = path.rpartition("/")
            if name == ".wh..wh..opq":
                tree = {old: content for old, content in tree.items() if not old.startswith(f"{parent}/")}
            elif name.startswith(".wh."):
                tree.pop(f"{parent}/{name.removeprefix('.wh.')}", None)
        tree |= {path: content for path, content in files.items() if "/.wh." not in path}
    paths = sorted(path.replace("data/", "./", 1) for path in tree)
    return "".join(f"{sha256(tree[path.replace('./', 'data/', 1)]).hexdigest()}  {path}\n" for path in paths)


# --- who works -----------------------------------------------------------------------------------


@dataclass
class Soak:
    """What many do at once, and what came of it."""

    root: Path
    work: Path
    registry: RealRegistry
    ended: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    findings: list[str] = field(default_factory=list)
    deleted: int = 0
    """Blobs and layers that were removed while others worked."""
    slowest: float = 0.0
    """Seconds that a command took."""

    def __post_init__(self) -> None:
        self.known = known()
        self.archive = self.work / "archive.tar"
        self.names = [f"{self.registry.address}/{which}:latest" for which in self.known]

    def fill(self) -> None:
        """Have all images in the registry."""
        layout = write_layout(self.work / "layout", {which: each.image for which, each in self.known.items()})
        for which in self.known:
            self.registry.push(layout, which, which)
        archive(self.archive, self.names[0], next(iter(self.known.values())).image)

    def run(self, processes: int, seconds: float, seed: int) -> None:
        """So many at once for so long, and then nobody; findings end nothing."""
        self.work.joinpath("home").mkdir(exist_ok=True)
        end = time.monotonic() + seconds
        with ThreadPoolExecutor(processes) as pool:
            for each in [
                pool.submit(self._loop, n, random.Random(f"{seed}.{n}"), end) for n in range(processes)
            ]:
                each.result()
        self._look_at_all()
        self.findings += self._left()

    def _loop(self, number: int, chance: random.Random, end: float) -> None:
        saved = self.work / f"saved{number}.tar"
        shutil.copy(self.archive, saved)
        while time.monotonic() < end:
            (kind,) = chance.choices(list(_WEIGHTS), list(_WEIGHTS.values()))
            self.do(self._words(kind, chance, saved))

    def _words(self, kind: str, chance: random.Random, saved: Path) -> list[str]:
        name, alias = chance.choice(self.names), f"localhost/alias:{chance.randrange(6)}"
        either = chance.choice((name, name, alias))
        return {
            "pull": ["pull", "--quiet", name],
            "run": ["run", "--rm", "--name", f"c{chance.getrandbits(64)}", name, "/bin/sh", "-c", _LOOK],
            "images": ["images", "--format", "json"],
            "inspect": ["inspect", either],
            "tag": ["tag", name, alias],
            "rmi": ["rmi", *(["-f"] if chance.random() < 0.5 else []), either],
            "prune": ["prune", "-f", "--partial-older-than", "1s"],
            "prune -a": ["prune", "-a", "-f"],
            "df": ["df"],
            "verify": ["verify", *([either] if chance.random() < 0.7 else [])],
            "save": ["save", "-o", str(saved), either],
            "load": ["load", "--quiet", "-i", str(saved)],
        }[kind]

    def do(self, words: list[str]) -> None:
        """One command to its end, and what is wrong about that."""
        start = time.monotonic()
        process = subprocess.Popen(
            command(self.root, *words),
            env=environment(self.work / "home", AIODOCKER_LITE_DEBUG="1"),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        try:
            out, said = process.communicate(timeout=LONGEST)
        except subprocess.TimeoutExpired:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            self.findings.append(f"{words} hangs")
            return
        self.slowest = max(self.slowest, time.monotonic() - start)
        self.deleted += out.lower().count("deleted: ")
        self.ended[" ".join([words[0], *({"-a"} & set(words))])] += 1
        if wrong := self.judge(words, process.returncode, out, said):
            self.findings.append(wrong)

    def judge(self, words: list[str], code: int, out: str, said: str) -> str:
        """What is wrong with how a command ended; empty if nothing is."""
        if "Traceback" in said or "internal error" in said:
            return f"{words}: {said}"
        if code == 0:
            return self._wrong_output(words, out)
        ours = [
            line.removeprefix("aiodocker-lite: ")
            for line in said.splitlines()
            if line.startswith("aiodocker-lite: ")
        ]
        sentences = [line for line in ours if not line.startswith("hint: ")]
        if not sentences or not all(line.startswith(_FITTING.get(words[0], ())) for line in sentences):
            return f"{words} ended with {code}: {said or out}"
        self.errors[
            f"{words[0]}: {re.sub(r'localhost[^ ]*|[0-9a-f]{12,}|[(][^)]*[)]', '…', sentences[0])}"
        ] += 1
        return ""

    def _wrong_output(self, words: list[str], out: str) -> str:
        if words[0] == "run":
            which = words[words.index("/bin/sh") - 1].rpartition("/")[2].removesuffix(":latest")
            if out != self.known[which].seen:
                return f"{words}: a wrong tree:\n{out}"
        if words[0] == "images":
            verdicts = {json.loads(line)["Verified"] for line in out.splitlines()}
            if not verdicts <= {"Yes"}:
                return f"{words}: {verdicts}"
        return ""

    # --- afterwards ------------------------------------------------------------------------------

    def _look_at_all(self) -> None:
        """All that is left is whole, all images can be had and run, and then all can go."""
        self.do(["verify"])
        for name in self.names:
            self.do(["run", "--rm", name, "/bin/sh", "-c", _LOOK])
        self.do(["prune", "-a", "-f", "--partial-older-than", "0s"])

    def _left(self) -> Iterator[str]:
        if listed := json.loads((self.root / "index.json").read_bytes())["manifests"]:
            yield f"index.json still lists {len(listed)} images"
        for name in ("ingest", "blobs/sha256", "layers/sha256", "joints/sha256", "containers"):
            if left := os.listdir(self.root / name):  # noqa: PTH208 (names)
                yield f"{name} still has {left}"
        if str(self.root) in Path("/proc/self/mountinfo").read_text():
            yield "something is still mounted"
        for path in (self.root / "locks").iterdir():
            with path.open("rb") as file:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    yield f"{path.name} is still held"
        if threading.active_count() == 1 and (found := descendants()):
            yield f"processes are left: {found}"
