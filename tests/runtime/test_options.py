"""Options of a run, as a process in a real container sees them: root's, and some of an ordinary user's."""

from __future__ import annotations

import json
import os
import resource
import signal
from pathlib import Path
from typing import Any

import anyio
import pytest

from aiodocker_lite.errors import InvalidOption, SetupFailed
from aiodocker_lite.options import Mount, RunOptions
from tests.runtime import driver
from tests.runtime.conftest import Caged, Run

HARD = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
STATUS = "grep -E 'CapEff|CapBnd|NoNewPrivs|Seccomp:' /proc/self/status | tr -d '\\t'"


@pytest.mark.parametrize(
    ("options", "text", "lines"),
    [
        ({"ulimits": ("nofile=50:60", "core=0")}, "ulimit -n; ulimit -Hn; ulimit -c", ["50", "60", "0"]),
        ({"ulimits": ("nofile=4", "nproc=1"), "init": True}, "ulimit -n", ["4"]),
        ({"oom_score_adj": 321}, "cat /proc/self/oom_score_adj", ["321"]),
        ({"shm_size": 1 << 20}, "df -k /dev/shm | tail -1 | tr -s ' ' | cut -d' ' -f2", ["1024"]),
        ({"sysctls": {"kernel.msgmax": "9000"}}, "cat /proc/sys/kernel/msgmax", ["9000"]),
        ({"domainname": "example.org"}, "cat /proc/sys/kernel/domainname", ["example.org"]),
        ({"uts": "host"}, "hostname", [os.uname().nodename]),
        ({"hosts": ("db:10.0.0.1", "v6=[::1]")}, "tail -2 /etc/hosts", ["10.0.0.1\tdb", "::1\tv6"]),
        (
            {"dns": ("10.0.0.2", "::1"), "dns_search": ("a.org", "b.org"), "dns_options": ("ndots:2",)},
            "cat /etc/resolv.conf",
            ["search a.org b.org", "nameserver 10.0.0.2", "nameserver ::1", "options ndots:2"],
        ),
        ({"read_only": True}, "echo x 2>&1 >/x; echo x >/dev/shm/x && echo ok", ["/bin/sh: can't create /x: Read-only file system", "ok"]),
        (
            {"mounts": (Mount("/scratch", options=("size=1m", "exec", "mode=700")),)},
            "stat -c %a /scratch; cp /bin/busybox /scratch/true; head -c 3000000 /dev/zero 2>&1 >/scratch/x | cut -c1-5; cd /scratch; rm x; cp /bin/echo echo 2>/dev/null; grep -o noexec.*/scratch /proc/mounts",
            ["700", "head:"],
        ),
        ({"cap_drop": ("all",), "cap_add": ("net_raw",)}, STATUS, ["CapEff:0000000000002000", "CapBnd:0000000000002000", "NoNewPrivs:1", "Seccomp:2"]),
        ({"security": ("no-new-privileges=false",)}, STATUS, ["CapEff:00000000800405fb", "CapBnd:00000000800405fb", "NoNewPrivs:0", "Seccomp:2"]),
        ({"security": ("seccomp=unconfined",)}, STATUS, ["CapEff:00000000800405fb", "CapBnd:00000000800405fb", "NoNewPrivs:1", "Seccomp:0"]),
        ({"init": True}, "echo $$; cat /proc/1/comm; exit 7", ["2", "adl-watch"]),
        ({"workdir": "/new/dir", "init": True}, "pwd", ["/new/dir"]),
    ],
)  # fmt: skip
async def test_an_option_is_enforced(run: Run, options: dict[str, Any], text: str, lines: list[str]) -> None:
    """It is what the process finds."""
    done = await run("/bin/sh", "-c", text, options=RunOptions(**options))
    assert done.lines == lines, done.err


@pytest.mark.parametrize(
    ("options", "kind", "text"),
    [
        (
            {"sysctls": {"fs.mqueue.nothing": "1"}},
            SetupFailed,
            "setting fs.mqueue.nothing: there is no such setting",
        ),
        ({"hosts": ("db",)}, InvalidOption, "--add-host: 'db' is not NAME:ADDRESS"),
        ({"hosts": ("db:x",)}, InvalidOption, "--add-host: 'x' is not an IP address"),
        ({"dns": ("dns.example",)}, InvalidOption, "--dns: 'dns.example' is not an IP address"),
        ({"dns_search": ("a b",)}, InvalidOption, "--dns-search: 'a b' is not one word"),
        ({"stop_signal": "SIGNOPE"}, InvalidOption, "--stop-signal: there is no signal 'SIGNOPE'"),
    ],
)
async def test_what_cannot_be_had_is_one_sentence(
    run: Run, options: dict[str, Any], kind: type[Exception], text: str
) -> None:
    """And nothing runs."""
    with pytest.raises(kind, match=text):
        await run("/bin/true", options=RunOptions(**options))


@pytest.mark.root
@pytest.mark.skipif(HARD == resource.RLIM_INFINITY, reason="there is no limit here")
async def test_a_limit_that_is_out_of_reach_is_refused(as_root: None, run: Run) -> None:
    """Where this process may not raise its own."""
    capable = int(Path("/proc/self/status").read_text().partition("CapEff:")[2].split()[0], 16) >> 24 & 1
    if capable:
        pytest.skip("has CAP_SYS_RESOURCE")
    for limit, said in ((HARD + 1, HARD + 1), (-1, "no limit")):
        reason = f"setting the limit nofile: {said} is more than this process may have itself"
        with pytest.raises(SetupFailed, match=reason):
            await run("/bin/true", options=RunOptions(ulimits=(f"nofile={limit}",)))


async def test_groups_are_added(run: Run) -> None:
    """By name or number, after those of the user."""
    options = RunOptions(user="bob", groups=("audio", "77", "wheel"))
    done = await run("/bin/id", "-G", options=options)
    assert done.out == "1001 10 29 77\n"


@pytest.mark.root
async def test_a_device_is_there_and_works(as_root: None, run: Run) -> None:
    """In /dev and elsewhere, under another name too; with a part of its rights only."""
    if not Path("/dev/fuse").exists():
        pytest.skip("needs a device that nobody has by default")
    options = RunOptions(devices=("/dev/full:/dev/a/full", "/dev/full:/else/where", "/dev/fuse:/dev/log:r"))
    text = (
        "echo x > /dev/a/full; echo x > /else/where; stat -c '%t %T' /dev/a/full /else/where; ls -A /dev | grep given;"
        "exec 3</dev/log && echo readable; (exec 3>/dev/log) 2>&1 | grep -o 'Oper.*'"
    )
    done = await run("/bin/sh", "-c", text, options=options)
    assert done.err.count("No space left on device") == 2
    assert done.lines == ["1 7", "1 7", "readable", "Operation not permitted"]


@pytest.mark.root
async def test_a_node_that_is_made_leads_nowhere(as_root: None, run: Run) -> None:
    """With CAP_MKNOD there are nodes, and only the usual ones can be opened."""
    options = RunOptions(cap_add=("MKNOD",))
    text = "mknod /dev/zero2 c 1 5; head -c 2 /dev/zero2 | wc -c; mknod /dev/mem c 1 1; cat /dev/mem"
    done = await run("/bin/sh", "-c", text, options=options)
    assert done.lines == ["2"]
    assert "Operation not permitted" in done.err


@pytest.mark.root
async def test_privileged_is_without_protection(as_root: None, run: Run) -> None:
    """All devices, all capabilities there are, a /sys to write; and still namespaces of its own."""
    text = (
        "grep -E 'CapEff|CapBnd' /proc/self/status | tr -d '\\t'; mount -t tmpfs none /tmp && echo mounted;"
        "grep -c ' /sys sysfs rw' /proc/mounts; ls /dev | wc -l; echo $$; wc -c < /proc/timer_list"
    )
    done = await run("/bin/sh", "-c", text, options=RunOptions(privileged=True))
    effective, bounding, mounted, writable, devices, pid, size = done.lines
    ours = Path("/proc/self/status").read_text().partition("CapBnd:")[2].split()[0]
    assert (effective, bounding) == (f"CapEff:{ours}", f"CapBnd:{ours}")
    assert (mounted, writable, pid) == ("mounted", "1", "1")
    assert int(devices) > 16
    assert int(size) > 0


async def test_a_profile_of_ones_own(run: Run) -> None:
    """Instead of the default; with an error of its own."""
    rules = [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28}]
    text = json.dumps({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": rules})
    options = RunOptions(security=(f"seccomp={text}",))
    done = await run("/bin/mkdir", "/tmp/x", options=options)
    assert "No space left on device" in done.err


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("exit 7", 7),
        ("kill -9 $$", 137),
        ("kill -TERM $$", 143),
        ("(sleep 0.1; exit 3) & (true) & exit 5", 5),
    ],
)
async def test_with_init_the_exit_code_is_the_commands(run: Run, text: str, code: int) -> None:
    """As a shell would say it; nobody is process 1 but init."""
    assert (await run("/bin/sh", "-c", text, options=RunOptions(init=True))).code == code


async def test_init_reaps(run: Run) -> None:
    """Who loses its parent is no zombie for ever."""
    text = "sh -c 'sleep 0.05 & sleep 0.05 & sleep 0.05 &'; sleep 0.3; grep -l '^State:.Z' /proc/[0-9]*/status | wc -l"
    done = await run("/bin/sh", "-c", text, options=RunOptions(init=True))
    assert done.out == "0\n"


@pytest.mark.parametrize(
    ("options", "name"), [({}, "TERM"), ({"stop_signal": "SIGUSR1"}, "USR1"), ({"stop_signal": "10"}, "USR1")]
)
@pytest.mark.parametrize("init", [False, True])
async def test_the_stop_signal_ends_it(
    layer: Path, tmp_path: Path, isolated: None, options: dict[str, Any], name: str, init: bool
) -> None:
    """The one that was chosen, also through init; whoever hears it may end in its own way."""
    text = f"trap 'exit 9' {name}; echo ready; while true; do sleep 0.02; done"
    chosen = RunOptions(init=init, **options)
    with anyio.fail_after(5):
        async with driver.started(
            [layer], tmp_path / "c", ["/bin/sh", "-c", text], options=chosen
        ) as process:
            assert process.stdout is not None
            await process.stdout.receive()
    assert process.returncode == 9


async def test_init_passes_signals_on(layer: Path, tmp_path: Path, isolated: None) -> None:
    """Also those that end a process which has no handler."""
    options = RunOptions(init=True)
    async with driver.started([layer], tmp_path / "c", ["/bin/sleep", "1000"], options=options) as process:
        process.signal(signal.SIGHUP)
        with anyio.fail_after(5):
            assert await process.wait() == 129


@pytest.mark.root
@pytest.mark.parametrize(
    ("options", "text", "out"),
    [
        ({"privileged": True}, "mount -t tmpfs none /tmp && echo mounted", "mounted\n"),
        ({"devices": ["/dev/full:/dev/other"]}, "echo x > /dev/other 2>/dev/null || echo full", "full\n"),
        ({"init": True, "read_only": True}, "echo $$; touch /x 2>/dev/null || echo no", "2\nno\n"),
        ({"ulimits": ["nofile=50"], "shm_size": 4096, "domainname": "d"}, "ulimit -n", "50\n"),
        ({"cap_add": ["ALL"]}, "mount -t tmpfs none /tmp && echo mounted", "mounted\n"),
        (
            {"security": ["no-new-privileges=false"]},
            "grep -o 'Seccomp:.*' /proc/self/status",
            "Seccomp:\t2\n",
        ),
        ({"sysctls": {"kernel.msgmax": "9000"}}, "cat /proc/sys/kernel/msgmax", "9000\n"),
    ],
)
def test_options_of_an_ordinary_user(caged: Caged, options: dict[str, Any], text: str, out: str) -> None:
    """In a user namespace, where root is nobody outside."""
    done = caged("ordinary-user", "/bin/sh", "-c", text, options=options)
    assert done.get("out") == out, done


@pytest.mark.root
@pytest.mark.parametrize(
    ("options", "option"),
    [
        ({"read_only": True}, "--read-only"),
        ({"devices": ["/dev/full"]}, "--device"),
        ({"sysctls": {"kernel.msgmax": "1"}}, "--sysctl"),
    ],
)
def test_without_namespaces_it_is_refused(caged: Caged, options: dict[str, Any], option: str) -> None:
    """Rather than ignored."""
    done = caged("chroot", "/bin/true", options=options)
    assert done["message"] == f"invalid value for {option}: it cannot be had with the isolation 'chroot'"
