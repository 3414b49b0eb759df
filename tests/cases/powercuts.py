"""A machine that works until its power is cut, and works again; and whoever looks at what is left."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence, Set
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path

import anyio

from aiodocker_lite import Engine, Settings
from tests.cases.cut_commands import Command, Shell, archives, broken_archive
from tests.fakes.commands import environment
from tests.fakes.disks import Cut, Disk, loop_disk
from tests.fakes.processes import RealRegistry
from tests.fakes.stores import half_blobs, half_records

OPTIONS = (
    "",
    "commit=1",
    "commit=1,data=writeback",
    "commit=1,noauto_da_alloc",
    "commit=1,nodelalloc,data=writeback",
    "commit=1,data=journal",
)
"""How ext4 is mounted: also in the ways that hide no sync that is missing."""
_LONG = 120.0
_HOME = Path(__file__).parents[2]


@dataclass
class Life:
    """A disk from its making to its end, and what has been found on it."""

    disk: Disk
    home: Path
    plant: str
    cuts: int = 0
    interrupted: Counter[str] = field(default_factory=Counter)
    ended: Counter[str] = field(default_factory=Counter)
    """Commands that had ended with 0 before a cut."""
    checked: int = 0
    """Images that were there after a cut, and compared."""
    findings: list[str] = field(default_factory=list)

    @property
    def root(self) -> Path:
        return self.disk.place / "store"

    def find(self, what: str) -> None:
        self.findings.append(f"cut {self.cuts}: {what}")

    def start(self, command: Command, *, sound: bool = False) -> subprocess.Popen[str]:
        """The real command line in a session of its own; `sound`: with all its syncs."""
        module = ["aiodocker_lite"] if sound or not self.plant else ["tests.fakes.unsynced", self.plant]
        words = [sys.executable, "-m", *module, "--root", str(self.root), *command.words]
        return subprocess.Popen(
            words,
            env=environment(self.home, PYTHONPATH=str(_HOME), AIODOCKER_LITE_DEBUG="1"),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def do(self, command: Command) -> tuple[int, str]:
        """Run it to its end, on a disk that works."""
        with self.start(command, sound=True) as process:
            _, said = process.communicate(timeout=_LONG)
        return process.returncode, said


# --- until the power goes ------------------------------------------------------------------------


class Power:
    """On, until somebody cuts it; who works is told, and tells when something has ended."""

    def __init__(self) -> None:
        self.off = False
        self._turn = threading.Condition()
        self._ended = 0

    def has_ended(self) -> bool:
        """Whether a command that has just ended did so before the cut."""
        with self._turn:
            self._ended += not self.off
            self._turn.notify_all()
            return not self.off

    def wait_for(self, commands: int) -> None:
        """Return as soon as so many have ended."""
        with self._turn:
            self._turn.wait_for(lambda: self._ended >= commands, _LONG)

    def cut(self, disk: Disk, how: Cut) -> None:
        with self._turn:
            self.off = True
        disk.cut(how)


def work(life: Life, shell: Shell, power: Power, patient: bool) -> Command | None:
    """Do one thing after the other; returns what was interrupted.

    Who is patient lets it see the dead disk and end by itself; else it is killed.
    """
    while True:
        command = shell.next()
        process = life.start(command)
        killer = threading.Thread(target=_kill_when, args=(power, process, _LONG if patient else 0.0))
        killer.start()
        _, said = process.communicate()
        ended = power.has_ended()
        killer.join()
        if "Traceback" in said or "internal error" in said:
            life.find(f"{command.words}: {said}")
        if not ended:
            life.interrupted[command.words[0]] += 1
            return command
        if process.returncode:
            life.find(f"before the cut {command.words} ended with {process.returncode}: {said}")
            return command
        life.ended[command.words[0]] += 1
        shell.end(command)


def _kill_when(power: Power, process: subprocess.Popen[str], patience: float) -> None:
    while process.poll() is None and not power.off:
        with suppress(subprocess.TimeoutExpired):
            process.wait(0.01)
    try:
        process.wait(patience)
    except subprocess.TimeoutExpired:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


@contextmanager
def neighbour(disk: Disk, chance: random.Random) -> Iterator[None]:
    """Somebody who syncs a file of his own now and then: each time all names are written, and not all bytes."""
    stop = threading.Event()

    def write() -> None:
        with suppress(OSError), (disk.place / "neighbour").open("ab", buffering=0) as file:
            while not stop.wait(chance.random() * 0.1):
                file.write(b"x" * 100)
                os.fsync(file.fileno())

    thread = threading.Thread(target=write)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def wait_for_moment(life: Life, power: Power, chance: random.Random) -> None:
    """Until the cut: any time, or just after something has appeared in the store, or when a command has ended."""
    kind = chance.choice(("any", "appeared", "ended", "ended"))
    if kind == "ended":
        power.wait_for(chance.randrange(1, 4))
        return
    pause = threading.Event()
    if kind == "any":
        pause.wait(chance.random() * 4)
        return
    before, changes = _looks(life.root), chance.randrange(1, 6)
    for _ in range(4000):
        if (now := _looks(life.root)) != before:
            before, changes = now, changes - 1
        if not changes:
            break
        pause.wait(0.001)
    pause.wait(chance.random() ** 3 * 0.2)


def _looks(root: Path) -> tuple[float, ...]:
    """When something was last put in place there."""
    found = []
    for name in ("blobs/sha256", "layers/sha256", "joints/sha256", "index.json", "ingest"):
        with suppress(OSError):
            found.append((root / name).stat().st_mtime)
    return tuple(found)


def ask_the_dead(life: Life, shell: Shell, chance: random.Random) -> None:
    """On a disk that has failed every command ends with a sentence, or can do with what is in memory."""
    name = next(iter(shell.names), "localhost/none:a")
    packed = next(iter(shell.archives.values()))
    commands = (
        *(
            "images",
            "df",
            "ps",
            "verify",
            "prune -a -f",
            f"rmi {name}",
            f"inspect {name}",
            f"tag {name} other",
        ),
        *(f"run {name}", f"pull {shell.registry.address}/tiny:a", f"load -i {packed}"),
    )
    words = tuple(chance.choice(commands).split())
    code, said = life.do(Command(words, {}, {}))
    if "Traceback" in said or "internal error" in said:
        life.find(f"on a dead disk {words} ended with {code}: {said}")


# --- afterwards ----------------------------------------------------------------------------------


async def look(life: Life, expected: Mapping[str, Set[str | None]]) -> None:
    """See that names lead where they must, and that all images are whole."""
    async with Engine(Settings(root=life.root)) as engine:
        found = {str(name): str(image.id) for image in await engine.images() for name in image.names}
        for name in expected.keys() | found.keys():
            if found.get(name) not in expected.get(name, {None}):
                life.find(f"{name} leads to {found.get(name)}, and not to {expected.get(name)}")
        for checked in await engine.verify():
            life.checked += 1
            if not checked.is_sound:
                flaws = "; ".join(map(str, checked.flaws[:3]))
                life.find(f"{checked.image.name} is damaged: {flaws or checked.error}")


async def judge(life: Life, shells: Sequence[Shell], interrupted: Sequence[Command | None]) -> None:
    """What is on the disk after the journal was replayed, and whether the same commands work now."""
    try:
        json.loads((life.root / "index.json").read_bytes())["manifests"]
    except FileNotFoundError:
        if life.ended:
            life.find("index.json is gone")
    except (ValueError, KeyError) as error:
        life.find(f"index.json is torn: {error}")
    for flaw in (*half_blobs(life.root), *half_records(life.root)):
        life.find(flaw)
    expected: dict[str, set[str | None]] = {}
    for shell, command in zip(shells, interrupted, strict=True):
        for name in shell.names.keys() | (command.after.keys() if command else set()):
            expected[name] = command.allows(name) if command else {shell.names.get(name)}
        for path in {*shell.saved, *([command.saved] if command and command.saved else [])}:
            if path.exists() and (wrong := broken_archive(path)):
                life.find(wrong)
            elif path in shell.saved and not path.exists():
                life.find(f"{path.name} is gone")
    await look(life, expected)
    for shell, command in zip(shells, interrupted, strict=True):
        if command is not None:
            do_again(life, shell, command)
    now: dict[str, set[str | None]] = {}
    for shell in shells:
        now.update({name: {found} for name, found in shell.names.items()})
    await look(life, now)


def do_again(life: Life, shell: Shell, command: Command) -> None:
    """The same command, with nothing done by hand before."""
    code, said = life.do(command)
    if code and not (command.may_be_done and "No such image" in said):
        life.find(f"again, {command.words} ended with {code}: {said}")
    shell.end(command)


def play_cut(life: Life, shells: Sequence[Shell], chance: random.Random) -> None:
    """Work, cut, start again, look."""
    life.cuts += 1
    power, patient = Power(), chance.random() < 0.3
    how = chance.choices(list(Cut), (1, 1, 6))[0]
    with ThreadPoolExecutor(len(shells)) as pool:
        busy = neighbour(life.disk, random.Random(chance.random()))
        with busy if chance.random() < 0.4 else nullcontext():
            working = [pool.submit(work, life, shell, power, patient) for shell in shells]
            wait_for_moment(life, power, chance)
            power.cut(life.disk, how)
        interrupted = [each.result() for each in working]
    ask_the_dead(life, shells[0], chance)
    life.disk.recover()
    anyio.run(judge, life, shells, interrupted)


def play_life(
    seed: int, cuts: int, registry: RealRegistry, work_place: Path, *, kind: str = "ext4", plant: str = ""
) -> Life:
    """A new disk and store, so many cuts, and in the end nothing left; ends early where something is found."""
    chance = random.Random(seed)
    home = work_place / "home"
    home.mkdir(exist_ok=True)
    options = chance.choice(OPTIONS) if kind == "ext4" else ""
    with loop_disk(work_place, kind, options) as disk:
        life = Life(disk, home, plant)
        labels = ("a", "b") if chance.random() < 0.5 else ("a",)
        shells = [
            Shell(
                label,
                registry,
                archives(work_place, label),
                disk.place,
                random.Random(chance.random()),
                len(labels) == 1,
                {},
            )
            for label in labels
        ]
        for _ in range(cuts):
            play_cut(life, shells, chance)
            if life.findings:
                break
        else:
            empty(life)
    return life


def empty(life: Life) -> None:
    """Everything can go, and then nothing is left that somebody was writing when the power went."""
    code, said = life.do(Command(("prune", "-a", "-f", "--partial-older-than", "0s"), {}, {}))
    if code:
        life.find(f"prune ended with {code}: {said}")
    for name in ("ingest", "blobs/sha256", "layers/sha256", "joints/sha256"):
        if left := os.listdir(life.root / name):  # noqa: PTH208 (names)
            life.find(f"{name} still has {left}")
