"""What is fuzzed: each target takes one input and raises whatever is not as it must be.

An input is good if it is read, or refused by an error that is meant for layers: the host is never
blamed for what a stranger wrote, and nothing else is ever raised.
"""

from __future__ import annotations

import os
import tempfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from random import Random

from anyio.from_thread import start_blocking_portal

from aiodocker_lite import syscalls
from aiodocker_lite.digest import Digest
from aiodocker_lite.errors import (
    EngineError,
    InvalidLayer,
    LimitExceeded,
    UnsafeEntry,
    UnsupportedMediaType,
)
from aiodocker_lite.inflate import BLOCK
from aiodocker_lite.layer.decompress import plain_blocks
from aiodocker_lite.layer.pool import Job, Unpackers, notes_of
from aiodocker_lite.layer.rules import UnpackRules
from aiodocker_lite.layer.tar import TarReader
from aiodocker_lite.removal import remove_directory
from aiodocker_lite.settings import Limits
from tests.cases.benign_layers import benign_layers
from tests.cases.hostile_layers import hostile_layers
from tests.fakes.canary import Ground, escapes
from tests.fakes.layers import unpack
from tests.fuzz.mutate import MOST, compressed, mutated, mutated_blob, renamed

Run = Callable[[bytes], None]
Mutate = Callable[[bytes, Sequence[bytes], Random], bytes]

LIMITS = Limits(
    unpacked_bytes=1 << 22, entries=500, depth=100, name_bytes=1024, header_bytes=1 << 16, path_bytes=1 << 20
)
OUTSIDE = os.fsencode(tempfile.gettempdir()) + b"/g01234567/outside"
"""What seeds and findings have in the place of the directory that must stay as it is."""
_MEANT_FOR_LAYERS = (InvalidLayer, LimitExceeded, UnsafeEntry, UnsupportedMediaType)


@dataclass(frozen=True)
class Target:
    """One thing that is fuzzed."""

    open: Callable[[], AbstractContextManager[Run]]
    mutate: Mutate
    seeds: Callable[[], list[bytes]]


def _tars() -> list[bytes]:
    packed = [case.pack(OUTSIDE) for case in hostile_layers()]
    packed += [twin.layer for twin in benign_layers()]
    return sorted(
        {content for content in packed if len(content) <= MOST and not content.startswith(b"\x1f\x8b")}
    )


def _blobs() -> list[bytes]:
    """Some as they are, and all in some compression."""
    chance = Random(0)
    return [compressed(tar, chance) for tar in _tars()]


def _accepts(run: Callable[[], object]) -> bool:
    """Whether it was read; False if it was refused as layers are."""
    try:
        run()
    except _MEANT_FOR_LAYERS as error:
        assert str(error), "an error without a sentence"
        return False
    except EngineError as error:
        raise AssertionError(f"a layer cannot be the cause of {type(error).__name__}: {error}") from error
    return True


def _pieces(content: bytes) -> Iterator[bytes]:
    """The same pieces for the same content, often small, for every size may come from a network."""
    size = 1 + zlib.crc32(content) % (700 if len(content) % 2 else 70_000)
    return (content[n : n + size] for n in range(0, len(content), size))


# --- readers -----------------------------------------------------------------------------------


@contextmanager
def _tar() -> Iterator[Run]:
    def run(content: bytes) -> None:
        left = list(_pieces(content))[::-1]

        def read() -> None:
            reader = TarReader(iter(lambda: left.pop() if left else b"", b""), "abc", LIMITS, len(content))
            for entry in reader:
                assert b"\0" not in entry.name + entry.link
                assert entry.size >= 0
                assert 0 <= entry.uid < 1 << 32 > entry.gid >= 0
                assert -(1 << 63) <= entry.mtime < 1 << 63
                stored = entry.size
                if entry.segments is not None:
                    ends = [0] + [at + length for at, length in entry.segments]
                    assert all(at >= end for (at, _), end in zip(entry.segments, ends, strict=False))
                    assert ends[-1] <= entry.size
                    stored = sum(length for _, length in entry.segments)
                if entry.mtime % 2:
                    assert sum(map(len, reader.data())) == stored

        assert not _accepts(read) or not left, "accepted, but not read to its end"

    yield run


@contextmanager
def _inflate() -> Iterator[Run]:
    def run(content: bytes) -> None:
        def read(into: list[bytes], pieces: Iterator[bytes]) -> None:
            total = 0
            for block in plain_blocks(pieces, "abc"):
                assert len(block) <= max(BLOCK, len(content))
                total += len(block)
                if total > 1 << 24:
                    raise LimitExceeded("the size in this test", 1 << 24, total)
                into.append(block)

        whole: list[bytes] = []
        parts: list[bytes] = []
        accepted = _accepts(lambda: read(whole, iter([content])))
        assert accepted == _accepts(lambda: read(parts, _pieces(content))), "it depends on the pieces"
        if accepted:
            assert b"".join(whole) == b"".join(parts), "what comes out depends on the pieces"
            if content.startswith(b"\x1f\x8b"):
                assert _by_zlib(content) in (None, b"".join(whole)), "zlib reads something else"

    yield run


def _by_zlib(content: bytes) -> bytes | None:
    """What zlib reads; None for a header with reserved flags, which it refuses, and ISA-L does not."""
    plain = b""
    while content := content.lstrip(b"\0"):
        if content[3] & 0xE0:
            return None
        member = zlib.decompressobj(wbits=31)
        plain += member.decompress(content)
        assert member.eof, "zlib finds it truncated"
        content = member.unused_data
    return plain


# --- unpackers ---------------------------------------------------------------------------------


@contextmanager
def _next_to_a_canary(user: int) -> Iterator[tuple[Ground, Callable[[], None]]]:
    """A ground, and what to call after each run: compares the canary, removes the root and makes a new one."""
    ground = Ground(user)
    (root,) = ground.roots
    root.mkdir()
    base = os.open(ground.base, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    before = ground.photograph()

    def look() -> None:
        for place in (ground.joint, root):
            remove_directory(place.name, base)
        notes_of(root).unlink(missing_ok=True)
        root.mkdir()
        changed = escapes(before, ground.photograph())
        assert changed == [], f"it got out: {changed}"

    here = Path.cwd()
    try:
        yield ground, look
    finally:
        os.chdir(here)
        os.close(base)
        ground.remove()


@contextmanager
def _unpack() -> Iterator[Run]:
    """The first wall alone, by openat2 and by our own walk in turn, as first and as upper layer."""
    os.umask(0)
    with _next_to_a_canary(os.geteuid()) as (ground, look):
        outside = os.fsencode(ground.outside)
        assert len(outside) == len(OUTSIDE)
        real = syscalls.openat2

        def run(content: bytes) -> None:
            ground.joint.mkdir()
            os.chdir(ground.outside)
            way = zlib.crc32(content)
            syscalls.openat2 = _missing if way & 1 else real
            rules = UnpackRules(os.geteuid() == 0, LIMITS, len(content))
            below = [ground.lower] if way & 2 else []
            blocks = _pieces(renamed(content, OUTSIDE, outside))
            try:
                _accepts(lambda: unpack(blocks, ground.roots[0], rules, joint=ground.joint, below=below))
            finally:
                look()

        try:
            yield run
        finally:
            syscalls.openat2 = real


def _missing(*_: object, **__: object) -> int:
    raise OSError(38, os.strerror(38))


@contextmanager
def _worker() -> Iterator[Run]:
    """Real workers, which go on after each layer."""
    with (
        _next_to_a_canary(os.geteuid()) as (ground, look),
        tempfile.TemporaryDirectory() as elsewhere,
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(Unpackers(1)) as unpackers,
    ):
        blob = Path(elsewhere) / "blob"

        def run(content: bytes) -> None:
            blob.write_bytes(content)
            size = len(content)
            job = Job(
                blob, Digest.of(content), size, _diff_id(content), ground.roots[0], LIMITS, os.geteuid() == 0
            )

            ground.joint.mkdir()
            try:
                _accepts(
                    lambda: portal.call(unpackers.unpack, job, partial(_all_of, size), lambda consumed: None)
                )
            finally:
                look()

        yield run


def _diff_id(content: bytes) -> Digest:
    """That of what it decompresses to; of anything if it does not."""
    try:
        return Digest.of(b"".join(plain_blocks(iter([content]), "abc")))
    except EngineError:
        return Digest.of(b"")


async def _all_of(size: int, have: int) -> int:
    return size


TARGETS = {
    "tar": Target(_tar, mutated, _tars),
    "inflate": Target(_inflate, mutated_blob, _blobs),
    "unpack": Target(_unpack, mutated, _tars),
    "worker": Target(_worker, mutated_blob, _blobs),
}
