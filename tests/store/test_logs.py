"""The log of a detached container: what was written is what is read, through the lines of docker's json-file driver."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from aiodocker_lite.store.logs import LogReader, LogWriter, StreamName, log_path, timestamp

_BITS = (b"a", b"\n", b"\r\n", b'"', b"\\", b"\\n", b'","stream":"stderr","time":"x"}\n{"log":"', "ä€😀\u2028".encode(), b"\xff\x00", b"x" * 20_000)  # fmt: skip


def read(container: Path, tail: int | None = None) -> dict[StreamName, list[bytes]]:
    """All lines of both streams, or those of the last entries."""
    found: dict[StreamName, list[bytes]] = {"stdout": [], "stderr": []}
    with LogReader(container) as reader:
        if tail is not None:
            reader.skip_to_last(tail)
        while (parts := reader.read()) is not None:
            for part in parts:
                found[part.stream] += part.lines
    return found


def write(container: Path, *chunks: bytes) -> list[bytes]:
    """What the log has for these chunks of standard output: its entries."""
    with LogWriter(container) as log:
        for chunk in chunks:
            log.write("stdout", chunk)
        log.finish("stdout")
    return log_path(container).read_bytes().splitlines()


@pytest.mark.parametrize("seed", range(20))
def test_what_is_written_is_read(tmp_path: Path, seed: int) -> None:
    """Whatever it is, in whatever chunks, of both streams in turn; and each entry is a document of its own."""
    rng = random.Random(seed)
    wrote: dict[StreamName, bytes] = {"stdout": b"", "stderr": b""}
    with LogWriter(tmp_path) as log:
        for _ in range(rng.choice((1, 30, 300))):
            stream: StreamName = rng.choice(("stdout", "stdout", "stderr"))
            chunk = b"".join(rng.choices(_BITS, k=rng.choice((1, 10))))
            log.write(stream, chunk)
            wrote[stream] += chunk
        log.finish("stdout")
        log.finish("stderr")
    found = read(tmp_path)
    assert {stream: b"".join(lines) for stream, lines in found.items()} == wrote
    assert all(len(line) <= 16 << 10 for lines in found.values() for line in lines)
    entries = [json.loads(entry) for entry in log_path(tmp_path).read_bytes().splitlines()]
    assert {tuple(entry) for entry in entries} == {("log", "stream", "time")}
    for stream, lines in found.items():
        texts = [entry["log"] for entry in entries if entry["stream"] == stream]
        assert [text.encode(errors="surrogateescape") for text in texts] == lines


def test_a_line_is_an_entry_and_a_long_one_is_several(tmp_path: Path) -> None:
    """Of 16 KiB, as docker's; one that never ends is kept as it comes."""
    lengths = [
        len(json.loads(entry)["log"]) for entry in write(tmp_path, b"\n", b"x" * 40_000, b"\nab", b"c")
    ]
    assert lengths == [1, 16384, 16384, 40_001 - 2 * 16384, 3]


def test_lines_of_one_moment_are_read_together(tmp_path: Path) -> None:
    """With the stream and the moment of each."""
    with LogWriter(tmp_path) as log:
        log.write("stdout", b"1\n2\n")
        log.write("stderr", b"3\n")
        log.write("stdout", b"4\n5")
        log.finish("stdout")
    with LogReader(tmp_path) as reader:
        parts = reader.read()
        assert parts is not None
        assert reader.read() is None
    assert [(part.stream, list(part.lines)) for part in parts] == [
        ("stdout", [b"1\n", b"2\n"]),
        ("stderr", [b"3\n"]),
        ("stdout", [b"4\n"]),
        ("stdout", [b"5"]),
    ]
    times = [part.time for part in parts]
    assert times == sorted(times)
    assert times[-1] < timestamp(2**61)


def test_what_is_torn_or_was_changed_is_passed_over(tmp_path: Path) -> None:
    """Each damaged entry, and no other."""
    entries = write(tmp_path, b"".join(b"%d\n" % number for number in range(12)))
    damaged = {
        1: entries[1][:9],
        2: entries[2][:-20],
        4: b"",
        5: entries[5].replace(b'"5', b"x5"),
        6: entries[6].replace(b'"6\\n"', b"6"),
        7: entries[7].replace(b'"time"', b'"tame"'),
        9: b"\0" * 100,
        10: entries[10][:-2] + b"\xff" + entries[10][-2:],
    }
    for number, entry in damaged.items():
        entries[number] = entry
    log_path(tmp_path).write_bytes(b"\n".join(entries) + b"\n" + entries[0][:30])
    assert read(tmp_path)["stdout"] == [b"0\n", b"3\n", b"8\n", b"11\n"]
    write(tmp_path, b"later\n")
    assert read(tmp_path)["stdout"][-2:] == [b"11\n", b"later\n"]


@pytest.mark.parametrize("tail", [0, 1, 2, 2500, 9999, 10_000, 10_001, 10**9])
def test_the_last_entries_are_found_from_the_end(tmp_path: Path, tail: int) -> None:
    """However many blocks they are in."""
    lines = [b"%d\n" % number for number in range(10_000)]
    write(tmp_path, *lines)
    assert log_path(tmp_path).stat().st_size > 2 * (1 << 18)
    assert read(tmp_path, tail)["stdout"] == lines[max(0, len(lines) - tail) :]


def test_what_is_added_is_read_when_it_is_whole(tmp_path: Path) -> None:
    """A reader that has seen the beginning of an entry has it once its end is there."""
    write(tmp_path, b"one\n")
    entry = log_path(tmp_path).read_bytes()
    found: list[bytes] = []
    with LogReader(tmp_path) as reader, log_path(tmp_path).open("ab", buffering=0) as file:
        for number in range(len(entry)):
            file.write(entry[number : number + 1])
            while (parts := reader.read()) is not None:
                found += [line for part in parts for line in part.lines]
            assert len(found) == 1 + (number == len(entry) - 1)
    assert found == [b"one\n", b"one\n"]
