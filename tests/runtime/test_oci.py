"""The same spec by our own runtime and by others: one table of runs, as root and as an ordinary user.

Every difference that stays is in `DIFFERENCES`, with its reason.
"""

from __future__ import annotations

import json
import os
import re
import select
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from aiodocker_lite.errors import InvalidOption, RuntimeUnavailable
from aiodocker_lite.options import RunOptions
from aiodocker_lite.programs import find_program
from aiodocker_lite.runtime.oci import find_backend
from tests.fakes.processes import descendants
from tests.runtime import driver
from tests.runtime.conftest import HERE, Caged

Outcomes = Callable[[str, str], dict[str, Any]]

pytestmark = [pytest.mark.anyio, pytest.mark.root]

OTHERS = ("crun", "runc")
WITH_IDS = "ordinary-user:nobody:100000:65536"
PAIRS = [("crun", "root"), ("runc", "root"), ("crun", WITH_IDS)]
if os.environ.get("WHOLE_TABLES"):  # a minute more
    PAIRS = [(other, who) for other in OTHERS for who in ("root", "ordinary-user", WITH_IDS)]

RUNS: dict[str, dict[str, Any]] = {
    "exit code": {"command": ["sh", "-c", "exit 3"]},
    "killed by itself": {"command": ["sh", "-c", "sh -c 'kill -9 $$'; exit $?"]},
    "a signal to process 1 from inside": {"command": ["sh", "-c", "kill -9 $$; echo heard nothing"]},
    "both streams": {"command": ["sh", "-c", "echo out; echo err >&2"]},
    "environment": {"command": ["env"], "options": {"env": {"A": "1", "B": "a b\nc"}}},
    "home of the user": {"command": ["sh", "-c", "echo $HOME"], "options": {"user": "root"}},
    "home that is given": {"command": ["sh", "-c", "echo $HOME"], "options": {"env": {"HOME": "/x"}}},
    "user by name": {"command": ["id"], "options": {"user": "bob"}},
    "user by number": {"command": ["id"], "options": {"user": "1000:29"}},
    "user without a name": {"command": ["id"], "options": {"user": "4242"}},
    "no such user": {"command": ["id"], "options": {"user": "eve"}},
    "working directory": {"command": ["pwd"], "options": {"workdir": "/tmp"}},
    "working directory that is made": {
        "command": ["sh", "-c", "pwd; stat -c '%a %u' ."],
        "options": {"workdir": "/new/one"},
    },
    "working directory that is a file": {"command": ["pwd"], "options": {"workdir": "/etc/passwd"}},
    "working directory in /proc": {"command": ["pwd"], "options": {"workdir": "/proc/self/fd/7"}},
    "host name": {"command": ["hostname"], "options": {"hostname": "other"}},
    "host name in files": {"command": ["cat", "/etc/hostname"]},
    "ids of processes": {"command": ["sh", "-c", "echo $$; cut -d' ' -f4 /proc/1/stat"]},
    "capabilities": {"command": ["grep", "-E", "^Cap", "/proc/self/status"]},
    "capabilities of a user": {"command": ["grep", "-E", "^Cap", "/proc/self/status"], "options": {"user": "1000"}},
    "no new privileges": {"command": ["grep", "NoNewPrivs", "/proc/self/status"]},
    "descriptors": {"command": ["sh", "-c", "ls /proc/self/fd | wc -l"]},
    "sessions": {"command": ["sh", "-c", "cut -d' ' -f5-7 /proc/1/stat"]},
    "signals": {"command": ["grep", "-E", "^Sig(Ign|Blk|Cgt)", "/proc/self/status"]},
    "umask": {"command": ["sh", "-c", "umask"]},
    "limits": {"command": ["cat", "/proc/self/limits"]},
    "oom score": {"command": ["cat", "/proc/self/oom_score_adj"]},
    "control groups": {"command": ["cat", "/proc/self/cgroup"]},
    "network of the host": {"command": ["readlink", "/proc/self/ns/net"]},
    "nodes": {"command": ["sh", "-c", "cd /dev; stat -c '%n %F %t:%T' null zero full random urandom tty"]},
    "links in /dev": {"command": ["sh", "-c", "cd /dev; readlink fd stdin stdout stderr ptmx core"]},
    "/dev": {"command": ["ls", "/dev"]},
    "a device that is none": {"command": ["sh", "-c", "mknod /tmp/x b 8 0; echo $?"]},
    "shared memory": {"command": ["sh", "-c", "echo x >/dev/shm/x; df -k /dev/shm | tail -1 | tr -s ' ' | cut -d' ' -f2"]},
    "standard output by name": {"command": ["sh", "-c", "echo x >/dev/stdout"], "options": {"user": "1000"}},
    "/proc/sys is read-only": {"command": ["sh", "-c", "echo x >/proc/sys/kernel/hostname"]},
    "/sys is read-only": {"command": ["mkdir", "/sys/fs/cgroup/x", "/sys/kernel/x"]},
    "masked files": {"command": ["sh", "-c", "cd /proc; wc -c keys timer_list interrupts kcore 2>&1 | grep -v total"]},
    "masked directories": {"command": ["sh", "-c", "ls /proc/acpi /sys/firmware"]},
    "mounts": {"command": ["sh", "-c", "cut -d' ' -f5 /proc/self/mountinfo | sort -u"]},
    "mounts are their own": {"command": ["sh", "-c", "grep -cE ' (shared|master):' /proc/self/mountinfo"]},
    "nothing of the host's root": {"command": ["sh", "-c", "ls /; grep -c ' / / ' /proc/self/mountinfo"]},
    "kernel file systems": {
        "command": ["sh", "-c", "awk '$2 ~ \"^/(proc|dev|dev/pts|dev/shm|dev/mqueue|sys)$\" {split($4, o, \",\"); s=\"\"; for (i in o) if (o[i] ~ /^(ro|nosuid|nodev|noexec)$/) f[o[i]]=1; print $2, $3, f[\"ro\"] f[\"nosuid\"] f[\"nodev\"] f[\"noexec\"]; delete f}' /proc/mounts"],
    },
    "a volume": {"command": ["sh", "-c", "cat /v/file; echo more >/v/new; ls /v"], "volume": "/v"},
    "a volume read-only": {"command": ["sh", "-c", "cat /v/file; echo more >/v/new"], "volume": "/v:ro"},
    "a volume over a file": {"command": ["cat", "/etc/passwd"], "volume": "/etc/passwd:file"},
    "a volume without a source": {"command": ["true"], "mounts": [{"target": "/v", "source": "/no/such"}]},
    "a volume in /dev": {"command": ["sh", "-c", "cat /dev/v/file"], "volume": "/dev/v"},
    "no setuid in a volume": {"command": ["sh", "-c", "grep ' /v ' /proc/mounts | grep -o nosuid"], "volume": "/v"},
    "memory": {"command": ["sh", "-c", "df /m | tail -1 | cut -d' ' -f1; echo x >/m/x"], "mounts": [{"target": "/m"}]},
    "entrypoint": {"command": ["hi"], "options": {"entrypoint": ("echo", "-n")}},
    "command of the image": {"command": [], "image": {"command": ["echo", "image"]}},
    "not there": {"command": ["nope"]},
    "not there by path": {"command": ["/bin/nope"]},
    "a directory": {"command": ["/etc"]},
    "not executable": {"command": ["/etc/passwd"]},
    "not for this user": {"command": ["/private"], "options": {"user": "1000"}, "files": {"/private": ("#!/bin/sh\n", 0o700)}},
    "garbage": {"command": ["/garbage"], "files": {"/garbage": ("\0\1", 0o755)}},
    "no interpreter": {"command": ["/bad"], "files": {"/bad": ("#!/no/such\n", 0o755)}},
    "itself": {"command": ["/proc/self/exe"]},
    "found by its path": {"command": ["tool"], "options": {"env": {"PATH": "/a:/b:/bin"}},
                          "files": {"/a/tool": ("#!/bin/sh\necho a\n", 0o644), "/b/tool": ("#!/bin/sh\necho b\n", 0o755)}},
    "a link for a directory": {"command": ["true"], "links": {"/proc": "/tmp"}},
    "a link for the working directory": {"command": ["pwd"], "options": {"workdir": "/link"}, "links": {"/link": "../../tmp"}},
    "a terminal": {"command": ["sh", "-c", "tty; stty size; tty -s; echo $TERM; ls -l /dev/console | cut -c1; exit 4"], "options": {"terminal": True}},
    "exec": {"command": ["sh", "-c", "ls ready; hostname; ls -d /proc/1; exit 6"], "exec": {}},
    "exec as a user": {"command": ["id"], "exec": {"user": "bob", "workdir": "/tmp"}},
    "exec not found": {"command": ["nope"], "exec": {}},
}  # fmt: skip


DIFFERENCES: dict[tuple[str, str], str] = {
    ("/dev", "crun"): "crun makes /dev/core also where there is no /proc/kcore",
    **{("/sys is read-only", other): "the directory of control groups is a tmpfs of the container's, its groups are read-only"
       for other in OTHERS},
    **{("itself", other): "before the container runs there is no /proc in which the command could be"
       for other in OTHERS},
}  # fmt: skip
"""By run and runtime: why it does not come out as with ours."""

_FOUND: dict[tuple[str, str], dict[str, Any]] = {}


@pytest.fixture
def outcomes(caged: Caged, layer: Path, layer_of_nobody: Path, open_directory: Path) -> Outcomes:
    """All runs of the table by a runtime, as one user; made once."""

    def outcomes(who: str, runtime: str) -> dict[str, Any]:
        if (who, runtime) not in _FOUND:
            place = Path(tempfile.mkdtemp(dir=open_directory))
            lowest = layer if who == "root" else layer_of_nobody
            batch = {
                name: job_of(run, runtime, place / str(n), lowest)
                for n, (name, run) in enumerate(RUNS.items())
            }
            if who != "root":
                subprocess.check_call(["chown", "-hR", "65534:65534", place])
            place.chmod(0o755)
            answers = caged(who, batch=batch)
            _FOUND[who, runtime] = {name: facts(answer, place) for name, answer in answers.items()}
        return _FOUND[who, runtime]

    return outcomes


def job_of(run: dict[str, Any], runtime: str, place: Path, lowest: Path) -> dict[str, Any]:
    """A job for the driver, with a layer and a volume of its own."""
    above, volume = place / "above", place / "volume"
    above.mkdir(parents=True)
    volume.mkdir()
    (volume / "file").write_text("of the host\n")
    for path, (content, mode) in run.get("files", {}).items():
        file = above / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)
        file.chmod(mode)
    for path, target in run.get("links", {}).items():
        (above / path.lstrip("/")).symlink_to(target)
    mounts = list(run.get("mounts", ()))
    if "volume" in run:
        target, _, how = run["volume"].partition(":")
        source = volume / "file" if how == "file" else volume
        mounts.append({"target": target, "source": str(source), "read_only": how == "ro"})
    options = {**run.get("options", {}), "runtime": runtime}
    return {
        **{name: run[name] for name in ("command", "image", "exec") if name in run},
        "layers": [str(lowest), str(above)], "container": str(place / "container"), "mounts": mounts, "options": options,
    }  # fmt: skip


def facts(answer: dict[str, Any], place: Path) -> dict[str, Any]:
    """What a user sees of it."""
    found = {name: answer.get(name) for name in ("code", "out", "err", "slug", "message")}
    return {
        name: re.sub(rf"{place}/\d+", "PLACE", text) if isinstance(text, str) else text
        for name, text in found.items()
    }


@pytest.mark.parametrize(("runtime", "who"), PAIRS)
@pytest.mark.parametrize("name", RUNS)
def test_a_run_comes_out_the_same(outcomes: Outcomes, runtime: str, who: str, name: str) -> None:
    """Output, complaints, exit code and our own sentence, unless a reason is written down."""
    if find_program(runtime) is None:
        pytest.skip(f"needs {runtime}")
    ours, theirs = outcomes(who, "native")[name], outcomes(who, runtime)[name]
    if (name, runtime) in DIFFERENCES:
        assert theirs["code"] == ours["code"]
    else:
        assert theirs == ours


# --- what is not a table ---------------------------------------------------------------------


@pytest.mark.parametrize("runtime", OTHERS)
def test_a_killed_engine_takes_the_container_along(
    runtime: str, layer: Path, tmp_path: Path, as_root: None
) -> None:
    """The kernel does, whatever the runtime has made of it."""
    job = {
        "layers": [str(layer)], "container": str(tmp_path / "c"), "command": ["sleep", "1000"],
        "options": {"runtime": runtime}, "stay": True,
    }  # fmt: skip
    command = [sys.executable, str(HERE / "driver.py"), json.dumps(job)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as engine:
        assert engine.stdout is not None
        pidfd = os.pidfd_open(int(engine.stdout.readline()))
        engine.send_signal(signal.SIGKILL)
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    assert poll.poll(5000)
    os.close(pidfd)
    assert str(tmp_path) not in Path("/proc/self/mountinfo").read_text()


@pytest.mark.parametrize("runtime", OTHERS)
async def test_signals_arrive_and_nothing_is_left(
    runtime: str, layer: Path, tmp_path: Path, as_root: None
) -> None:
    """A handler is asked first; afterwards there is no process and no state."""
    before = descendants()
    text = "trap 'echo told; exit 7' TERM; echo up; while :; do sleep 0.05; done"
    options = RunOptions(runtime=runtime)
    async with driver.started([layer], tmp_path / "c", ["sh", "-c", text], options=options) as process:
        assert process.stdout is not None
        assert await process.stdout.receive() == b"up\n"
        process.signal(signal.SIGTERM)
        assert await process.stdout.receive() == b"told\n"
        assert await process.wait() == 7
    assert descendants() == before
    assert not list((tmp_path / "c" / "runtime").iterdir())


@pytest.mark.parametrize("runtime", OTHERS)
async def test_input_arrives(runtime: str, layer: Path, tmp_path: Path, as_root: None) -> None:
    """Through the pipe that it was given, to its end."""
    options = RunOptions(runtime=runtime)
    done = await driver.run([layer], tmp_path / "c", ["wc", "-c"], options=options, input=b"x" * 300_000)
    assert (done.code, done.out, done.err) == (0, "300000\n", "")


def test_a_runtime_is_a_name_or_an_absolute_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One in this directory or in PATH is not looked at; one that others can change is refused (X28)."""
    fake = tmp_path / "youki"
    fake.write_text("#!/bin/sh\necho youki version 9.9\n")
    fake.chmod(0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", f"{tmp_path}:.")
    assert find_backend(None) is find_backend("native") is None
    if find_program("youki") is None:
        with pytest.raises(RuntimeUnavailable, match="not installed"):
            find_backend("youki")
    for name in ("./youki", "podman", ""):
        with pytest.raises(InvalidOption, match="unknown or invalid runtime name"):
            find_backend(name)
    found = find_backend(str(fake))
    assert found is not None
    assert (found.kind, found.version) == ("youki", "9.9")
    other = tmp_path / "other"
    other.write_text("#!/bin/sh\necho runc version 1.0.3\n")
    other.chmod(0o777)
    with pytest.raises(RuntimeUnavailable, match="others than its owner can change it"):
        find_backend(str(other))
    older = tmp_path / "older"
    older.write_text(other.read_text())
    older.chmod(0o755)
    with pytest.raises(RuntimeUnavailable, match="too old"):
        find_backend(str(older))
