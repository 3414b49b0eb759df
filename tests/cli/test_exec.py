"""`exec`: a command in a container that runs, and what it is told and says."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.fakes.commands import Adl, Names

SLEEPER = ("sh", "-c", "trap 'exit 0' TERM; while :; do sleep 0.1; done")


@pytest.fixture
def box(own_box: Adl, names: Names) -> Iterator[Adl]:
    """The command line on a store in which the container `c` runs."""
    options = ("-d", "-q", "--name", "c", "-e", "FROM_RUN=1", "-w", "/etc")
    assert own_box("run", *options, names.box, *SLEEPER).code == 0
    yield own_box
    own_box("rm", "-f", "c")


@pytest.mark.parametrize(
    ("words", "code", "out"),
    [
        (["c", "sh", "-c", "echo $FROM_IMAGE $FROM_RUN $PWD $(id -u)"], 0, "yes 1 /etc 0\n"),
        (["-e", "FROM_RUN=2", "-eA=3", "c", "sh", "-c", "echo $FROM_RUN $A"], 0, "2 3\n"),
        (["-u", "user", "c", "sh", "-c", "id -u; echo $HOME"], 0, "1000\n/home\n"),
        (["-w", "/tmp", "c", "sh", "-c", "echo $PWD"], 0, "/tmp\n"),
        (["c", "sh", "-c", "exit 7"], 7, ""),
        (["c", "sh", "-c", "kill -9 $$"], 137, ""),
        (["c", "cat"], 0, ""),
        (["-i", "c", "cat"], 0, "typed\n"),
        (["-t", "c", "tty"], 0, "/dev/pts/0\r\n"),
        (["--privileged", "c", "sh", "-c", "grep -c NoNewPrivs:.0 /proc/self/status"], 0, "1\n"),
        (["c", "sh", "-c", "echo --rm -it"], 0, "--rm -it\n"),
    ],
    ids=lambda value: " ".join(value)[:40] if isinstance(value, list) else "",
)
def test_what_it_does(box: Adl, words: list[str], code: int, out: str) -> None:
    """With the container's surroundings, and its own options; what follows the container is the command's."""
    done = box("exec", *words, stdin=b"typed\n")
    assert (done.code, done.out, done.err) == (code, out, "")


def test_what_cannot_be_executed_leaves_nothing(box: Adl) -> None:
    """Docker's codes and sentences; no dead process stays in the container."""
    for words, code, sentence in (
        (["c", "nothing"], 127, 'exec: "nothing": executable file not found'),
        (["c", "/etc/note"], 126, 'exec: "/etc/note": permission denied'),
        (["-u", "nobody-here", "c", "true"], 126, "unable to find user nobody-here"),
        (
            ["-w", "/none", "c", "true"],
            126,
            'exec: "true": chdir to cwd ("/none"): no such file or directory',
        ),
        (["-w", "/etc/note", "c", "true"], 126, 'exec: "true": chdir to cwd ("/etc/note"): not a directory'),
        (["-w", "here", "c", "true"], 125, "invalid value for --workdir"),
        (["-it", "c", "true"], 1, "the input device is not a TTY"),
        (["other", "true"], 1, "No such container: other"),
        (["c"], 125, "Missing argument 'COMMAND [ARG]...'."),
    ):
        done = box("exec", *words)
        assert (done.code, done.out) == (code, "")
        assert done.sentence.startswith(sentence)
    assert box("exec", "c", "sh", "-c", "grep -l Z.*zombie /proc/[0-9]*/status; echo /non*").out == "/non*\n"


def test_a_detached_command_goes_on_by_itself(box: Adl) -> None:
    """Until it ends, or the container does; what cannot be executed is said before."""
    done = box("exec", "-d", "c", "sh", "-c", "echo there >/tmp/x; exec sleep 1000")
    assert (done.code, done.out, done.err) == (0, "", "")
    while box("exec", "c", "cat", "/tmp/x").out != "there\n":
        pass
    assert box("exec", "c", "sh", "-c", "grep -l sleep.1000 /proc/[0-9]*/cmdline | wc -l").out >= "1"
    done = box("exec", "-d", "c", "nothing")
    assert (done.code, done.sentence.partition(":")[0]) == (127, "exec")
    assert box("stop", "c").code == 0
    done = box("exec", "c", "true")
    assert done.code == 1
    assert done.sentence.endswith("is not running")


def test_its_limits_are_the_containers(own_box: Adl, names: Names) -> None:
    """It is in the same control groups."""
    done = own_box("run", "-d", "-q", "--name", "c", "--pids-limit", "20", "-m", "64m", names.box, *SLEEPER)
    assert done.code == 0, done.err
    try:
        here = own_box("exec", "c", "cat", "/proc/self/cgroup").out
        assert here == own_box("exec", "c", "cat", "/proc/1/cgroup").out
        spawn = "i=0; while [ $i -lt 40 ]; do sleep 5 & i=$((i+1)); done"
        assert "can't fork" in own_box("exec", "c", "sh", "-c", spawn).err
    finally:
        own_box("rm", "-f", "c")
