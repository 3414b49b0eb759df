"""`save`, as a whole process."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
from pathlib import Path

import pytest

from tests.fakes.commands import Adl, Names, Start, command, environment, run_command


def test_what_is_saved_is_loaded_elsewhere(
    box: Adl, adl: Adl, stocked: Path, names: Names, tmp_path: Path
) -> None:
    """Through a file, and from one process to the next; both say nothing, and are the same bytes.

    Whoever loads it may forbid it to give names (A07).
    """
    path = tmp_path / "box.tar"
    done = box("save", "-o", str(path), names.box)
    assert (done.code, done.out, done.err) == (0, "", "")
    assert adl("load", "-q", "--no-tags", "-i", str(path)).out.startswith("Loaded image ID: sha256:")
    assert adl("load", "-q", "-i", str(path)).out == f"Loaded image: {names.box}:latest\n"
    piped = subprocess.run(
        command(stocked, "save", names.box), env=environment(tmp_path), capture_output=True, check=True
    )
    assert (piped.stdout == path.read_bytes(), piped.stderr) == (True, b"")


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (["nothing"], 1, "No such image: nothing"),
        (["-o", "/nowhere/x.tar", "BOX"], 1, "cannot write /nowhere/x.tar: No such file or directory"),
        (["-o", "/", "BOX"], 1, "cannot write /: Is a directory"),
        (["--format", "zip", "BOX"], 125, "invalid value for format: 'zip' is none of docker, docker-archive, oci-"),
        (["--platform", "linux/arm64", "BOX"], 125, "--platform is not supported"),
        ([], 125, "Missing argument"),
    ],
)  # fmt: skip
def test_what_cannot_be_saved_is_one_sentence(
    box: Adl, names: Names, words: list[str], code: int, sentence: str
) -> None:
    """And nothing is on standard output."""
    done = box("save", *(names.box if word == "BOX" else word for word in words))
    assert (done.code, done.out) == (code, "")
    assert done.sentence.startswith(sentence), done.err


def test_a_terminal_gets_no_archive(stocked: Path, names: Names, tmp_path: Path) -> None:
    """As with docker, in its words."""
    ours, theirs = pty.openpty()
    with os.fdopen(ours), os.fdopen(theirs):
        done = run_command(command(stocked, "save", names.box), environment(tmp_path), stdout=theirs)
    assert done.code == 1
    assert done.sentence.startswith("cannot write standard output: cowardly refusing to save to a terminal")


def test_a_reader_that_has_enough_ends_it_silently(stocked: Path, names: Names, tmp_path: Path) -> None:
    """As `head` does."""
    line = " ".join(command(stocked, "save", names.box))
    piped = f"{line} | head -c 1000 | wc -c"
    done = subprocess.run(piped, shell=True, capture_output=True, env=environment(tmp_path), check=False)
    assert (done.stdout.strip(), done.stderr) == (b"1000", b"")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_while_nobody_reads(start: Start, names: Names, number: signal.Signals) -> None:
    """The pipe is full, and it ends all the same."""
    process = start("save", names.box)
    assert process.stdout is not None
    os.read(process.stdout.fileno(), 1)
    process.send_signal(number)
    assert process.wait(10) == 128 + number
