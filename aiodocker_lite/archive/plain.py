"""From a file or a stream, compressed or not, to one seekable plain tar file.

What is that already is used as it is; all else is copied into a temporary file. Compression is
told by the first bytes and never by a name. RFC 1952 (gzip), RFC 8878 (zstd), bzip2, and the
.xz file format.
"""

from __future__ import annotations

import errno
import io
import os
import select
import stat
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import chain
from pathlib import Path
from typing import BinaryIO

from aiodocker_lite.archive.looks import looks_like
from aiodocker_lite.archive.members import is_end, is_header
from aiodocker_lite.archive.section import BLOCK, Section
from aiodocker_lite.errors import DiskFull, InvalidArchive, StoreUnwritable
from aiodocker_lite.inflate import Compression, Damaged, compression_of, decompressed

_SNIFFED = 512
_IMPATIENCE = 500
"""Milliseconds after which a reader of a silent pipe asks whether anybody still waits for it."""


def open_plain(
    source: Path | BinaryIO,
    archive: str,
    spool: Callable[[], BinaryIO],
    spooled_max: int,
    on_bytes: Callable[[int], None],
    files: ExitStack,
) -> Section:
    """The whole archive as one section; what it keeps open is closed by `files`.

    Raises InvalidArchive, DiskFull, StoreUnwritable.
    """
    fd = _descriptor(source, archive, files)
    if fd is not None and _can_seek(fd):
        whole = Section(fd, 0, os.fstat(fd).st_size, archive)
        blocks = whole.blocks()
    else:
        whole = None
        blocks = _stream(source, fd, archive, on_bytes)
    first, blocks = _sniffed(blocks)
    if not first:
        raise _empty(source, archive)
    if _is_archive(first, archive):
        return whole or _spooled(blocks, archive, spool, spooled_max, on_bytes, files)
    kind = compression_of(first)
    if kind is None:
        raise InvalidArchive(archive, f"it is not a tar archive, it looks like {looks_like(first)}")
    first, blocks = _sniffed(_inflated(blocks, kind, archive))
    if not _is_archive(first, archive):
        raise InvalidArchive(archive, f"it is {kind} data, but not of a tar archive: {looks_like(first)}")
    return _spooled(blocks, archive, spool, spooled_max, on_bytes, files)


def _is_archive(first: bytes, archive: str) -> bool:
    """It begins as a tar file does. Raises InvalidArchive for the end of one: /dev/zero would never end."""
    if is_end(first):
        raise InvalidArchive(archive, "it is an empty archive")
    return is_header(first)


def _inflated(blocks: Iterator[bytes], kind: Compression, archive: str) -> Iterator[bytes]:
    try:
        yield from decompressed(blocks, kind)
    except Damaged as error:
        raise InvalidArchive(archive, str(error)) from error


def _sniffed(blocks: Iterator[bytes]) -> tuple[bytes, Iterator[bytes]]:
    """The first bytes, and all of the blocks again."""
    first = b""
    while len(first) < _SNIFFED and (block := next(blocks, b"")):
        first += block
    return first[:_SNIFFED], chain([first], blocks)


def _descriptor(source: Path | BinaryIO, archive: str, files: ExitStack) -> int | None:
    """A descriptor of our own for the source; None for a stream that has none, such as BytesIO."""
    try:
        if isinstance(source, Path):
            fd = os.open(source, os.O_RDONLY | os.O_CLOEXEC)
        else:
            fd = os.dup(source.fileno())
    except io.UnsupportedOperation:
        return None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "its name has a zero byte"
        raise InvalidArchive(archive, f"it cannot be opened: {reason}") from error
    files.callback(os.close, fd)
    return fd


def _can_seek(fd: int) -> bool:
    """A regular file of which nothing was read; from anywhere else it is a stream."""
    return stat.S_ISREG(os.fstat(fd).st_mode) and os.lseek(fd, 0, os.SEEK_CUR) == 0


def _stream(
    source: Path | BinaryIO, fd: int | None, archive: str, on_bytes: Callable[[int], None]
) -> Iterator[bytes]:
    try:
        if fd is None:
            assert not isinstance(source, Path)
            while block := source.read(BLOCK):
                yield block
            return
        if os.isatty(fd):
            return
        ready = select.poll()
        ready.register(fd, select.POLLIN)
        while True:
            while not ready.poll(_IMPATIENCE):
                on_bytes(0)
            block = os.read(fd, BLOCK)
            if not block:
                return
            yield block
    except OSError as error:
        raise InvalidArchive(archive, f"it cannot be read: {error.strerror}") from error


def _empty(source: Path | BinaryIO, archive: str) -> InvalidArchive:
    if isinstance(source, Path):
        return InvalidArchive(archive, "the file is empty")
    return InvalidArchive(archive, "requested load from stdin, but stdin is empty")


def _spooled(
    blocks: Iterator[bytes],
    archive: str,
    spool: Callable[[], BinaryIO],
    spooled_max: int,
    on_bytes: Callable[[int], None],
    files: ExitStack,
) -> Section:
    copy = files.enter_context(spool())
    size = 0
    for block in blocks:
        size += len(block)
        if size > spooled_max:
            raise DiskFull(
                _copy_of(archive), f"it has more than the {spooled_max} bytes that are left for it"
            )
        _write(copy, block, archive)
        on_bytes(len(block))
    return Section(copy.fileno(), 0, size, archive)


def _write(copy: BinaryIO, block: bytes, archive: str) -> None:
    try:
        copy.write(block)
        copy.flush()
    except OSError as error:
        reason = error.strerror or str(error)
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise DiskFull(_copy_of(archive), reason) from error
        raise StoreUnwritable(_copy_of(archive), reason) from error


def _copy_of(archive: str) -> str:
    return f"a temporary copy of {archive}"
