"""`run -d --restart`: containers that are started again by the process that they belong to."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.test_detached import COUNTING, monitor_of, monitors
from tests.fakes.commands import Adl, Names

FAILING = ("sh", "-c", "echo x; exit 4")


@pytest.fixture
def here(own_box: Adl, root: Path) -> Iterator[Adl]:
    """The command line on a store of its own, of whose containers nothing is left."""
    yield own_box
    names = own_box("ps", "-aq").out.split()
    assert not names or own_box("rm", "-f", *names).code == 0
    assert monitors(root) == {}


def shown(adl: Adl, fields: str = "{{.State.Status}} {{.RestartCount}}") -> str:
    return adl("inspect", "-f", fields, "one").out.strip()


def until_restarting(adl: Adl, count: int) -> None:
    """Until it waits for so many-th restart, or a later one."""
    end = time.monotonic() + 40
    while time.monotonic() < end:
        status, restarts = shown(adl).split()
        if status == "restarting" and int(restarts) >= count:
            return
    pytest.fail(shown(adl))


def test_what_fails_is_started_again_so_often(here: Adl, names: Names) -> None:
    """With what it has written; `wait` waits for the last end."""
    here("run", "-dq", "--name", "one", "--restart", "on-failure:2", names.box, *FAILING)
    assert here("wait", "one").out == "4\n"
    assert here("logs", "one").out == "x\n" * 3
    assert shown(here) == "exited 2"
    assert shown(here, "{{json .HostConfig.RestartPolicy}}") == '{"Name":"on-failure","MaximumRetryCount":2}'
    assert here("start", "one").out == "one\n"
    assert here("wait", "one").out == "4\n"
    assert shown(here) == "exited 2", "it is counted anew"


def test_what_ends_well_has_not_failed(here: Adl, names: Names) -> None:
    """So on-failure has nothing to do."""
    here("run", "-dq", "--name", "one", "--restart", "on-failure", names.box, "true")
    assert here("wait", "one").out == "0\n"
    assert shown(here) == "exited 0"


def test_it_is_shown_as_restarting(here: Adl, names: Names) -> None:
    """In the pause between two of them; it can neither be entered nor removed."""
    here("run", "-dq", "--name", "one", "--restart", "unless-stopped", names.box, *FAILING)
    until_restarting(here, 6)
    shows = "{{.Names}} {{.State}} {{.Status}}"
    assert here("ps", "--format", shows).out.startswith("one restarting Restarting (4) ")
    assert shown(here, "{{.State.Running}} {{.State.Restarting}} {{.State.Pid}}") == "true true 0"
    assert here("exec", "one", "true").code == here("rm", "one").code == 1
    assert here("kill", "-s", "USR1", "one").code == 1
    assert here("start", "one").code == 0, "it is about to"


@pytest.mark.parametrize("verb", [("stop",), ("kill",), ("rm", "-f")])
def test_who_ends_it_ends_its_restarts(here: Adl, names: Names, verb: tuple[str, ...]) -> None:
    """In the pause between two of them, and without waiting for its end."""
    here("run", "-dq", "--name", "one", "--restart", "unless-stopped", names.box, *FAILING)
    until_restarting(here, 4)
    assert here(*verb, "one").out == "one\n"
    assert here("ps", "-q").out == ""
    assert (shown(here).split() or ["gone"])[0] == ("gone" if verb[0] == "rm" else "exited")


@pytest.mark.parametrize("verb", [("stop",), ("kill",), ("kill", "-s", "TERM")])
def test_one_that_runs_stays_ended(here: Adl, names: Names, verb: tuple[str, ...]) -> None:
    """And is not started again by what its policy says; by `start` it is."""
    here("run", "-dq", "--name", "one", "--restart", "always", names.box, "sh", "-c", COUNTING)
    assert here(*verb, "one").out == "one\n"
    assert here("wait", "one").out in ("3\n", "137\n")
    assert shown(here) == "exited 0"
    assert here("start", "one").code == 0
    assert shown(here) == "running 0"


def test_one_that_dies_by_itself_is_started_again(here: Adl, names: Names) -> None:
    """By another process's signal, which is not `kill`."""
    here("run", "-dq", "--name", "one", "--restart", "always", names.box, "sleep", "1000")
    first = int(shown(here, "{{.State.Pid}}"))
    os.kill(first, signal.SIGKILL)
    end = time.monotonic() + 20
    while shown(here) != "running 1":
        assert time.monotonic() < end, shown(here)
    assert int(shown(here, "{{.State.Pid}}")) != first


def test_a_monitor_that_is_asked_to_end_restarts_nothing(here: Adl, names: Names, root: Path) -> None:
    """In order; and one that is killed while it waits has left an ended container."""
    for number, command in ((signal.SIGTERM, ("sh", "-c", COUNTING)), (signal.SIGKILL, FAILING)):
        identity = here("run", "-dq", "--name", "one", "--restart", "always", names.box, *command).out.strip()
        if number == signal.SIGKILL:
            until_restarting(here, 4)
        os.kill(monitor_of(root, identity), number)
        assert here("wait", "one").out == ("3\n" if number == signal.SIGTERM else "4\n")
        assert shown(here).startswith("exited ")
        assert here("rm", "one").code == 0


def test_what_cannot_be_started_again_has_ended(here: Adl, names: Names, tmp_path: Path) -> None:
    """With the reason; and what could not be started at all is as without a policy."""
    source = tmp_path / "source"
    source.mkdir()
    script = ("sh", "-c", "while [ ! -e /s/go ]; do sleep 0.02; done; exit 4")
    mount = f"type=bind,source={source},target=/s"
    here("run", "-dq", "--name", "one", "--restart", "always", "--mount", mount, names.box, *script)
    (source / "go").touch()
    source.rename(tmp_path / "elsewhere")
    assert here("wait", "one").out == "4\n"
    assert shown(here, "{{.State.Status}} {{.State.ExitCode}} {{.RestartCount}}") == "exited 4 1"
    assert str(source) in shown(here, "{{.State.Error}}")

    done = here("run", "-dq", "--name", "two", "--restart", "always", names.box, "nothing")
    assert done.code == 127
    assert here("inspect", "-f", "{{.State.Status}} {{.State.ExitCode}}", "two").out == "created 127\n"


def test_in_front_nothing_is_started_again(box: Adl, names: Names) -> None:
    """For there is no process that would see to it; `no` is as good as nothing."""
    done = box("run", "--rm", "-q", "--restart", "no", names.box, "true")
    assert (done.code, done.err) == (0, "")
    refused = box("run", "-q", "--restart", "always", names.box, "true")
    assert refused.code == 125
    assert refused.sentence.startswith(
        "invalid value for --restart: only a detached container (-d) is started again"
    )
