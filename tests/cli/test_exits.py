"""From an error to a sentence and an exit code; and a process that has no streams to say it on."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest
import typer

from aiodocker_lite.cli import exits
from aiodocker_lite.errors import (
    CommandNotFound,
    EngineError,
    ImageNotFound,
    InvalidOption,
    NoSuchContainer,
    NoSuchImage,
    StoreUnwritable,
)
from tests.fakes.commands import Adl, Names, command, environment, run_command, run_with_few_files


def raising(error: BaseException) -> Callable[[], NoReturn]:
    """A command that fails like this."""

    def fail() -> NoReturn:
        raise error

    return fail


@pytest.mark.parametrize(
    ("error", "code", "in_run"),
    [
        (NoSuchImage("x"), 1, 125),
        (ImageNotFound("x"), 1, 125),
        (InvalidOption("--x", "it is not y"), 125, 125),
        (NoSuchContainer("x"), 1, 125),
        (CommandNotFound("x", "not found"), 127, 127),
        (exits.Interrupted(signal.SIGTERM), 143, 143),
        (KeyboardInterrupt(), 130, 130),
        (typer.Abort(), 130, 130),
        (typer.Exit(7), 7, 7),
        (typer.BadParameter("no"), 125, 125),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else "",
)
def test_every_error_has_its_exit_code(error: BaseException, code: int, in_run: int) -> None:
    """In `run` 1 belongs to the container."""
    assert exits.guarded(raising(error), is_run=False) == code
    assert exits.guarded(raising(error), is_run=True) == in_run


def test_an_error_is_told_with_all_that_is_known(capsys: pytest.CaptureFixture[str]) -> None:
    """What happened, what happened besides, and what may help; and nothing that moves a cursor."""
    error = StoreUnwritable("/a\033[2J", "it is read-only")
    error.add_note("also: the sky\nfell")
    assert exits.guarded(raising(error), is_run=False) == 1
    assert capsys.readouterr().err.splitlines() == [
        "aiodocker-lite: cannot write to the store at /a\\x1b[2J: it is read-only",
        "aiodocker-lite: also: the sky\\nfell",
        "aiodocker-lite: hint: choose another directory with --root or AIODOCKER_LITE_ROOT",
    ]


def test_an_interrupt_needs_no_words(capsys: pytest.CaptureFixture[str]) -> None:
    """Whoever pressed the key knows."""
    for error in (KeyboardInterrupt(), exits.Interrupted(signal.SIGINT), typer.Abort()):
        exits.guarded(raising(error), is_run=False)
    assert capsys.readouterr() == ("", "")


def test_a_bug_is_called_one(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A sentence and how to see more: with the variable, where it is; and the same exit code."""
    monkeypatch.delenv("AIODOCKER_LITE_DEBUG", raising=False)
    assert exits.guarded(raising(ZeroDivisionError("oh")), is_run=False) == 1
    assert exits.guarded(raising(ZeroDivisionError("oh")), is_run=True) == 125
    assert capsys.readouterr().err.startswith("aiodocker-lite: internal error: ZeroDivisionError: oh\n")
    monkeypatch.setenv("AIODOCKER_LITE_DEBUG", "1")
    assert exits.guarded(raising(ZeroDivisionError("oh")), is_run=False) == 1
    assert exits.guarded(raising(ZeroDivisionError("oh")), is_run=True) == 125
    err = capsys.readouterr().err
    assert err.count("Traceback (most recent call last):") == 2
    assert err.endswith("ZeroDivisionError: oh\n")


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (OSError(errno.EMFILE, "x", "/a"), "Too many open files: /a"),
        (OSError(errno.EIO, "x"), "Input/output error"),
        (MemoryError(), "Cannot allocate memory"),
        (
            RuntimeError("can't start new thread"),
            "no thread can be started, for there are too many, or no memory",
        ),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_what_the_machine_lacks_is_no_bug(
    capsys: pytest.CaptureFixture[str], error: Exception, reason: str
) -> None:
    """A sentence with the system's own words."""
    assert exits.guarded(raising(error), is_run=False) == 1
    assert capsys.readouterr().err == (
        f"aiodocker-lite: the system does not permit what is needed here: {reason}\n"
    )


@pytest.mark.parametrize("limit", range(4, 14))
def test_too_few_open_files_are_a_sentence(tmp_path: Path, limit: int) -> None:
    """Wherever they run out once the program has begun: nothing that is half made says anything of its own."""
    assert run_with_few_files(limit, tmp_path, "images, room", "tag", "a", "b").code == 1


def test_complaining_about_one_of_several_does_not_end_the_others(capsys: pytest.CaptureFixture[str]) -> None:
    """The sentence alone, for the caller to go on."""
    exits.complain(EngineError())
    assert capsys.readouterr().err == "aiodocker-lite: something went wrong\n"


# --- streams -------------------------------------------------------------------------------


def shell(line: str, store: Path, home: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a line of shell in which $@ is a command of ours."""
    argv = ["/bin/sh", "-c", line, "sh", *command(store, *words)]
    done = subprocess.run(
        argv, env=environment(home), capture_output=True, text=True, timeout=50, check=False
    )
    assert "Traceback" not in done.stderr
    assert "internal error" not in done.stderr
    return done


@pytest.mark.parametrize("words", [("images",), ("--help",), ("run", "--help")], ids=" ".join)
def test_a_reader_that_has_gone_is_no_error(stocked: Path, tmp_path: Path, words: tuple[str, ...]) -> None:
    """`head` has seen enough: silence, and the exit code of SIGPIPE."""
    reader, writer = os.pipe()
    os.close(reader)
    done = run_command(command(stocked, *words), environment(tmp_path), stdout=writer)
    os.close(writer)
    assert (done.code, done.err) == (141, "")


@pytest.mark.parametrize(
    ("closed", "out", "err"),
    [
        ("<&-", "out\n", "err"),
        (">&-", "", "err"),
        ("2>&-", "out\n", ""),
        ("<&- >&- 2>&-", "", ""),
    ],
)
def test_a_closed_stream_is_as_good_as_dev_null(
    stocked: Path, names: Names, tmp_path: Path, closed: str, out: str, err: str
) -> None:
    """And no file that is opened later gets its number: a container would write into it."""
    script = "cat; echo out; echo err >&2"
    done = shell(f'"$@" {closed}', stocked, tmp_path, "run", "--rm", "-i", names.box, "sh", "-c", script)
    assert (done.returncode, done.stdout) == (0, out)
    assert done.stderr.splitlines()[1:] == ([err] if err else [])
    # Those of blobs have their size.
    kept = {path.read_bytes().strip() for path in (stocked / "locks").iterdir()} - {b""}
    assert all(text.isdigit() for text in kept), kept


def test_output_that_cannot_be_written_is_one_sentence(stocked: Path, names: Names, tmp_path: Path) -> None:
    """A full disk at the other end of `>`; and where even the sentence cannot be, the exit code is right."""
    done = shell('"$@" > /dev/full', stocked, tmp_path, "images")
    assert done.returncode == 1
    assert done.stderr == "aiodocker-lite: cannot write the output: no space left on device\n"
    assert shell('"$@" 2> /dev/full', stocked, tmp_path, "rmi", "nothing").returncode == 1
    assert shell('"$@" 2> /dev/full', stocked, tmp_path, "run", "--rm", names.box).returncode == 0


def test_characters_that_the_output_does_not_have_are_escaped(stocked: Path, tmp_path: Path) -> None:
    """An old terminal is no reason to fail."""
    code = "from aiodocker_lite.cli import exits; exits.prepare_streams(); print('caf\\xe9 …')"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment(tmp_path, PYTHONIOENCODING="latin-1"),
        capture_output=True,
        check=True,
    )
    assert done.stdout == b"caf\xe9 \\u2026\n"


@pytest.mark.parametrize(
    ("root", "sentence"),
    [
        ("/proc/nowhere", "cannot write to the store at /proc/nowhere: "),
        ("/dev/null/store", "cannot use /dev/null/store as a store: /dev/null is a file"),
        ("/etc/passwd", "cannot use /etc/passwd as a store: it is a file"),
        ("/etc", "cannot use /etc as a store: it is a directory with other things in it"),
    ],
)
def test_a_store_that_cannot_be_is_one_sentence(tmp_path: Path, root: str, sentence: str) -> None:
    """And what to do about it."""
    done = shell('"$@"', Path(root), tmp_path, "load", "-i", "/dev/null")
    assert (done.returncode, done.stdout) == (1, "")
    first, hint = done.stderr.splitlines()
    assert first.startswith(f"aiodocker-lite: {sentence}")
    assert hint == "aiodocker-lite: hint: choose another directory with --root or AIODOCKER_LITE_ROOT"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_a_store_of_somebody_else_is_one_sentence(stocked: Path, tmp_path: Path) -> None:
    """Not even its list is for others."""
    stocked.parent.chmod(0o755)
    cage = Path(__file__).parents[1] / "runtime/cage.py"  # shows him our Python, wherever it is
    done = shell(f'{sys.executable} {cage} ordinary-user "$@"', stocked, tmp_path, "images")
    assert done.returncode == 1
    assert done.stderr.startswith(f"aiodocker-lite: cannot read the store at {stocked}: Permission denied\n")


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ("images", 0),
        ("ps -a", 0),
        ("inspect x", 1),
        ("tag x y", 1),
        ("rmi x", 1),
        ("rm x", 1),
        ("logout localhost:1", 0),
        ("images --quiet", 0),
    ],
)
def test_whoever_only_reads_makes_no_store(adl: Adl, root: Path, words: str, code: int) -> None:
    """A typing error in --root leaves nothing behind."""
    assert adl(*words.split()).code == code
    assert not root.exists()
