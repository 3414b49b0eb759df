"""Files into a container and out of it, running or not, as `docker cp` does it.

What is inside of a container is read and written by a process that has made its root its own; what
passes between the two sides is a tar.
"""

from __future__ import annotations

import json
import os
import posixpath
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from aiodocker_lite import subids
from aiodocker_lite.errors import ContainerNotRunning, IsolationUnavailable, NotInContainer
from aiodocker_lite.layer.privileges import Owners
from aiodocker_lite.rootfs import prepare_root
from aiodocker_lite.runtime.job import told_of
from aiodocker_lite.runtime.ladder import Ladder, Rung
from aiodocker_lite.store import Store
from aiodocker_lite.store.container import Container

_START = "import sys; sys.path[:] = sys.argv[2:]; from aiodocker_lite.runtime.within import main; main(sys.argv[1])"


@dataclass(frozen=True, slots=True)
class Side:
    """A place on this machine, or in a container."""

    name: str
    """Of the container; empty for this machine."""
    path: str
    root: dict[str, Any] | None = None
    """How to get there, for a process of its own."""

    def refuse(self, reason: str) -> NotInContainer:
        """Why something cannot be done here."""
        return NotInContainer(self.name or "this machine", self.path, reason)


@asynccontextmanager
async def side_of(
    container: Container, path: str, store: Store, ladder: Ladder, owners: Owners
) -> AsyncIterator[Side]:
    """A path of a container, which is not started while the block runs.

    Raises NoSuchImage, ContainerNotRunning, IsolationUnavailable, StoreError.
    """
    path = posixpath.join("/", path)
    lock = store.containers.revive(container)
    if lock is not None:
        try:
            yield Side(container.name, path, await _stopped(container, store, ladder, owners))
        finally:
            os.close(lock)
        return
    state = container.state
    if not state.running:  # but it is about to, or just not any more
        raise ContainerNotRunning(container.id)
    yield Side(container.name, path, {"pid": state.pid, "ticks": state.start_ticks})


async def _stopped(container: Container, store: Store, ladder: Ladder, owners: Owners) -> dict[str, Any]:
    """How a process of its own gets to the root of a container that does not run."""
    if ladder.rung is Rung.NONE:
        raise IsolationUnavailable("chroot", ladder.cause)
    _, plan = await prepare_root(container, store, ladder, owners)
    maps = (ladder.uid_map, ladder.gid_map) if ladder.rung is Rung.USER_NAMESPACES else None
    if plan.upper is None:
        return {"maps": maps, "directory": str(plan.root)}
    return {"maps": maps, "rootfs": told_of(plan)}


def host_side(path: str) -> Side:
    """A path of this machine."""
    return Side("", os.path.join(os.getcwd(), path) if path else path)  # noqa: PTH109, PTH118 - keeps a last /.


def copy(source: Side, target: Side, *, follow: bool = False, archive: bool = False) -> list[str]:
    """Copy a file or directory, with docker's rules for where it goes; blocking.

    With `follow`, a link is what it leads to; with `archive`, users and groups are kept. Returns sentences about
    what did not become what it was. Raises NotInContainer.
    """
    found = _look(source, follow=follow)
    if found["kind"] is None:
        raise source.refuse("no such file or directory")
    if found["kind"] == "device" and target.root is None:
        raise source.refuse("could not find the file: it is a device, and these stay in the container")
    real = found["real"]
    refused: NotInContainer | None = None
    changed: list[str] = []
    directory, name = _place(source, found["kind"] == "directory", target)
    reads = {"do": "read", "path": real, "name": name, "root": source.root}
    with _process(reads, None, subprocess.PIPE) as reader:
        assert reader.stdout is not None
        try:
            changed = _write(target, directory, reader.stdout, archive=archive)
        except NotInContainer as error:
            refused = error
        finally:
            reader.stdout.close()
            said = reader.communicate()[1]
    # Whose end was the reason for the other's: who cannot write any more dies of a signal.
    if refused is None or reader.returncode > 0:
        _check(reader, said, source)
    if refused is not None:
        raise refused
    return changed


def read_out(source: Side, into: IO[bytes], *, follow: bool = False) -> None:
    """Write a file or directory to an open file, as a tar; blocking. Raises NotInContainer."""
    found = _look(source, follow=follow)
    if found["kind"] is None:
        raise source.refuse("no such file or directory")
    name = "." if source.path.endswith("/.") else _base(source.path)
    reads = {"do": "read", "path": found["real"], "name": name, "root": source.root}
    with _process(reads, None, into) as reader:
        said = reader.communicate()[1]
    _check(reader, said, source)


def write_in(target: Side, archive: IO[bytes], *, keep_owners: bool = True) -> None:
    """Unpack a tar from an open file in a directory; blocking. Raises NotInContainer."""
    if _look(target, follow=True)["kind"] != "directory":
        raise target.refuse("it is no directory, and that is where an archive is unpacked")
    _write(target, target.path, archive, archive=keep_owners)


def _place(source: Side, is_directory: bool, target: Side) -> tuple[str, str]:
    """Into which directory of the target, and by which name (`docker cp --help` has the rules)."""
    wanted, is_content = target.path, source.path.endswith("/.")
    there = _look(target, follow=True)["kind"]
    if there == "directory":
        return wanted, "." if is_directory and is_content else _base(source.path)
    if there not in (None, "directory") and is_directory:
        raise target.refuse("it is a file, and cannot be replaced by a directory")
    if wanted.endswith(("/", "/.")) and not (is_directory and there is None):
        raise target.refuse("it is no directory")
    wanted = wanted.removesuffix("/.").rstrip("/")
    parent = posixpath.dirname(wanted) or "/"
    if _look(Side(target.name, parent, target.root), follow=True)["kind"] != "directory":
        raise target.refuse("the directory that it would be in does not exist")
    return parent, posixpath.basename(wanted)


def _base(path: str) -> str:
    return posixpath.basename(path.removesuffix("/.").rstrip("/")) or "."


def _look(side: Side, *, follow: bool) -> dict[str, Any]:
    with _process(
        {"do": "look", "path": side.path, "follow": follow, "root": side.root}, None, subprocess.PIPE
    ) as process:
        answer, said = process.communicate()
    _check(process, said, side)
    found: dict[str, Any] = json.loads(answer)
    return found


def _write(target: Side, directory: str, source: IO[bytes], *, archive: bool) -> list[str]:
    inside = target.root is not None
    root = target.root if inside else {"maps": _own_map(), "directory": directory}
    job = {
        "do": "write",
        "path": directory if inside else "/",
        "root": root,
        "keeps_owners": archive and (inside or os.geteuid() == 0),
        "keeps_devices": inside,
    }
    with _process(job, source, subprocess.PIPE) as writer:
        answer, said = writer.communicate()
    _check(writer, said, target)
    changed: list[str] = json.loads(answer)
    return changed


def _own_map() -> subids.IdMaps | None:
    """Who is not root can have a root of his own as himself only."""
    if os.geteuid() == 0:
        return None
    return ((os.geteuid(), os.geteuid(), 1),), ((os.getegid(), os.getegid(), 1),)


def _process(job: dict[str, Any], stdin: IO[bytes] | None, stdout: Any) -> subprocess.Popen[bytes]:
    paths = [str(Path(__file__).parents[1]), *filter(None, sys.path)]
    return subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", _START, json.dumps(job), *paths],
        stdin=subprocess.DEVNULL if stdin is None else stdin,
        stdout=stdout,
        stderr=subprocess.PIPE,
        cwd="/",
        start_new_session=True,  # an interrupt of the terminal is for us to answer
    )


def _check(process: subprocess.Popen[bytes], said: bytes, side: Side) -> None:
    if process.returncode == 0:
        return
    try:
        reason = str(json.loads(said))
    except ValueError:
        reason = f"the process that copies ended with status {process.returncode}"
    raise side.refuse(reason)
