"""Which isolation this host permits, found out by trying, and what to say when it is less.

Four rungs: all namespaces, the same inside a user namespace, a chroot, nothing. Being lower than
could be expected is never silent.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from pathlib import Path

from aiodocker_lite import subids
from aiodocker_lite.errors import StoreUnwritable
from aiodocker_lite.runtime import cgroups, trial
from aiodocker_lite.runtime.interpreter import plain_interpreter
from aiodocker_lite.subids import IdMap, IdMaps

_CAP_SETGID, _CAP_SETUID, _CAP_SYS_CHROOT, _CAP_SYS_ADMIN = 6, 7, 18, 21
_TRIAL_TIMEOUT = 30.0


class Rung(StrEnum):
    """How far a container is kept from the host, the farthest first."""

    NAMESPACES = "namespaces"
    USER_NAMESPACES = "user-namespaces"
    CHROOT = "chroot"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Ladder:
    """What this host permits this process."""

    rung: Rung
    """The best that can be had."""
    overlay: bool
    """Overlays can be mounted; else layers have to be merged into one tree."""
    in_container: bool
    has_cgroup_access: bool
    uid_map: IdMap = ()
    """The user ids of a user namespace; empty where there is none."""
    gid_map: IdMap = ()
    subordinate: IdMaps | None = None
    """The same where they are an ordinary user's subordinate ids."""
    cause: str = ""
    """Why it is no better rung."""
    warnings: tuple[str, ...] = ()
    """What is used instead of what a user may expect, in sentences."""

    @property
    def is_isolated(self) -> bool:
        """A container has all its namespaces."""
        return self.rung in (Rung.NAMESPACES, Rung.USER_NAMESPACES)

    @property
    def environment_line(self) -> str:
        """What `run` prints first."""
        facts = {
            "inContainer": self.in_container,
            "hasNamespacePrivileges": self.is_isolated,
            "hasCgroupAccess": self.has_cgroup_access,
        }
        return "Environment detected: " + ", ".join(f"{key}={str(v).lower()}" for key, v in facts.items())


@cache
def probe(where: Path | None = None) -> Ladder:
    """Find out what is permitted; overlays are tried in `where`, which is to hold containers.

    A few milliseconds as root, a process's start for others; asked again, it remembers. Raises
    StoreUnwritable.
    """
    capabilities = _effective_capabilities()
    refusals: dict[Rung, str] = {}
    rung, overlay_refusal, subordinate = _find_rung(capabilities, refusals, where)
    overlay = rung in (Rung.NAMESPACES, Rung.USER_NAMESPACES) and not overlay_refusal
    maps: IdMaps = ((), ())
    if rung is Rung.USER_NAMESPACES:
        maps = subordinate or _id_maps(capabilities)
    return Ladder(
        rung,
        overlay,
        _is_in_container(),
        cgroups.available().writable,
        *maps,
        subordinate,
        "; ".join(f"{refused}: {why}" for refused, why in refusals.items()),
        _warnings(rung, overlay_refusal),
    )


def _find_rung(
    capabilities: int, refusals: dict[Rung, str], where: Path | None
) -> tuple[Rung, str, IdMaps | None]:
    """The best rung, why overlays are refused on it, and subordinate ids if it has them.

    The better rungs are added to the refusals.
    """
    if capabilities >> _CAP_SYS_ADMIN & 1:
        refusal, overlay_refusal = _try_in_thread(where)
        if not refusal:
            return Rung.NAMESPACES, overlay_refusal, None
        refusals[Rung.NAMESPACES] = refusal
    else:
        refusals[Rung.NAMESPACES] = "the capability CAP_SYS_ADMIN is missing"
    for maps in dict.fromkeys((subids.granted(), None)):
        refusal, overlay_refusal = _try_in_process(where, maps)
        if not refusal:
            return Rung.USER_NAMESPACES, overlay_refusal, maps
    refusals[Rung.USER_NAMESPACES] = refusal
    if capabilities >> _CAP_SYS_CHROOT & 1:
        return Rung.CHROOT, "", None
    refusals[Rung.CHROOT] = "the capability CAP_SYS_CHROOT is missing"
    return Rung.NONE, "", None


def _warnings(rung: Rung, overlay_refusal: str) -> tuple[str, ...]:
    found = []
    if overlay_refusal:
        found.append(
            f"Warning: Overlay mounts are not permitted ({overlay_refusal}). Layers are copied for each container."
        )
    # For an ordinary user, a user namespace is the top of the ladder.
    if rung is Rung.USER_NAMESPACES and os.geteuid() == 0:
        found.append("Warning: Namespaces of the host's root are not permitted. Using a user namespace.")
    if rung is Rung.CHROOT:
        found.append("Warning: User namespaces are not permitted. Using a chroot.")
    if rung is Rung.NONE:
        found.append("Warning: Namespace isolation is not permitted. Executing without isolation.")
    return tuple(found)


# --- trying ----------------------------------------------------------------------------------


def _try_in_thread(where: Path | None) -> tuple[str, str]:
    from threading import Thread

    answers: list[tuple[str, str]] = []
    with _scratch(where) as scratch:
        thread = Thread(target=lambda: answers.append(trial.try_namespaces(scratch, user_namespace=False)))
        thread.start()
        thread.join()
    return answers[0]


def _try_in_process(where: Path | None, maps: IdMaps | None) -> tuple[str, str]:
    from subprocess import DEVNULL, PIPE, run

    python = plain_interpreter()
    with _scratch(where) as scratch:
        code = "from aiodocker_lite.runtime.trial import main; main(*sys.argv[1:])"
        done = run(
            python.command(code, scratch, subids.to_text(maps)),
            env=python.environment,
            stdin=DEVNULL,
            stdout=PIPE,
            stderr=DEVNULL,
            timeout=_TRIAL_TIMEOUT,
            check=False,
        )
    answers = done.stdout.decode(errors="replace").split("\n")
    if done.returncode or len(answers) < 2:
        return f"a trial ended with status {done.returncode}", ""
    return answers[0], answers[1]


@contextmanager
def _scratch(where: Path | None) -> Iterator[str]:
    """A directory for a trial, which leaves only empty directories in it."""
    if where is None:
        import tempfile

        where = Path(tempfile.gettempdir())
    path = where / f"trial-{os.getpid()}-{time.monotonic_ns()}"
    try:
        path.mkdir(mode=0o700)
    except OSError as error:
        raise StoreUnwritable(str(where), error.strerror or str(error)) from error
    try:
        yield str(path)
    finally:
        for directory in path.iterdir():
            directory.rmdir()
        path.rmdir()


# --- looking ---------------------------------------------------------------------------------


def _effective_capabilities() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next((int(line.split()[1], 16) for line in lines if line.startswith("CapEff")), 0)


def _id_maps(capabilities: int) -> tuple[IdMap, IdMap]:
    """All ids of this process's own user namespace if it may hand them on, else only its own."""
    needed = 1 << _CAP_SETUID | 1 << _CAP_SETGID
    if os.geteuid() == 0 and capabilities & needed == needed:
        return _same_ids("uid_map"), _same_ids("gid_map")
    return ((0, os.geteuid(), 1),), ((0, os.getegid(), 1),)


def _same_ids(file: str) -> IdMap:
    rows = (line.split() for line in Path(f"/proc/self/{file}").read_text().splitlines())
    return tuple((int(first), int(first), int(count)) for first, _, count in rows)


def _is_in_container() -> bool:
    if Path("/.dockerenv").exists() or Path("/run/.containerenv").exists() or os.environ.get("container"):  # noqa: SIM112 - podman and systemd write it so
        return True
    try:
        groups = Path("/proc/1/cgroup").read_text()
    except OSError:
        return False
    return any(word in groups for word in ("docker", "kubepods", "containerd", "libpod", "lxc"))
