"""`run -t`, in a real terminal: what is typed and shown, its size, and how it is left behind."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pexpect
import pytest

from tests.fakes.commands import Adl, Names, command, environment
from tests.fakes.processes import program

In = Callable[..., "pexpect.spawn[str]"]


@pytest.fixture
def typed(stocked: Path, tmp_path: Path) -> Iterator[In]:
    """A command line in a terminal of 30 lines and 90 columns, between two words of a shell."""
    with ExitStack() as open_ones:

        def begin(*words: str) -> pexpect.spawn[str]:
            line = shlex.join(command(stocked, *words))
            script = f"stty -a > before; {line}; echo ended $?; stty -a > after; exec cat"
            child = pexpect.spawn(
                "/bin/sh", ["-c", script], encoding="utf-8", timeout=20, dimensions=(30, 90),
                env=environment(tmp_path), cwd=str(tmp_path), echo=False,
            )  # fmt: skip
            open_ones.callback(child.close, force=True)
            return child

        yield begin


def is_as_it_was(place: Path) -> bool:
    return (place / "before").read_text() == (place / "after").read_text() != ""


@pytest.mark.parametrize("runtime", ["native", "crun", "runc"])
def test_a_shell_in_a_container_is_a_shell(typed: In, names: Names, tmp_path: Path, runtime: str) -> None:
    """It has a terminal, of this size, with job control; ^C ends what runs in it, and not us."""
    if runtime != "native":
        program(runtime)
    child = typed("run", "-it", "--rm", "-q", "--runtime", runtime, names.box, "sh")
    child.expect("# ")
    child.sendline("tty; stty size; echo $TERM")
    child.expect("/dev/pts/0\r\n30 90\r\nxterm\r\n")
    child.sendline("sh -c 'echo up; exec sleep 1000'")
    child.expect("up\r\n")
    child.sendintr()
    child.expect("# ")
    child.sendline("echo code $?")
    child.expect("code 130\r\n")
    child.sendline("exit 5")
    child.expect("ended 5\r\n")
    child.sendline("here")
    child.expect("here")
    assert is_as_it_was(tmp_path)


def test_a_new_size_comes_through(typed: In, names: Names) -> None:
    """The container's processes hear of it as of any change."""
    script = "trap 'stty size; exit 7' WINCH; echo ready; while :; do sleep 0.1; done"
    child = typed("run", "-it", "--rm", "-q", names.box, "sh", "-c", script)
    child.expect("ready")
    child.setwinsize(40, 100)
    child.expect("40 100")
    child.expect("ended 7\r\n")


def test_a_signal_leaves_the_terminal_as_it_was(typed: In, names: Names, tmp_path: Path) -> None:
    """The container is told and ends with it; nothing stays raw."""
    script = "trap 'echo told; exit 9' TERM; echo ready; while :; do sleep 0.1; done"
    child = typed("run", "-it", "--rm", "-q", names.box, "sh", "-c", script)
    child.expect("ready")
    ours = int(next(Path(f"/proc/{child.pid}/task/{child.pid}").glob("children")).read_text())
    os.kill(ours, signal.SIGTERM)
    child.expect("told")
    child.expect("ended 9\r\n")
    child.sendline("here")
    child.expect("here")
    assert is_as_it_was(tmp_path)


@pytest.mark.parametrize(
    ("script", "code"),
    [
        ("exec sh", 0),
        ("trap 'exit 9' HUP; echo ready '# '; while :; do sleep 0.1; done", 9),
        ("trap '' HUP; trap 'exit 8' TERM; echo ready '# '; while :; do sleep 0.1; done", 8),
    ],
    ids=["shell", "hears", "goes on"],
)
def test_a_container_goes_with_its_window(
    own_box: Adl, names: Names, root: Path, script: str, code: int
) -> None:
    """It hears a hang-up, is stopped if it goes on, and how it ended is known; nobody is left behind."""
    ours, theirs = os.openpty()
    words = command(root, "run", "-it", "-q", "--name", "c", names.box, "sh", "-c", script)
    with subprocess.Popen(
        words,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=environment(root.parent),
        start_new_session=True,
    ) as process:
        os.close(theirs)
        seen = b""
        while b"# " not in seen:
            seen += os.read(ours, 100)
        os.close(ours)
        assert process.wait(20) == code
    status = own_box("ps", "-a", "--format", "{{.Status}}").out
    assert status.startswith(f"Exited ({code}) ")
    assert own_box("rm", "c").code == 0


def test_a_terminal_needs_none_here(box: Adl, names: Names) -> None:
    """Without keys, output can go anywhere, and lines end as in a terminal."""
    done = box("run", "-t", "--rm", "-q", names.box, "sh", "-c", "tty; echo oh >&2; tty -s <&2; exit 4")
    assert (done.code, done.out, done.err) == (4, "/dev/pts/0\r\noh\r\n", "")


def test_keys_only_come_from_a_terminal(box: Adl, names: Names) -> None:
    """Docker's sentence, and its exit code."""
    done = box("run", "-it", "--rm", names.box, "true", stdin=b"keys")
    assert (done.code, done.sentence.partition(":")[0]) == (1, "the input device is not a TTY")


def test_what_comes_at_the_very_end_is_shown(box: Adl, names: Names) -> None:
    """All of a long output, also where the process is gone before it is read."""
    script = "i=0; while [ $i -lt 5000 ]; do echo line $i; i=$((i+1)); done"
    done = box("run", "-t", "--rm", "-q", names.box, "sh", "-c", script)
    assert done.out.split("\r\n") == [*(f"line {number}" for number in range(5000)), ""]
