"""Subordinate ids: what a user may be beside himself, inside of a user namespace, and the way into one.

The administrator grants them in /etc/subuid and /etc/subgid (subuid(5)). `newuidmap` and `newgidmap`,
which have the right to, write them into the namespace of a process; who is not granted
anything, or does not have these programs, has his own id only.
"""

from __future__ import annotations

import errno
import os

from aiodocker_lite import syscalls

TYPE_CHECKING = False  # `typing` is slow to import, and a container's processes import this
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

IdMap = tuple[tuple[int, int, int], ...]
"""Rows of /proc/PID/uid_map: first id inside, first id outside, how many."""

IdMaps = tuple[IdMap, IdMap]
"""The user ids and the group ids of a user namespace."""

_UID_FILE, _GID_FILE = "/etc/subuid", "/etc/subgid"
_PROGRAMS = ("newuidmap", "newgidmap")
# Never by PATH: they have more rights than whoever sets that.
_PLACES = ("/usr/bin", "/run/wrappers/bin")
_IDS = 2**32 - 1
"""The last number is no id, but means "no change"."""
_ROWS_MAX = 100
"""The kernel takes 340 rows, but in no more than one page of text."""


# --- what is granted -------------------------------------------------------------------------


def granted() -> IdMaps | None:
    """The maps that this user's grants allow: himself as 0, and all that he was granted from 1 on.

    None for root, and where anything is missing. Whether they are permitted, only trying shows.
    """
    user = os.geteuid()
    if user == 0 or not all(map(_program, _PROGRAMS)):
        return None
    owners = _names_of(user)
    uids = map_of(user, _ranges(_UID_FILE, owners))
    gids = map_of(os.getegid(), _ranges(_GID_FILE, owners))
    return (uids, gids) if len(uids) > 1 and len(gids) > 1 else None


def ranges_of(content: bytes, owners: Iterable[str]) -> Iterator[tuple[int, int]]:
    """First id and count of every range that a file grants to one of these names.

    A line that is not ``name:first:count`` in plain decimal numbers is no line; newuidmap skips most
    of these too, and the others it guesses.
    """
    wanted = {owner.encode() for owner in owners}
    for line in content.split(b"\n"):
        fields = line.split(b":")
        if len(fields) != 3 or fields[0] not in wanted:
            continue
        first, count = map(_number, fields[1:])
        if first is not None and count and first + count <= _IDS:
            yield first, count


def map_of(own: int, ranges: Iterable[tuple[int, int]]) -> IdMap:
    """This id as 0, and all of these ranges without gaps from 1 on; an id that comes again is left out."""
    rows = [(0, own, 1)]
    inside = 1
    for first, count in ranges:
        for start, end in _without(rows, first, first + count):
            end = min(end, start + _IDS - inside)
            if start < end and len(rows) < _ROWS_MAX:
                rows.append((inside, start, end - start))
                inside += end - start
    return tuple(rows)


def count_of(rows: IdMap) -> int:
    """How many ids there are inside, from 0 on."""
    return sum(count for _, _, count in rows)


def to_text(maps: IdMaps | None) -> str:
    """Maps in one word: for a command line, or to be compared."""
    return "/".join(",".join(":".join(map(str, row)) for row in rows) for rows in maps or ())


def from_text(text: str) -> IdMaps | None:
    """What `to_text` wrote."""
    if not text:
        return None
    uids, gids = (
        tuple((int(inside), int(outside), int(count)) for inside, outside, count in rows)
        for rows in ([row.split(":") for row in half.split(",")] for half in text.split("/"))
    )
    return uids, gids


def _without(rows: list[tuple[int, int, int]], start: int, end: int) -> Iterator[tuple[int, int]]:
    """What is left of a range when the ids of these rows are taken out."""
    for _, taken, count in sorted(rows, key=lambda row: row[1]):
        if taken + count <= start or taken >= end:
            continue
        if start < taken:
            yield start, taken
        start = taken + count
    if start < end:
        yield start, end


def _number(field: bytes) -> int | None:
    # No zero in front: newuidmap takes that for an octal number.
    if field.isdigit() and len(field) <= 10 and (field == b"0" or field[:1] != b"0"):
        return int(field)
    return None


def _names_of(user: int) -> list[str]:
    import pwd

    try:
        return [pwd.getpwuid(user).pw_name, str(user)]
    except KeyError:
        return [str(user)]


def _ranges(path: str, owners: list[str]) -> list[tuple[int, int]]:
    try:
        with open(path, "rb") as file:  # noqa: PTH123 - pathlib is slow to import
            return list(ranges_of(file.read(), owners))
    except OSError:
        return []  # nobody is granted anything


# --- the way in ------------------------------------------------------------------------------

_DONE = b"!"


def write_maps(pid: int, maps: IdMaps) -> None:
    """Give its ids to the new user namespace of another process of this user. Raises PermissionError."""
    for name, rows in zip(_PROGRAMS, maps, strict=True):
        program = _program(name)
        if program is None:
            raise PermissionError(errno.EPERM, f"the program {name} is missing")
        said = _run([program, str(pid), *(str(number) for row in rows for number in row)])
        if said is not None:
            raise PermissionError(errno.EPERM, said or f"{name} failed")


def enter(maps: IdMaps) -> None:
    """Become root of a new user namespace with these ids; in a process with one thread. Raises OSError."""
    (left, leave), (answers, answer) = os.pipe(), os.pipe()
    parent = os.getpid()
    child = os.fork()
    if child == 0:
        said = b"the process that asks for them failed"
        try:
            os.close(leave)
            if os.read(left, 1):
                write_maps(parent, maps)
                said = _DONE
        except OSError as error:
            said = os.fsencode(error.strerror or str(error))
        finally:
            os.write(answer, said)
            os._exit(0)
    for fd in (left, answer):
        os.close(fd)
    try:
        syscalls.unshare(syscalls.CLONE_NEWUSER)
        os.write(leave, b"!")
    finally:
        os.close(leave)
        with open(answers, "rb") as file:  # noqa: PTH123 - a descriptor
            said = file.read()
        os.waitpid(child, 0)
    if said != _DONE:
        raise PermissionError(errno.EPERM, os.fsdecode(said))


def _program(name: str) -> str | None:
    places = (f"{place}/{name}" for place in _PLACES)
    return next((place for place in places if os.access(place, os.X_OK)), None)


def _run(command: list[str]) -> str | None:
    """What a program complains of, or None if it succeeds."""
    complaints, write = os.pipe()
    try:
        actions = [
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0),
            (os.POSIX_SPAWN_DUP2, write, 2),
        ]
        pid = os.posix_spawn(command[0], command, {}, file_actions=actions)
    finally:
        os.close(write)
        with open(complaints, "rb") as file:  # noqa: PTH123 - a descriptor
            said = file.read().decode(errors="replace")
    return None if os.waitpid(pid, 0)[1] == 0 else " ".join(said.split())


# --- work that is done inside ----------------------------------------------------------------

_START = "import sys; sys.path[:] = sys.argv[1:]; from aiodocker_lite.subids import main; main()"
_DIES_WITH_PARENT = 9


def call(maps: IdMaps, function: Callable[..., object], *arguments: object) -> object:
    """Call a function of a module as root of these ids, in a process of its own; blocking.

    Returns what it returns, which JSON must know, and raises what it raises: EngineError, OSError.
    """
    import json
    import pickle
    import subprocess
    import sys
    from pathlib import Path

    from aiodocker_lite.errors import from_message

    paths = [str(Path(__file__).parents[1]), *filter(None, sys.path)]
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", _START, *paths],
        input=pickle.dumps((maps, function, arguments)),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # an interrupt of the terminal is for us to answer
        check=False,
    )
    if done.returncode:
        raise OSError(errno.EIO, f"a process for it ended with status {done.returncode}")
    answer = json.loads(done.stdout)
    if "errno" in answer:
        raise OSError(answer["errno"], answer["reason"], answer["path"])
    if "slug" in answer:
        raise from_message(answer)
    return answer["value"]


def main() -> None:
    """The process that `call` starts; its standard input comes from there and from nowhere else."""
    import json
    import pickle
    import sys

    from aiodocker_lite.errors import EngineError, to_message

    maps, function, arguments = pickle.load(sys.stdin.buffer)
    answer: dict[str, object]
    try:
        enter(maps)
        syscalls.prctl(syscalls.PR_SET_PDEATHSIG, _DIES_WITH_PARENT)
        answer = {"value": function(*arguments)}
    except EngineError as error:
        answer = to_message(error)
    except OSError as error:
        path = None if error.filename is None else os.fsdecode(error.filename)
        answer = {"errno": error.errno, "reason": error.strerror, "path": path}
    print(json.dumps(answer))  # noqa: T201 - this is how it answers
