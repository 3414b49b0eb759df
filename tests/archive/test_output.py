"""Where archives go: files that are whole or absent, pipes that nobody empties, and places that are neither."""

from __future__ import annotations

import io
import os
import resource
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

import pytest

from aiodocker_lite.archive import open_output
from aiodocker_lite.errors import ArchiveUnwritable, DiskFull


def never() -> None:
    raise AssertionError("nobody has to wait")


def save(
    target: Path | BinaryIO, *blocks: bytes, on_wait: Callable[[], None] = never, name: str | None = None
) -> None:
    with open_output(target, name or str(target), on_wait) as write:
        for block in blocks:
            write(block)


class Enough(Exception):
    """What ends a save in the middle."""


def fail_to_save(path: Path) -> int:
    """How many files there are in its directory when the save is given up."""
    with suppress(Enough), open_output(path, "it", never) as write:
        write(b"new")
        files = len(list(path.parent.iterdir()))
        raise Enough
    return files


def enough() -> None:
    raise Enough


def test_a_file_is_there_when_it_is_whole(tmp_path: Path) -> None:
    """Not before, and only its owner may read it, as docker's."""
    path = tmp_path / "saved.tar"
    with open_output(path, "saved.tar", never) as write:
        write(b"one")
        assert list(tmp_path.iterdir()) == []
        write(b"two")
    assert path.read_bytes() == b"onetwo"
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("before", [None, b"old"])
def test_after_a_failure_everything_is_as_before(tmp_path: Path, before: bytes | None) -> None:
    """A file that was there is there, and nothing else."""
    path = tmp_path / "saved.tar"
    if before is not None:
        path.write_bytes(before)
    fail_to_save(path)
    assert [each.read_bytes() for each in tmp_path.iterdir()] == ([] if before is None else [before])


def test_a_file_that_is_there_is_replaced(tmp_path: Path) -> None:
    """Whoever reads the old one goes on with it; a link stays a link."""
    path, link = tmp_path / "a" / "saved.tar", tmp_path / "link"
    path.parent.mkdir()
    path.write_bytes(b"old")
    link.symlink_to(path)
    with path.open("rb") as reading:
        save(link, b"new")
        assert reading.read() == b"old"
    assert link.is_symlink()
    assert path.read_bytes() == b"new"


def test_a_file_system_without_unnamed_files_gets_a_named_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has another name until it is whole, and none after a failure."""
    monkeypatch.setattr(os, "O_TMPFILE", os.O_DIRECTORY)  # what an old kernel made of it: EISDIR
    save(path := tmp_path / "saved.tar", b"content")
    assert path.read_bytes() == b"content"
    assert list(tmp_path.iterdir()) == [path]
    assert fail_to_save(path) == 2
    assert path.read_bytes() == b"content"
    assert list(tmp_path.iterdir()) == [path]


def test_whoever_is_killed_leaves_nothing(tmp_path: Path) -> None:
    """A file without a name goes with its process."""
    program = f"""
import os, signal
from pathlib import Path
from aiodocker_lite.archive import open_output
with open_output(Path({str(tmp_path / "saved.tar")!r}), "it", print) as write:
    write(bytes(1 << 20))
    os.kill(os.getpid(), signal.SIGKILL)
"""
    done = subprocess.run([sys.executable, "-c", program], check=False)
    assert done.returncode == -signal.SIGKILL
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("place", "reason"),
    [("", "Is a directory"), ("missing/saved.tar", "No such file or directory"), ("file/saved.tar", "Not a directory"),
     ("n" * 300, "File name too long"), ("fifo", "No such device or address"), ("socket", "No such device or address")],
)  # fmt: skip
def test_a_place_where_nothing_can_be_written(tmp_path: Path, place: str, reason: str) -> None:
    """One sentence with the place and what the system says: a pipe without a reader is not waited for."""
    (tmp_path / "file").touch()
    os.mkfifo(tmp_path / "fifo")
    os.mknod(tmp_path / "socket", 0o140600)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(ArchiveUnwritable) as caught:
        save(tmp_path / place)
    assert str(caught.value) == f"cannot write {tmp_path / place}: {reason}"
    assert sorted(tmp_path.iterdir()) == before


def test_a_device_is_written_and_never_replaced() -> None:
    """/dev/null stays what it is, and /dev/full is full."""
    save(Path("/dev/null"), b"content")
    assert Path("/dev/null").is_char_device()
    with pytest.raises(DiskFull, match="no space left while writing /dev/full: No space left on device"):
        save(Path("/dev/full"), b"content")


def test_a_terminal_gets_no_archive() -> None:
    """In docker's words, by whatever way it is reached."""
    ours, theirs = os.openpty()
    words = "cowardly refusing to save to a terminal"
    with os.fdopen(ours), os.fdopen(theirs, "wb", buffering=0) as stream:
        with pytest.raises(ArchiveUnwritable, match=f"cannot write standard output: {words}"):
            save(stream, name="standard output")
        with pytest.raises(ArchiveUnwritable, match=words):
            save(Path(os.ttyname(theirs)))


def test_a_file_may_not_get_too_large(tmp_path: Path) -> None:
    """A limit of the process is a full disk as well."""
    _, hard = before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(DiskFull, match="File too large"):
            save(tmp_path / "saved.tar", bytes(1000), b"x")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list(tmp_path.iterdir()) == []


def test_a_stream_without_a_descriptor_gets_the_bytes() -> None:
    """Such as one in memory; it stays open."""
    stream = io.BytesIO()
    with open_output(stream, "it", never) as write:
        write(b"one")
        write(b"two")
    assert stream.getvalue() == b"onetwo"


@pytest.mark.parametrize("way", ["stream", "path"])
def test_a_pipe_gets_the_bytes_at_its_readers_pace(way: str) -> None:
    """More than it has room for; the pipe of the caller stays as it was, and open."""
    reading, writing = os.pipe()
    content = os.urandom(3 << 20)
    got: list[bytes] = []

    def read() -> None:
        with os.fdopen(reading, "rb") as stream:
            got.append(stream.read())

    thread = threading.Thread(target=read)
    thread.start()
    with os.fdopen(writing, "wb") as stream:
        target = stream if way == "stream" else Path(f"/proc/self/fd/{writing}")
        with open_output(target, "it", lambda: None) as write:
            write(content)
        assert os.get_blocking(writing)
        stream.write(b"more")
    thread.join()
    assert got == [content + b"more"]


def test_a_pipe_that_nobody_empties_asks_whether_to_go_on() -> None:
    """Also when some of a block went in: whoever has enough of it is let go."""
    reading, writing = os.pipe()
    os.write(writing, bytes(100))
    os.read(reading, 1)
    with os.fdopen(reading), os.fdopen(writing, "wb") as stream, pytest.raises(Enough):
        save(stream, bytes(1 << 20), on_wait=enough)


def test_a_reader_that_has_gone_is_said_so() -> None:
    """By the error that everybody has for it."""
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as stream, pytest.raises(BrokenPipeError):
        save(stream, b"content")
