"""How a container is: state.json, and the lock that says whether it is still true.

Only who holds the `alive` lock of a container writes its state. When the holder dies, so does the
container, by the kernel; so a state that says "running" under a free lock is of one that was killed.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, TypeAlias

from aiodocker_lite.store.durable import store_errors
from aiodocker_lite.store.locks import is_held

Status: TypeAlias = Literal["created", "running", "restarting", "exited", "dead"]
"""Docker's words; "dead" is one of which nobody knows how it ended."""

ALIVE = "alive"
_STATE = "state.json"
_KILLED = 137
_ROOM = 2048
"""Bytes of a state, whatever it says: where there is no room for a new file, it is written over the one before."""


@dataclass(frozen=True, slots=True)
class State:
    """What is known of a container's process; moments are in ISO 8601, or empty."""

    status: Status = "created"
    pid: int = 0
    """The first process of the container, by its number on the host; 0 if there is none."""
    start_ticks: int = 0
    """When that began, in field 22 of /proc/PID/stat: numbers are used again, and this is not."""
    engine: int = 0
    """The process that it belongs to, by its number; 0 if that is not known."""
    engine_ticks: int = 0
    """When that began."""
    started: str = ""
    finished: str = ""
    """Of one that was killed with its engine: when somebody found that out."""
    exit_code: int | None = None
    oom_killed: bool = False
    """One of its processes, at least, for its limit of memory."""
    restarts: int = 0
    """How often it was started again, by its policy."""
    error: str = ""
    """Why it could not be started, or what went wrong besides."""

    @property
    def running(self) -> bool:
        """It has a process."""
        return self.status == "running"

    @property
    def restarting(self) -> bool:
        """It has ended, and is about to be started again."""
        return self.status == "restarting"


def read_state(container: Path) -> State:
    """The state of the container in this directory."""
    alive = is_held(container / ALIVE)  # first: what ends in this moment has written how
    state = stored_state(container)
    if alive or not (state.running or state.restarting):
        return state
    if state.running:
        state = replace(state, exit_code=_KILLED, finished=_found_ended(container))
    return replace(state, status="exited", pid=0, start_ticks=0)


def _found_ended(container: Path) -> str:
    """When it was first seen that nobody runs it: since then its lock is younger than its state."""
    try:
        lock, state = container / ALIVE, container / _STATE
        if lock.stat().st_mtime_ns <= state.stat().st_mtime_ns:
            os.utime(lock)
        return datetime.fromtimestamp(lock.stat().st_mtime, UTC).isoformat()
    except OSError:  # it is removed at this moment, or may only be read
        return ""


def stored_state(container: Path) -> State:
    """The same as it was written last, for who holds the lock."""
    try:
        return _parse(json.loads((container / _STATE).read_bytes()))
    except FileNotFoundError:
        return State()
    except (OSError, ValueError, KeyError, TypeError):
        return State("dead")


def write_state(container: Path, state: State) -> None:
    """Keep it, whole or not at all, even on a full disk; what cannot be kept is unknown from then on.

    Raises DiskFull, StoreUnwritable.
    """
    document = {
        "status": state.status,
        "pid": state.pid,
        "startTicks": state.start_ticks,
        "engine": state.engine,
        "engineTicks": state.engine_ticks,
        "started": state.started,
        "finished": state.finished,
        "exitCode": state.exit_code,
        "oomKilled": state.oom_killed,
        "restarts": state.restarts,
        "error": state.error,
    }
    path, new = container / _STATE, container / f"{_STATE}.new"
    content = json.dumps(document).encode().ljust(_ROOM)
    with store_errors(path):
        try:
            new.write_bytes(content)
            new.rename(path)
        except OSError:
            with suppress(OSError):
                new.unlink()
            try:
                overwrite(path, content)
            except OSError:
                with suppress(OSError):
                    os.truncate(path, 0)  # which takes no room, and is better than the state before
                raise


def overwrite(path: Path, content: bytes) -> None:
    """Replace the content of a file, in the place that it has on the disk. Raises OSError."""
    with path.open("rb+") as file:
        file.write(content)
        file.truncate()


def _parse(found: dict[str, object]) -> State:
    match found:
        case {
            "status": "created" | "running" | "restarting" | "exited" as status,
            "pid": int(pid),
            "startTicks": int(ticks),
            "started": str(started),
            "finished": str(finished),
            "exitCode": int() | None as code,
            "error": str(error),
        }:
            starved = found.get("oomKilled") is True
            engine, since, count = (_number(found.get(key)) for key in ("engine", "engineTicks", "restarts"))
            return State(status, pid, ticks, engine, since, started, finished, code, starved, count, error)
        case _:
            raise ValueError("it is no state")


def _number(found: object) -> int:
    return found if isinstance(found, int) else 0
