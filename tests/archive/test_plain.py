"""From whatever was given to one plain file: streams, compression, and what is neither."""

from __future__ import annotations

import bz2
import errno
import gzip
import io
import lzma
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import pytest

from aiodocker_lite.archive import read_archive
from aiodocker_lite.errors import DiskFull, InvalidArchive, StoreUnwritable
from aiodocker_lite.platforms import Platform
from tests.fakes.archives import Open, classic, parts, run_tool, tar

PLAIN = tar(classic((parts("one", "two"), ["x:1"])))
AMD64 = Platform("linux", "amd64")


def zstd(content: bytes) -> bytes:
    return run_tool("zstd", "-q", "-c", stdin=content)


def xz(content: bytes) -> bytes:
    return run_tool("xz", "-c", "-T2", "--block-size=4KiB", stdin=content)


@pytest.fixture(params=["path", "bytes", "pipe", "fifo", "redirected", "advanced"])
def give(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[bytes], Path | BinaryIO]:
    """The ways in which an archive can reach us."""

    def give_it(content: bytes) -> Path | BinaryIO:
        path = tmp_path / "given"
        if request.param == "bytes":
            return io.BytesIO(content)
        if request.param in ("pipe", "fifo"):
            into: Path | int = path
            readable: Path | BinaryIO = path
            if request.param == "fifo":
                os.mkfifo(path)
            else:
                out, into = os.pipe()
                readable = os.fdopen(out, "rb")
                request.addfinalizer(readable.close)

            def write() -> None:
                with open(into, "wb") as writing:  # noqa: PTH123  (a path or a descriptor)
                    writing.write(content)

            writer = threading.Thread(target=write)
            writer.start()
            request.addfinalizer(writer.join)
            return readable
        skipped = b"read by somebody else" if request.param == "advanced" else b""
        path.write_bytes(skipped + content)
        if request.param == "path":
            return path
        file = path.open("rb", buffering=0)
        request.addfinalizer(file.close)
        file.seek(len(skipped))
        return file

    return give_it


@pytest.mark.parametrize("pack", [bytes, gzip.compress, bz2.compress, lzma.compress, xz, zstd])
def test_an_archive_is_the_same_however_it_comes(
    pack: Callable[[bytes], bytes], give: Callable[[bytes], Path | BinaryIO], open_archive: Open
) -> None:
    """From a file, a pipe, a FIFO or an open file; plain, gzip, bzip2, xz or zstd; manifest last (A11)."""
    archive = open_archive(give(pack(PLAIN)))
    (image,) = archive.images

    assert [name.familiar for name in image.names] == ["x:1"]
    assert [image.layers[layer.digest].read_at(0, 5) for layer in image.manifest.layers] == [
        b"file0",
        b"file1",
    ]


def test_a_plain_file_is_not_copied(tmp_path: Path) -> None:
    """It is read where it is, so that a large one costs no space."""

    def no_spool() -> BinaryIO:
        raise AssertionError("nothing to copy")

    path = tmp_path / "it.tar"
    path.write_bytes(PLAIN)
    with read_archive(path, name="it", spool=no_spool, platform=AMD64) as from_path:
        assert len(from_path.images) == 1
    with path.open("rb") as file, read_archive(file, name="it", spool=no_spool, platform=AMD64) as from_file:
        assert len(from_file.images) == 1


def test_a_stream_stays_open(tmp_path: Path) -> None:
    """It belongs to whoever opened it, and standard input is not ours to close."""
    path = tmp_path / "it.tar"
    path.write_bytes(PLAIN)
    with path.open("rb") as file:
        read_archive(file, name="it", spool=tempfile.TemporaryFile, platform=AMD64).close()
        assert file.read() == PLAIN


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"<!doctype html><title>404</title>", "it is not a tar archive, it looks like an HTML page"),
        (b"\x7fELF" + bytes(2000), "it is not a tar archive, it looks like a program (ELF)"),
        (b"PK\x03\x04" + bytes(2000), "it is not a tar archive, it looks like a zip file"),
        (b"hello", "it is not a tar archive, it looks like text"),
        (os.urandom(4) + b"\xff\0\xfe" * 300, "it is not a tar archive, it looks like data of an unknown kind"),
        (gzip.compress(b"<html>"), "it is gzip data, but not of a tar archive: an HTML page"),
        (gzip.compress(gzip.compress(PLAIN)), "it is gzip data, but not of a tar archive: gzip data"),
        (gzip.compress(b""), "it is gzip data, but not of a tar archive: nothing, for it is empty"),
        (gzip.compress(PLAIN)[:-100], "it is truncated: its gzip data ends too early"),
        (lzma.compress(PLAIN)[:-100], "it is truncated: its xz data ends too early"),
        (b"\x1f\x8b" + b"junk" * 100, "its gzip data is damaged ("),
        (bytes(1024), "it is an empty archive"),
    ],
)  # fmt: skip
def test_what_is_no_archive_is_called_by_its_name(content: bytes, sentence: str, open_archive: Open) -> None:
    """One sentence that says what the file looks like instead."""
    with pytest.raises(InvalidArchive) as caught:
        open_archive(content)

    assert str(caught.value).startswith(f"cannot load x.tar: {sentence}")


def test_nothing_is_copied_before_it_looks_like_an_archive(tmp_path: Path) -> None:
    """A wrong file of many gigabytes fails at once."""

    def no_spool() -> BinaryIO:
        raise AssertionError("nothing to copy")

    for content in (b"text" * 1000, bytes(4000), gzip.compress(b"text" * 1000), gzip.compress(bytes(4000))):
        with pytest.raises(InvalidArchive):
            read_archive(io.BytesIO(content), name="it", spool=no_spool, platform=AMD64)


def test_an_empty_stream_is_docker_s_sentence(open_archive: Open, tmp_path: Path) -> None:
    """`load` without a file and without input; an empty file is called so."""
    with pytest.raises(InvalidArchive, match="requested load from stdin, but stdin is empty"):
        open_archive(b"")
    sentence = "requested load from stdin, but stdin is empty"
    with Path(os.devnull).open("rb") as nothing, pytest.raises(InvalidArchive, match=sentence):
        open_archive(nothing)
    (tmp_path / "empty").touch()
    with pytest.raises(InvalidArchive, match="the file is empty"):
        open_archive(tmp_path / "empty")


def test_a_terminal_is_an_empty_stream(open_archive: Open) -> None:
    """Nobody types an archive."""
    controller, terminal = os.openpty()
    with (
        os.fdopen(controller, "rb"),
        os.fdopen(terminal, "rb", buffering=0) as stream,
        pytest.raises(InvalidArchive, match="stdin is empty"),
    ):
        open_archive(stream)


def test_a_missing_file_is_one_sentence(open_archive: Open, tmp_path: Path) -> None:
    """With the reason that the system gives."""
    with pytest.raises(InvalidArchive, match="it cannot be opened: No such file or directory"):
        open_archive(tmp_path / "missing")
    with pytest.raises(InvalidArchive, match="it cannot be opened"):
        open_archive(tmp_path / "a\0b")


def test_a_bomb_ends_at_its_limit(tmp_path: Path) -> None:
    """The temporary copy has a largest size (T10)."""
    bomb = gzip.compress(tar({"zeros": bytes(8 << 20)}))
    sentence = "a temporary copy of bomb: it has more than the 4194304 bytes that are left for it"
    with pytest.raises(DiskFull, match=sentence):
        read_archive(
            io.BytesIO(bomb), name="bomb", spool=tempfile.TemporaryFile, platform=AMD64, spooled_max=4 << 20
        )


def test_a_reader_of_a_silent_pipe_can_be_called_off() -> None:
    """While nothing comes, `on_bytes` is asked now and then, and what it raises ends the reading."""

    class CalledOff(Exception):
        pass

    def call_off(count: int) -> None:
        assert count == 0
        raise CalledOff

    out, into = os.pipe()
    with os.fdopen(out, "rb") as stream, os.fdopen(into, "wb"), pytest.raises(CalledOff):
        read_archive(stream, name="it", spool=tempfile.TemporaryFile, platform=AMD64, on_bytes=call_off)


def test_what_was_read_is_reported(tmp_path: Path) -> None:
    """Every byte of the copy, and every byte of a layer that is hashed."""
    seen: list[int] = []
    spool = tempfile.TemporaryFile
    read_archive(io.BytesIO(PLAIN), name="it", spool=spool, platform=AMD64, on_bytes=seen.append).close()

    assert sum(seen) == len(PLAIN) + sum(len(layer) for layer in parts("one", "two").layers)


class _Failing(io.BytesIO):
    """A temporary file on a disk that fails."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self._number = number

    def write(self, block: object) -> int:
        raise OSError(self._number, os.strerror(self._number))


@pytest.mark.parametrize(
    ("number", "kind"), [(errno.ENOSPC, DiskFull), (errno.EDQUOT, DiskFull), (errno.EIO, StoreUnwritable)]
)
def test_a_full_disk_is_said_so(number: int, kind: type[Exception]) -> None:
    """The temporary copy is the store's, and so are its errors."""
    with pytest.raises(kind, match="a temporary copy of it"):
        read_archive(io.BytesIO(PLAIN), name="it", spool=lambda: _Failing(number), platform=AMD64)


def test_a_large_archive_is_not_read_into_memory(tmp_path: Path) -> None:
    """A layer of 100 MiB passes through a process that may have 48 MiB of data."""
    program = """
import resource, sys, tempfile
from pathlib import Path
from aiodocker_lite.archive import read_archive
from aiodocker_lite.platforms import Platform
resource.setrlimit(resource.RLIMIT_DATA, (48 << 20, 48 << 20))
source = Path(sys.argv[1]) if len(sys.argv) > 1 else sys.stdin.buffer
with read_archive(source, name="big", spool=tempfile.TemporaryFile, platform=Platform("linux", "amd64")) as archive:
    print(len(archive.images[0].layers))
"""
    image = parts("x" * (100 << 20))
    path = tmp_path / "big.tar"
    path.write_bytes(tar(classic((image, []))))
    run = [sys.executable, "-c", program]
    with path.open("rb") as file, subprocess.Popen(["cat"], stdin=file, stdout=subprocess.PIPE) as pipe:
        from_pipe = subprocess.run(run, stdin=pipe.stdout, capture_output=True, text=True, check=True)
    from_file = subprocess.run([*run, path], capture_output=True, text=True, check=True)

    assert (from_pipe.stdout, from_file.stdout) == ("1\n", "1\n")
