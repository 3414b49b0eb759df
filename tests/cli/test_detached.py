"""Detached containers, as whole processes: they outlive who started them, and end without a trace."""

from __future__ import annotations

import json
import os
import re
import select
import signal
import subprocess
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import anyio
import pytest

from aiodocker_lite.errors import SetupFailed
from aiodocker_lite.monitor import detach
from aiodocker_lite.store.container import read_container
from tests.fakes.commands import Adl, Names, Start, command, environment
from tests.fakes.docker import dockerd

COUNTING = "trap 'echo bye; exit 3' TERM; echo up; echo oh >&2; while :; do sleep 0.02; done"


def monitors(root: Path) -> dict[int, str]:
    """The processes that watch over containers of this store, and what their command lines say."""
    found = {}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_text()
        except OSError:  # gone meanwhile
            continue
        if "aiodocker_lite.monitor" in words and str(root) in words:
            found[int(process.name)] = words
    return found


def below(pids: Iterable[int]) -> list[int]:
    """These processes, and all that descend from them."""
    found = list(pids)
    for pid in found:  # which grows meanwhile
        for task in Path(f"/proc/{pid}/task").glob("*"):
            found += map(int, (task / "children").read_text().split())
    return found


@pytest.fixture
def here(own_box: Adl, root: Path) -> Iterator[Adl]:
    """The command line on a store of its own, of whose containers nothing is left."""
    yield own_box
    names = own_box("ps", "-aq").out.split()
    assert not names or own_box("rm", "-f", *names).code == 0
    assert monitors(root) == {}
    assert list((root / "containers").iterdir()) == []


def monitor_of(root: Path, identity: str) -> int:
    """The process that watches over a container."""
    return next(pid for pid, words in monitors(root).items() if identity in words)


def state(adl: Adl, name: str) -> dict[str, object]:
    found: dict[str, object] = json.loads(adl("inspect", "-f", "{{json .State}}", name).out)
    return found


# --- a life --------------------------------------------------------------------------------


def test_a_detached_container_runs_by_itself(here: Adl, names: Names) -> None:
    """Its ID is printed when it runs; then it is listed, read, asked to end, and removed."""
    done = here("run", "-dq", "--name", "one", names.box, "sh", "-c", COUNTING)
    assert (done.code, done.err) == (0, "")
    assert re.fullmatch(r"[0-9a-f]{64}\n", done.out)
    assert state(here, "one")["Status"] == "running"
    pid = state(here, "one")["Pid"]
    assert Path(f"/proc/{pid}/cmdline").read_bytes().startswith(b"sh\0-c\0")

    waiting = here("kill", "-s", "0x", "one")
    assert (waiting.code, waiting.sentence) == (1, "invalid value for --signal: there is no signal '0x'")
    asked = here("stop", "one")
    assert (asked.code, asked.out, asked.err) == (0, "one\n", "")
    logs = here("logs", "one")
    assert (logs.out, logs.err) == ("up\nbye\n", "oh\n")
    assert here("wait", "one").out == "3\n"
    (line,) = here("ps", "-a", "--format", "{{.Names}} {{.State}} {{.Status}}").out.splitlines()
    assert line.startswith("one exited Exited (3) ")
    assert here("stop", "one").code == 0, "it has ended, and that is what was wanted"
    assert here("kill", "one").sentence == f"Container {done.out.strip()} is not running"
    assert here("rm", "one").out == "one\n"
    assert here("rm", "one").sentence == "No such container: one"


def test_it_outlives_who_started_it(here: Adl, start: Start, names: Names, root: Path) -> None:
    """Killed with its whole group, right after the ID was printed; output can be followed to the end."""
    starter = subprocess.Popen(
        command(root, "run", "-dq", "--name", "one", names.box, "sh", "-c", COUNTING),
        stdout=subprocess.PIPE,
        env=environment(root),
        text=True,
        start_new_session=True,
    )
    assert starter.stdout is not None
    assert len(starter.stdout.readline()) == 65
    starter.kill()
    starter.communicate()
    follower = start("logs", "-f", "one", root=root)
    assert follower.stdout is not None
    assert follower.stdout.readline() == "up\n"
    began = time.monotonic()
    assert here("stop", "one").out == "one\n"
    assert time.monotonic() - began < 8, "it hears, so nobody had to wait and kill"
    assert follower.wait() == 0
    assert follower.stdout.read() == "bye\n"


def test_it_dies_with_its_monitor(here: Adl, names: Names, root: Path) -> None:
    """At once, by the kernel; it is shown as ended by SIGKILL, which it was, and can be started again."""
    identity = here("run", "-dq", "--name", "one", names.box, "sleep", "1000").out.strip()
    pid = state(here, "one")["Pid"]
    descriptor = os.pidfd_open(int(str(pid)))
    os.kill(monitor_of(root, identity), signal.SIGKILL)
    assert here("wait", "one").out == "137\n"
    with os.fdopen(descriptor), pytest.raises(ProcessLookupError):
        signal.pidfd_send_signal(descriptor, 0)
    assert here("ps", "-q").out == ""
    assert re.fullmatch("Exited \\(137\\) .* ago\n", here("ps", "-a", "--format", "{{.Status}}").out)
    ended = state(here, "one")
    assert str(ended["StartedAt"]) < str(ended["FinishedAt"]) == state(here, "one")["FinishedAt"]
    assert here("logs", "-f", "one").code == 0
    assert here("start", "one").out == "one\n"
    assert here("ps", "--format", "{{.Names}}").out == "one\n"


@pytest.mark.parametrize("ends", [["stop"], ["rm", "-f"]], ids=["stop", "rm"])
def test_a_monitor_that_was_stopped_keeps_nobody_waiting(
    here: Adl, names: Names, root: Path, ends: list[str]
) -> None:
    """It goes on once its container has ended, and says how."""
    identity = here("run", "-dq", "--name", "one", names.box, "sh", "-c", COUNTING).out.strip()
    while here("logs", "one").out != "up\n":
        pass
    os.kill(monitor_of(root, identity), signal.SIGSTOP)
    began = time.monotonic()
    done = here(*ends, "one")
    assert (done.code, done.out, done.err) == (0, "one\n", "")
    assert time.monotonic() - began < 8
    if ends == ["stop"]:
        assert here("wait", "one").out == "3\n"


def test_a_monitor_that_is_asked_to_end_ends_its_container(here: Adl, names: Names, root: Path) -> None:
    """As at the shutdown of a machine: in order, with an exit code."""
    identity = here("run", "-dq", "--name", "one", names.box, "sh", "-c", COUNTING).out.strip()
    here("logs", "one")
    os.kill(monitor_of(root, identity), signal.SIGTERM)
    assert here("wait", "one").out == "3\n"
    assert here("logs", "one").out == "up\nbye\n"


def test_many_at_once_leave_nothing(here: Adl, names: Names, root: Path) -> None:
    """Twenty are started together, listed, and gone."""
    with ThreadPoolExecutor(8) as pool:
        started = list(
            pool.map(
                lambda number: here("run", "-dq", "--name", f"n{number}", names.box, "sleep", "1000"),
                range(20),
            )
        )
    assert {done.code for done in started} == {0}
    listed = here("ps", "-q", "--no-trunc").out.split()
    assert sorted(listed) == sorted(done.out.strip() for done in started)
    before = [os.pidfd_open(pid) for pid in below(monitors(root))]
    assert len(before) >= 40
    removed = here("rm", "-f", *listed)
    assert (removed.code, removed.out.split()) == (0, listed)
    for descriptor in before:
        with os.fdopen(descriptor):
            # What frees the lock is the end of the monitor; that it can be buried comes a moment later.
            assert select.select([descriptor], [], [], 5) == ([descriptor], [], [])
    assert list((root / "containers").iterdir()) == []
    assert str(root) not in Path("/proc/self/mounts").read_text()


def test_what_it_wrote_is_there_after_a_restart(here: Adl, names: Names) -> None:
    """And its log goes on; the same process number is another process."""
    script = "echo x >>/tmp/f; cat /tmp/f; exec sleep 1000"
    here("run", "-dq", "--name", "one", "-e", "A=b", names.box, "sh", "-c", script)
    before = state(here, "one")
    assert here("restart", "-t", "0", "one").out == "one\n"
    after = state(here, "one")
    assert (after["Running"], before["StartedAt"] != after["StartedAt"]) == (True, True)
    assert here("start", "one").code == 0, "it runs already, which is no error"
    assert state(here, "one") == after
    here("stop", "one")
    assert here("logs", "one").out == "x\nx\nx\n"


def test_start_can_stay_attached(here: Adl, names: Names) -> None:
    """Of what is written only the new is printed, and the exit code is the container's."""
    here("run", "-dq", "--name", "one", names.box, "sh", "-c", "echo $$; echo oh >&2; exit 4")
    assert here("wait", "one").out == "4\n"
    again = here("start", "-a", "one")
    assert (again.code, again.out, again.err) == (4, "1\n", "oh\n")


def test_with_rm_it_is_gone_at_its_end(here: Adl, names: Names, start: Start, root: Path) -> None:
    """Who waits, or follows, gets what there was; what could not be started is gone too."""
    here("run", "-dq", "--rm", "--name", "one", names.box, "sh", "-c", COUNTING)
    waiter, follower = start("wait", "one", root=root), start("logs", "-f", "one", root=root)
    assert follower.stdout is not None
    assert follower.stdout.readline() == "up\n"
    assert waiter.stdout is not None
    time.sleep(0.5)  # nothing says that it waits
    assert here("stop", "one").code == 0
    assert (waiter.wait(), waiter.stdout.read()) == (0, "3\n")
    assert (follower.wait(), follower.stdout.read()) == (0, "bye\n")
    assert here("ps", "-aq").out == ""
    assert here("run", "-dq", "--rm", names.box, "nothing").code == 127
    assert here("ps", "-aq").out == ""


def test_what_cannot_be_started_stays_as_created(here: Adl, names: Names) -> None:
    """As with docker: the ID comes out, then the reason, and the exit code says which."""
    for words, code in (("nothing", 127), ("/etc", 126)):
        done = here("run", "-dq", "--name", "bad", names.box, words)
        assert (done.code, len(done.out)) == (code, 65)
        assert done.sentence.startswith(f'exec: "{words}": ')
        assert here("ps", "-a", "--format", "{{.Status}}").out == "Created\n"
        found = state(here, "bad")
        assert (found["Status"], found["ExitCode"], found["Error"]) == ("created", code, done.sentence)
        assert here("start", "bad").code == 1
        assert here("rm", "bad").code == 0


def test_a_monitor_that_dies_early_leaves_its_last_words(here: Adl, names: Names, root: Path) -> None:
    """Whoever started it quotes them; what has never begun has written nothing."""
    identity = here("run", "-dq", names.box, "true").out.strip()
    here("wait", identity)
    container = read_container(root / "containers" / identity)
    assert container is not None
    (container.path / "config.json").rename(root / "aside")
    with container.alive.open() as lock:
        words = "ended early: aiodocker_lite.errors.NoSuchContainer: No such container"
        with pytest.raises(SetupFailed, match=words):
            anyio.run(detach, container, lock.fileno())
    (root / "aside").rename(container.path / "config.json")
    assert here("run", "-dq", "--name", "bad", names.box, "nothing").code == 127
    done = here("logs", "bad")
    assert (done.code, done.out, done.err) == (0, "", "")


def test_a_process_that_does_not_hear_is_killed(here: Adl, names: Names) -> None:
    """At once if the kernel would not even deliver it, else when the time is up."""
    here("run", "-dq", "--name", "deaf", names.box, "sleep", "1000")
    here(
        "run",
        "-dq",
        "--name",
        "stubborn",
        names.box,
        "sh",
        "-c",
        "trap '' TERM; echo up; while :; do sleep 1; done",
    )
    began = time.monotonic()
    assert here("stop", "-t", "1", "deaf", "stubborn").out == "deaf\nstubborn\n"
    assert time.monotonic() - began < 8
    assert here("wait", "deaf", "stubborn").out == "137\n137\n"


def test_input_can_be_kept_open(here: Adl, names: Names) -> None:
    """A shell that is detached with -i does not end by itself, and without it does."""
    here("run", "-dqi", "--name", "open", names.box, "cat")
    here("run", "-dq", "--name", "shut", names.box, "cat")
    assert here("wait", "shut").out == "0\n"
    assert here("ps", "--format", "{{.Names}}").out == "open\n"


def test_a_terminal_can_be_detached(here: Adl, names: Names) -> None:
    """What is written on it is kept as a terminal shows it."""
    here("run", "-dqt", "--name", "one", names.box, "sh", "-c", "echo up; exec sleep 1000")
    assert here("ps", "--format", "{{.Names}}").out == "one\n"
    here("stop", "one")
    assert here("logs", "one").out == "up\r\n"


# --- logs ----------------------------------------------------------------------------------


def test_logs_can_be_cut(here: Adl, names: Names, root: Path) -> None:
    """By number and by time, with times before the lines; bytes stay what they are, torn entries are passed over."""
    script = r"for n in 1 2 3 4 5; do echo $n; done; sleep 0.2; printf 'b\377yte\nno end'"
    identity = here("run", "-dq", "--name", "one", names.box, "sh", "-c", script).out.strip()
    here("wait", "one")
    path = root / "containers" / identity / "log.jsonl"
    entries = [json.loads(line) for line in path.read_text().splitlines()]
    assert entries[0] == {"log": "1\n", "stream": "stdout", "time": entries[0]["time"]}
    with path.open("a") as file:
        file.write('{"log":"torn')
    raw = subprocess.run(command(root, "logs", "one"), env=environment(root), capture_output=True, check=True)
    assert raw.stdout == b"1\n2\n3\n4\n5\nb\xffyte\nno end"
    assert here("logs", "--tail", "0", "one").out == ""
    assert here("logs", "-n", "1000", "--until", entries[4]["time"], "one").out == "1\n2\n3\n4\n5\n"
    assert here("logs", "--until", "1h", "one").out == ""
    assert (
        here("logs", "--since", "1h", "--until", entries[0]["time"], "--tail", "all", "one").out[:2] == "1\n"
    )
    assert re.match(
        r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z 1\n",
        here("logs", "-t", "--until", entries[4]["time"], "one").out,
    )
    wrong = here("logs", "--since", "soon", "one")
    assert (wrong.code, wrong.sentence[:40]) == (125, "invalid value for --since: 'soon' is no ")
    assert here("start", "one").code == here("wait", "one").code == 0
    raw = subprocess.run(raw.args, env=environment(root), capture_output=True, check=True)
    assert raw.stdout.count(b"1\n2\n3\n") == 2, "what was torn does not hide what comes after it"


def test_much_output_is_kept_in_order(here: Adl, names: Names, root: Path) -> None:
    """Lines by the thousand, while somebody follows."""
    script = "i=0; while [ $i -lt 20000 ]; do echo line $i; i=$((i+1)); done"
    here("run", "-dq", "--name", "one", names.box, "sh", "-c", script)
    followed = here("logs", "-f", "one").out
    assert followed == "".join(f"line {number}\n" for number in range(20000))
    assert here("logs", "--tail", "2", "one").out == "line 19998\nline 19999\n"


def test_who_ran_in_front_has_no_log(here: Adl, names: Names) -> None:
    """Its output went to whoever ran it, and that is said; nobody can attach to anything, and that too."""
    here("run", "-q", "--name", "one", names.box, "true")
    done = here("logs", "one")
    assert (done.code, done.out) == (1, "")
    assert done.sentence.startswith("container one was not detached: ")
    done = here("attach", "one")
    assert done.code == 125
    assert "logs -f one" in done.sentence


# --- what it was given ---------------------------------------------------------------------


def test_inspect_says_what_the_options_were(here: Adl, names: Names, root: Path, tmp_path: Path) -> None:
    """In docker's keys and numbers; volumes with the directories where their content is."""
    options = (
        "--cap-add sys_ptrace --cap-drop ALL --read-only -v data:/data:ro -v /anon --tmpfs /t:size=1m "
        "--ulimit nofile=10:20 --oom-score-adj 3"
    )
    bind = ("-v", f"{tmp_path}:/host", "--mount", f"type=bind,src={tmp_path},dst=/h2,readonly")
    done = here("run", "-dq", "--name", "one", *options.split(), *bind, names.box, "sleep", "1000")
    assert done.code == 0, done.err
    (found,) = json.loads(here("inspect", "one").out)
    config = found["HostConfig"]
    assert (config["CapAdd"], config["CapDrop"]) == (["CAP_SYS_PTRACE"], ["ALL"])
    assert (config["ReadonlyRootfs"], config["Privileged"], config["OomScoreAdj"]) == (True, False, 3)
    assert config["Ulimits"] == [{"Name": "nofile", "Hard": 20, "Soft": 10}]
    assert config["Binds"] == ["data:/data:ro", f"{tmp_path}:/host"]
    assert config["Mounts"] == [{"Type": "bind", "Source": str(tmp_path), "Target": "/h2", "ReadOnly": True}]
    assert (config["Tmpfs"], config["NetworkMode"], config["PortBindings"]) == ({"/t": "size=1m"}, "host", {})
    mounts = {mount["Destination"]: mount for mount in found["Mounts"]}
    assert sorted(mounts) == ["/anon", "/data", "/h2", "/host", "/t"]
    assert (mounts["/data"]["Name"], mounts["/data"]["RW"]) == ("data", False)
    own = root / "containers" / done.out.strip()
    for target, place in (("/data", root / "volumes"), ("/anon", own)):
        source = Path(mounts[target]["Source"])
        assert source.is_dir()
        assert place in source.parents
    assert here("ps", "--format", "{{.LocalVolumes}} {{.Networks}}").out == "2 host\n"


@pytest.mark.root
def test_inspect_knows_who_ran_out_of_memory(here: Adl, names: Names) -> None:
    """By the kernel's count; another end by SIGKILL is none of that."""
    limit = ("-m", "16m", "--memory-swap", "16m")
    done = here("run", "-dq", "--name", "big", *limit, names.box, "sh", "-c", "x=a; while :; do x=$x$x; done")
    if done.code == 125:
        pytest.skip(done.sentence)
    assert here("wait", "big").out == "137\n"
    here("run", "-dq", "--name", "small", *limit, names.box, "sleep", "1000")
    here("kill", "small")
    assert here("wait", "small").out == "137\n"
    form = "{{.State.OOMKilled}} {{.HostConfig.Memory}}"
    assert here("inspect", "-f", form, "big", "small").out == "true 16777216\nfalse 16777216\n"


# --- what it uses --------------------------------------------------------------------------


def test_what_it_uses_can_be_seen(here: Adl, names: Names) -> None:
    """One that spins takes a processor, one that sleeps takes none, and one that has ended nothing at all."""
    here("run", "-dq", "--name", "busy", names.box, "sh", "-c", "while :; do :; done")
    here("run", "-dq", "--name", "idle", names.box, "sh", "-c", "sleep 1000 & exec sleep 1000")
    here("run", "-dq", "--name", "gone", names.box, "true")
    here("wait", "gone")
    form = "{{.Name}}|{{.CPUPerc}}|{{.MemUsage}}|{{.MemPerc}}|{{.NetIO}}|{{.PIDs}}"
    rows = [line.split("|") for line in here("stats", "-a", "--no-stream", "--format", form).out.splitlines()]
    assert [row[0] for row in rows] == ["gone", "idle", "busy"]
    gone, idle, busy = rows
    assert gone[1:] == ["--"] * 5
    assert float(busy[1].rstrip("%")) > 10 > float(idle[1].rstrip("%"))
    assert re.fullmatch(r"[0-9.]+[KM]iB / [0-9.]+GiB", busy[2])
    assert (busy[4:], idle[5]) == (["0B / 0B", "1"], "2")
    head = here("stats", "--no-stream", "idle").out.splitlines()[0]
    assert head.split("   ")[:2] == ["CONTAINER ID", "NAME"]
    assert here("stats", "nothing").sentence == "No such container: nothing"
    here("exec", "-d", "idle", "sleep", "99")
    first, *lines = here("top", "idle").out.splitlines()
    assert first.split() == ["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"]
    assert sorted(line.split(maxsplit=7)[7] for line in lines) == ["sleep 1000", "sleep 1000", "sleep 99"]
    assert here("top", "gone").sentence.endswith(" is not running")


@pytest.mark.root
def test_a_group_says_what_it_uses(here: Adl, names: Names) -> None:
    """The limit, and what was taken of it, as the kernel counts."""
    script = "for n in 1 2 3 4 5; do cat /bin/cat; done >/dev/shm/x; exec sleep 1000"
    done = here("run", "-dq", "--name", "one", "-m", "64m", names.box, "sh", "-c", script)
    if done.code == 125:
        pytest.skip(done.sentence)
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        used, limit = here("stats", "--no-stream", "--format", "{{.MemUsage}}").out.strip().split(" / ")
        assert limit == "64MiB"
        if used.endswith("MiB") and 8 < float(used.removesuffix("MiB")) < 40:
            return
    pytest.fail(used)


# --- names and lists -----------------------------------------------------------------------


def test_a_name_can_be_changed(here: Adl, names: Names) -> None:
    """Also of one that runs; the old one is free, and one that is taken is not given."""
    one = here("run", "-dq", "--name", "one", names.box, "sleep", "1000").out.strip()
    assert here("rename", "one", "two").code == 0
    assert here("ps", "--format", "{{.ID}} {{.Names}}", "--no-trunc").out == f"{one} two\n"
    here("run", "-dq", "--name", "one", names.box, "true")
    taken = here("rename", "one", "two")
    assert taken.code == 1
    assert taken.sentence.startswith(
        f'Conflict. The container name "/two" is already in use by container "{one}".'
    )
    assert here("rename", "one", "a b").code == 1
    assert here("rename", "nothing", "x").sentence == "No such container: nothing"


def test_lists_can_be_filtered(here: Adl, names: Names) -> None:
    """By docker's keys: of one any value, of all keys each."""
    for name, words in (("web1", ["sleep", "1000"]), ("web2", ["sh", "-c", "exit 3"]), ("db", ["true"])):
        here("run", "-dq", "--name", name, names.box, *words)
    here("wait", "web2", "db")

    def listed(*words: str) -> list[str]:
        done = here("ps", "--format", "{{.Names}}", *words)
        assert done.code == 0, done.err
        return done.out.split()

    assert listed() == ["web1"]
    assert listed("-a") == ["db", "web2", "web1"]
    assert listed("-n", "2") == ["db", "web2"]
    assert listed("-l") == ["db"]
    assert listed("-a", "-f", "name=web") == ["web2", "web1"]
    assert listed("-a", "-f", "name=^/?web1$", "-f", "name=db") == ["db", "web1"]
    assert listed("-f", "status=exited") == ["db", "web2"]
    assert listed("-f", "exited=3") == ["web2"]
    assert listed("-a", "-f", f"ancestor={names.box}", "-f", "name=db") == ["db"]
    assert listed("-a", "-f", "ancestor=other") == []
    assert listed("-a", "-f", "label=x") == []
    identity = here("ps", "-lq").out.strip()
    assert listed("-a", "-f", f"id={identity[:6]}") == ["db"]
    for wrong in ("status=gone", "exited=x", "colour=red", "name", "name=["):
        assert here("ps", "-f", wrong).code == 125


# --- docker itself -------------------------------------------------------------------------


@pytest.mark.root
def test_docker_says_the_same(here: Adl, names: Names, tmp_path: Path) -> None:
    """Output, exit codes, sentences and JSON keys, command by command."""
    assert here("save", "-o", str(tmp_path / "box.tar"), names.box).code == 0
    script = "echo a; echo b >&2; trap 'exit 3' USR1; while :; do sleep 0.02; done"
    table = "table {{.Names}}\\t{{.State}}\\t{{.Command}}\\t{{.Image}}"
    commands: list[tuple[str, ...]] = [
        ("run", "-d", "--name", "up", f"{names.box}:latest", "sh", "-c", script),
        ("run", "-d", "--name", "bad", f"{names.box}:latest", "nothing"),
        ("run", "-d", "--name", "end", f"{names.box}:latest", "sh", "-c", "exit 7"),
        ("wait", "end"),
        ("run", "--name", "up", f"{names.box}:latest", "true"),
        ("ps", "-a", "--format", table),
        ("ps", "--format", "{{.Names}}: {{.Status}}"),
        ("ps", "-a", "-f", "status=created", "--format", "{{.Names}} {{.Status}}|{{.Ports}}|{{.Labels}}"),
        ("logs", "up"),
        ("logs", "--tail", "1", "end"),
        ("inspect", "-f", "{{.Name}} {{.State.Status}} {{.State.ExitCode}} {{.Path}} {{json .Args}}", "up", "bad", "end"),
        ("inspect", "-f", "{{json .Config.Cmd}} {{.HostConfig.AutoRemove}} {{.Mounts}} {{.RestartCount}}", "up"),
        ("inspect", "nothing"),
        ("rm", "up"),
        ("kill", "end"),
        ("kill", "nothing"),
        ("stop", "nothing", "end"),
        ("wait", "nothing"),
        ("logs", "nothing"),
        ("rename", "end", "up"),
        ("rename", "end", "fin"),
        ("kill", "-s", "USR1", "up"),
        ("wait", "up"),
        ("stop", "up"),
        ("start", "fin"),
        ("wait", "fin"),
        ("ps", "-a", "-f", "name=fin", "--format", "{{.Names}}"),
        ("container", "ls", "-a", "-f", "name=fin", "--format", "{{.Names}}"),
        ("container", "inspect", "-f", "{{.Name}}", "fin"),
        ("container", "inspect", f"{names.box}:latest"),
        ("top", "fin"),
        ("container", "stop", "-t", "0", "fin"),
        ("rm", "up", "nothing", "bad"),
        ("rm", "-f", "fin", "nothing"),
        ("ps", "-a", "--format", table),
    ]  # fmt: skip
    with dockerd(tmp_path) as docker:
        assert docker("load", "-i", str(tmp_path / "box.tar")) is not None
        for words in commands:
            theirs, ours = docker.run(*words), here(*words)
            # Docker's own exit code for a usage error in some verbs is 125, and ours for a taken name is too.
            assert (ours.code == 0) == (theirs.returncode == 0), (words, ours, theirs)
            assert plain(ours.out) == plain(theirs.stdout), words
            said = plain(ours.err)
            for line in plain(theirs.stderr).splitlines():
                sentence = re.sub(
                    "^(docker: )?Error( response from daemon)?: (Error when allocating new name: )?", "", line
                )
                if (
                    not sentence.startswith(("See 'docker", "Run 'docker", "failed to ", "Cannot kill"))
                    and "shim" not in line
                ):
                    assert sentence.lower() in said.lower(), words
        docker("run", "-d", "--name", "one", names.box, "true")
        here("run", "-dq", "--name", "one", names.box, "true")
        for words in (("ps", "-a", "--format", "{{json .}}"), ("inspect", "-f", "{{json .State}}", "one")):
            theirs, ours = docker.run(*words), here(*words)
            assert set(json.loads(theirs.stdout)) <= set(json.loads(ours.out))
        docker("rm", "-f", "one")


def plain(text: str) -> str:
    """Without what is different each time."""
    text = re.sub("[0-9a-f]{64}", "ID", text)
    text = re.sub(r"(Up|Exited \(\d+\)) (Less than a|\d+) seconds?( ago)?", r"\1", text)
    return re.sub(" +$", "", re.sub("  +", "  ", text), flags=re.MULTILINE)
