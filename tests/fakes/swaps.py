"""An unpacker under attack: a second process swaps the parents of what it is just about to make (L21)."""

from __future__ import annotations

import ctypes
import errno
import io
import mmap
import os
import signal
import struct
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from anyio.from_thread import start_blocking_portal

from aiodocker_lite import syscalls
from aiodocker_lite.digest import Digest
from aiodocker_lite.errors import EngineError
from aiodocker_lite.layer.pool import Job, Unpackers, notes_of
from aiodocker_lite.layer.rules import UnpackRules
from aiodocker_lite.layer.tar import DIRECTORY, REGULAR, TarReader
from aiodocker_lite.layer.unpack import unpack_layer
from aiodocker_lite.removal import remove_directory
from aiodocker_lite.settings import Limits
from tests.fakes.canary import Ground, escapes
from tests.fakes.tars import END, directory, file, hard_link, symlink

Unpack = Callable[[bytes, Path], object]
"""Unpacks a layer into a directory that exists."""

_EXCHANGE = 2
_COUNTER = struct.Struct("Q")


@dataclass
class Met:
    """What came of an attack."""

    swaps: int = 0
    layers: int = 0
    entries: int = 0
    """Files of all kinds that were found below the root in the end, over all layers."""
    elsewhere: int = 0
    """Those of them that were put where a swapped link leads, read as a path below the root."""
    refused: Counter[str] = field(default_factory=Counter)
    """Layers that ended with an error, by its last words."""
    escapes: list[str] = field(default_factory=list)


# --- the layer ---------------------------------------------------------------------------------


def layer() -> bytes:
    """Entries below `hot`, `warm` and `up`, with the names that are outside, of all the kinds there are."""
    parts = [
        directory(b"x/y/z"),
        directory(b"x/outside"),
        directory(b"flat"),
        # In another place than its own, the directory `z` makes these dots lead out of the root.
        symlink(b"up", b"x/y/z/../../outside"),
        directory(b"hot"),
        directory(b"warm"),
        directory(b"leaf/dir"),
        file(b"leaf/file"),
    ]
    for n in range(300):
        for top in (b"hot", b"warm", b"up"):
            # More directories than are kept open.
            below = b"%s/d%d" % (top, n % 80)
            parts += [directory(below, 0o711), file(b"%s/f%d" % (below, n), b"x" * n)]
            parts += [symlink(b"%s/s%d" % (below, n), b"secret"), file(b"%s/.wh.w%d" % (below, n))]
            if n % 25 == 0:
                # What is there is removed first.
                parts += [file(top + b"/dir", b"new"), directory(top + b"/dir"), file(top + b"/dir/inner")]
                parts += [file(top + b"/secret"), file(top + b"/.wh.second"), file(top + b"/.wh..wh..opq")]
        parts += [directory(b"leaf/dir", 0o700 + n % 8), hard_link(b"leaf/linked", b"leaf/file")]
    return b"".join(parts) + END


# --- the attacker ------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Pair:
    """Two names whose files are exchanged, and where the link leads that one of them is at first."""

    inside: Path
    other: Path
    target: str | None = None


def _pairs(ground: Ground) -> list[_Pair]:
    (root, bait) = ground.roots
    return [
        _Pair(root / "hot", bait / "absolute", str(ground.outside)),
        _Pair(root / "warm", bait / "relative", "../outside"),
        _Pair(root / "x/y/z", root / "flat"),
        _Pair(root / "leaf/dir", bait / "dir", str(ground.outside / "dir")),
        _Pair(root / "leaf/linked", bait / "file", str(ground.outside / "secret")),
    ]


def _lay_baits(pairs: list[_Pair]) -> None:
    for pair in pairs:
        if pair.target is not None and not (pair.inside.is_symlink() or pair.other.is_symlink()):
            with suppress(OSError):
                pair.other.rename(pair.other.with_name(f"{pair.other.name}-{os.urandom(4).hex()}"))
            with suppress(OSError):
                pair.other.symlink_to(pair.target)


def _swap_for_ever(pairs: list[_Pair], counter: mmap.mmap) -> None:
    exchange = ctypes.CDLL(None).renameat2
    names = [(bytes(pair.inside), bytes(pair.other)) for pair in pairs]
    done = 0
    here = syscalls.AT_FDCWD
    while True:
        for _ in range(50):
            for inside, other in names:
                done += not exchange(here, inside, here, other, _EXCHANGE)
        counter[: _COUNTER.size] = _COUNTER.pack(done)
        _lay_baits(pairs)


@contextmanager
def _swapping(pairs: list[_Pair]) -> Iterator[Callable[[], int]]:
    """The second process; yields how many swaps it has done."""
    _lay_baits(pairs)
    counter = mmap.mmap(-1, mmap.PAGESIZE)
    pid = os.fork()
    if pid == 0:
        try:
            syscalls.prctl(syscalls.PR_SET_PDEATHSIG, signal.SIGKILL)
            _swap_for_ever(pairs, counter)
        finally:
            os._exit(1)
    try:
        yield lambda: int(_COUNTER.unpack_from(counter)[0])
    finally:
        os.kill(pid, signal.SIGKILL)
        status = os.waitpid(pid, 0)[1]
        counter.close()
    assert os.WTERMSIG(status) == signal.SIGKILL, "the swapper ended by itself"


def attack(unpack: Unpack, enough: Callable[[Met], bool]) -> Met:
    """Unpack the layer again and again, into a new directory each time, while its parents are swapped."""
    ground = Ground(os.geteuid(), ["root", "bait"])
    root, bait = ground.roots
    root.mkdir()
    bait.mkdir()
    content, met = layer(), Met()
    pairs = _pairs(ground)
    here, umask = Path.cwd(), os.umask(0)
    before = ground.photograph()
    try:
        with _swapping(pairs) as swaps:
            while not enough(met):
                met.layers += 1
                try:
                    unpack(content, root)
                except EngineError as error:
                    met.refused[str(error).rpartition(": ")[2]] += 1
                os.chdir(here)
                met.swaps = swaps()
                _renew(ground, met)
        met.escapes = escapes(before, ground.photograph())
    finally:
        os.chdir(here)
        os.umask(umask)
        ground.remove()
    return met


def _renew(ground: Ground, met: Met) -> None:
    """Count what has come of a layer, and remove it; nobody can swap what has another name."""
    root, bait = ground.roots
    done, taken = root.rename(ground.base / "done"), bait.rename(ground.base / "taken")
    met.entries += _files(done)
    met.elsewhere += _files(done / "outside") + _files(done / str(ground.outside).lstrip("/"))
    base = os.open(ground.base, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for place in (done, taken):
            try:
                remove_directory(place.name, base)
            except OSError as error:
                if error.errno != errno.ESTALE:
                    raise
                # A swap that was under way when the names changed; it was the last one.
                remove_directory(place.name, base)
    finally:
        os.close(base)
    bait.mkdir()
    root.mkdir()


def _files(place: Path) -> int:
    return sum(len(names) + len(files) for _, names, files in os.walk(place))


# --- the unpackers -----------------------------------------------------------------------------


@contextmanager
def _by_openat2() -> Iterator[Unpack]:
    """The first wall alone: no chroot."""

    def unpack(content: bytes, root: Path) -> None:
        fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            rules = UnpackRules(os.geteuid() == 0, Limits())
            unpack_layer(iter([content]), fd, "abc", rules, io.BytesIO())
        finally:
            os.close(fd)

    yield unpack


@contextmanager
def _by_walk() -> Iterator[Unpack]:
    """The same on an old kernel: our own walk."""

    def missing(*_: object, **__: object) -> int:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    real, syscalls.openat2 = syscalls.openat2, missing
    try:
        with _by_openat2() as unpack:
            yield unpack
    finally:
        syscalls.openat2 = real


@contextmanager
def _by_worker() -> Iterator[Unpack]:
    """The real worker: both walls, as far as the host permits."""
    with (
        tempfile.TemporaryDirectory() as elsewhere,
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(Unpackers(1)) as unpackers,
    ):
        blob = Path(elsewhere) / "blob"

        def unpack(content: bytes, root: Path) -> None:
            blob.write_bytes(content)
            digest, size = Digest.of(content), len(content)
            job = Job(blob, digest, size, digest, root, Limits(), os.geteuid() == 0)
            try:
                portal.call(unpackers.unpack, job, partial(_all_of, size), lambda consumed: None)
            finally:
                notes_of(root).unlink(missing_ok=True)

        yield unpack


async def _all_of(size: int, have: int) -> int:
    return size


UNPACKERS: dict[str, Callable[[], AbstractContextManager[Unpack]]] = {
    "openat2": _by_openat2,
    "walk": _by_walk,
    "worker": _by_worker,
}


def naive(content: bytes, root: Path) -> None:
    """What nobody should do: look whether the parent is below the root, and then use its path."""
    place = os.path.realpath(os.fsencode(root))
    reader = TarReader(iter([content]), "abc", Limits())
    for entry in reader:
        path = os.path.join(place, entry.name)  # noqa: PTH118
        with suppress(OSError):
            parent = os.path.realpath(os.path.dirname(path))  # noqa: PTH120
            if not (parent + b"/").startswith(place + b"/"):
                continue
            if entry.kind == DIRECTORY:
                os.makedirs(path, exist_ok=True)  # noqa: PTH103
            elif entry.kind == REGULAR:
                with open(path, "wb") as out:  # noqa: PTH123
                    out.writelines(reader.data())
