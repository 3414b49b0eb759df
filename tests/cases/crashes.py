"""An interrupted command and what it leaves: killed, or with an error, at the k-th of its system calls.

Afterwards the images are those from before or those from after, all of them whole, in a valid OCI
layout; the same command works again with nothing done by hand; and in the end nothing is left in the way.
"""

from __future__ import annotations

import errno
import os
import random
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import anyio

from aiodocker_lite import Engine, Settings
from aiodocker_lite.errors import EngineError
from tests.cases.crash_deeds import (
    DEEDS,
    LARGE_PULL,
    OLD_ARCHIVE,
    Deed,
    Ground,
    Listing,
    Stage,
    ground,
    listing,
)
from tests.fakes.commands import command, environment
from tests.fakes.held import Call, Decision, held
from tests.fakes.stores import flaws, layout_flaws

# fmt: off
WRITES = [
    "openat+", "write", "writev", "pwrite64", "pwritev", "sendfile", "copy_file_range",
    "rename", "renameat", "renameat2", "link", "linkat", "unlink", "unlinkat", "symlink", "symlinkat",
    "mkdir", "mkdirat", "rmdir", "mknod", "mknodat", "mount",
    "fsync", "fdatasync", "syncfs", "ftruncate", "truncate", "fallocate",
    "chmod", "fchmod", "fchmodat", "chown", "lchown", "fchown", "fchownat", "utimensat",
    "setxattr", "lsetxattr", "fsetxattr", "removexattr", "lremovexattr", "fremovexattr",
]
READS = ["openat", "openat2", "read", "pread64", "getdents64", "close"]
OPENS = [
    "openat", "openat2", "socket", "socketpair", "pipe", "pipe2", "epoll_create1", "eventfd2", "dup",
    "clone", "clone3", "fork", "vfork",
]
# fmt: on
_STARTING = ("clone", "clone3", "fork", "vfork")
_OF_A_LOOP = ("epoll_create1", "eventfd2", "pipe2")
_LIBRARIES = tuple(
    {
        sys.prefix,
        sys.base_prefix,
        "/lib",
        "/usr/lib",
        "/etc/ld.so",
        str(Path(__file__).parents[2]),
    }
)
"""Python that cannot read itself cannot say so."""


@dataclass(frozen=True)
class Kind:
    """How a command is interrupted, and at which calls."""

    calls: Sequence[str]
    counts: Callable[[Call, tuple[str, ...]], bool]
    decision: Callable[[Call], Decision]
    lasting: bool = False
    """From that call on, and not only there."""


def _in_places(call: Call, places: tuple[str, ...]) -> bool:
    return call.place.startswith(places)


def _tells(call: Call, places: tuple[str, ...]) -> bool:
    """Changes what is on the disk, or tells another process of us about it."""
    return _in_places(call, places) or call.place.startswith("pipe:")


def _opens(call: Call, places: tuple[str, ...]) -> bool:
    if call.name in _OF_A_LOOP and not call.by_main:
        return False  # uvloop's child before its exec(2): it makes anew what it has just closed
    return call.name not in ("openat", "openat2") or not call.place.startswith(_LIBRARIES)


KINDS = {
    "kill": Kind(WRITES, _tells, lambda call: "kill all"),
    "main": Kind(WRITES, _tells, lambda call: "kill main"),
    "worker": Kind(WRITES, lambda call, at: _tells(call, at) and not call.by_main, lambda call: "kill it"),
    "ENOSPC": Kind(WRITES, _in_places, lambda call: errno.ENOSPC),
    "EDQUOT": Kind(WRITES, _in_places, lambda call: errno.EDQUOT, lasting=True),
    "EIO": Kind([*WRITES[1:], *READS], _in_places, lambda call: errno.EIO),
    "EMFILE": Kind(OPENS, _opens, lambda call: errno.EAGAIN if call.name in _STARTING else errno.EMFILE),
}


@dataclass
class Played:
    """What came of one case."""

    name: str
    hit: str = ""
    """What was interrupted; empty where the command had ended before."""
    lost: int = 0
    by_hand: int = 0
    failed_retries: int = 0
    findings: list[str] = field(default_factory=list)
    calls: int = 0
    """So many that counted were made before it ended."""


def play(stage: Stage, name: str) -> Played:
    """Play one case by its name: ``pull/kill/17``, ``random/3``."""
    deed, *rest = name.split("/")
    played = Played(name)
    chosen = LARGE_PULL if deed == LARGE_PULL.name else DEEDS[deed]
    with ground(stage, chosen) as at:
        before = listing(at.store)
        if chosen is LARGE_PULL:
            code, said = _run_and_kill(at, chosen, int(rest[0]), played)
            anyio.run(judge, at, chosen, before, code, said, played)
        else:
            _run_and_interrupt(at, chosen, rest[0], int(rest[1]), before, played)
    return played


def _run_and_interrupt(at: Ground, deed: Deed, kind: str, last: int, before: Listing, played: Played) -> None:
    how = KINDS[kind]
    lock = threading.Lock()

    def decide(call: Call) -> Decision:
        if not how.counts(call, at.places):
            return "go on"
        with lock:
            played.calls += 1
            if played.calls == last or (how.lasting and played.calls > last > 0):
                played.hit = played.hit or str(call).replace(str(at.directory), "")
                return how.decision(call)
        return "go on"

    words = command(at.store, *deed.words(at))
    home = environment(at.directory, PYTHONDONTWRITEBYTECODE="1")
    with held(words, home, how.calls, decide, at.directory / "log") as program:
        code, said = program.wait()
        if kind == "main":
            # At once: workers of the dead may still be at it.
            anyio.run(_judge_again, at, deed, played)
    anyio.run(judge, at, deed, before, code, said, played)


def _run_and_kill(at: Ground, deed: Deed, seed: int, played: Played) -> tuple[int, str]:
    """Kill all of it after a random time."""
    log = at.directory / "log"
    after = random.Random(seed).uniform(0.3, 2.5)
    with log.open("wb") as output:
        process = subprocess.Popen(
            command(at.store, *deed.words(at)),
            env=environment(at.directory, PYTHONDONTWRITEBYTECODE="1"),
            stdout=output, stderr=output, stdin=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        try:
            process.wait(after)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            played.hit = f"all killed after {after:.2f} s"
        return process.wait(), log.read_text()


# --- judging -----------------------------------------------------------------------------------


async def judge(at: Ground, deed: Deed, before: Listing, code: int, said: str, played: Played) -> None:
    """Look at what was left, do it again, and look once more."""
    wrong = played.findings
    after = expected(at.stage, deed)
    if code != -signal.SIGKILL:
        wrong += bad_manners(code, said)
    done = _is_done(at, deed)
    if code == 0 and not done and "Warning: what " not in said:  # an image that cannot be read does not go
        wrong.append("it ended with 0, and was not done")
    wrong += [f"the layout: {flaw}" for flaw in _unexpected(deed, layout_flaws(at.store))]
    wrong += _wrong_target(at)
    async with Engine(_settings(at, deed)) as engine:
        found = listing(at.store)
        if found not in (before, after, before | after):  # what comes first, and then what goes
            wrong.append(f"there are {sorted(found)}")
        played.lost += len((before & after) - found)
        played.lost += await _verify(engine, wrong)
        if not played.failed_retries:
            await _do_again(at, deed, engine, played)
        if listing(at.store) != after or not _is_done(at, deed):
            wrong.append(f"done again, there are {sorted(listing(at.store))}")
        played.lost += await _verify(engine, wrong)
        await engine.prune(partial_older_than=0)
    wrong += [f"in the end: {flaw}" for flaw in _unexpected(deed, flaws(at.store))]
    if names(at.store) != names(expected_store(at.stage, deed)):
        wrong.append(f"in the end: {sorted(names(at.store) ^ names(expected_store(at.stage, deed)))}")


async def _judge_again(at: Ground, deed: Deed, played: Played) -> None:
    async with Engine(_settings(at, deed)) as engine:
        await _do_again(at, deed, engine, played)


async def _do_again(at: Ground, deed: Deed, engine: Engine, played: Played) -> None:
    try:
        await deed.again(at, engine)
    except EngineError as error:
        played.failed_retries += 1
        played.findings.append(f"done again: {error}")
        # What somebody would try next, and never should have to.
        subprocess.run(["rm", "-rf", *map(str, (at.store / "ingest").iterdir())], check=True)
        try:
            await deed.again(at, engine)
            played.by_hand += 1
        except EngineError as still:
            played.findings.append(f"and without what was in ingest/: {still}")


async def _verify(engine: Engine, wrong: list[str]) -> int:
    """How many images are not whole."""
    damaged = [each for each in await engine.verify() if not each.is_sound]
    wrong += [
        f"{each.image.name} is damaged: {each.error or '; '.join(map(str, each.flaws))}" for each in damaged
    ]
    return len(damaged)


def _unexpected(deed: Deed, found: list[str]) -> list[str]:
    """Whether blobs are only missing where they were not to be kept, `verify` says."""
    return [
        flaw for flaw in found if not (deed.settings.discard_blobs and flaw.endswith("which is not here"))
    ]


def _settings(at: Ground, deed: Deed) -> Settings:
    return replace(deed.settings, root=at.store)


def _is_done(at: Ground, deed: Deed) -> bool:
    return listing(at.store) == expected(at.stage, deed) and (
        deed.name != "save" or at.target.read_bytes() == at.stage.saved.read_bytes()
    )


def _wrong_target(at: Ground) -> list[str]:
    if not at.target.exists() or at.target.read_bytes() in (OLD_ARCHIVE, at.stage.saved.read_bytes()):
        return []
    return ["the archive is neither the old one nor the new one"]


def bad_manners(code: int, said: str) -> list[str]:
    """What is not as README and `errors.py` promise of a command that was not killed."""
    lines = said.splitlines()
    wrong = []
    if code not in (0, 1, 125):
        wrong.append(f"it ended with {code}: {said.strip()[-300:]}")
    elif code and not any(line.startswith("aiodocker-lite: ") and "hint:" not in line for line in lines):
        wrong.append(f"it ended with {code} and without a sentence: {said.strip()[-300:]!r}")
    if re.search(r"Traceback|internal error|\[Errno|Exception|something went wrong|Error:", said):
        wrong.append(f"it said: {said.strip()[-400:]}")
    return wrong


def names(root: Path) -> set[str]:
    """What lies in a store, by name."""
    patterns = ("blobs/*/*", "layers/*/*", "joints/*/*", "ingest/*", "containers/*")
    return {str(path.relative_to(root)) for pattern in patterns for path in root.glob(pattern)}


# --- what comes of a command that nobody interrupts ----------------------------------------------


def expected_store(stage: Stage, deed: Deed) -> Path:
    """The store after the deed and a prune."""
    return stage.directory / "expected" / deed.name


def expected(stage: Stage, deed: Deed) -> Listing:
    """The images after the deed."""
    return listing(expected_store(stage, deed))


def rehearse(stage: Stage, deed: Deed) -> None:
    """Do it in peace, and keep what comes of it for `play` to compare with."""
    with ground(stage, deed) as at:
        anyio.run(_do, at, deed)
        expected_store(stage, deed).parent.mkdir(exist_ok=True)
        at.store.rename(expected_store(stage, deed))


async def _do(at: Ground, deed: Deed) -> None:
    async with Engine(_settings(at, deed)) as engine:
        await deed.again(at, engine)
        await engine.prune(partial_older_than=0)
