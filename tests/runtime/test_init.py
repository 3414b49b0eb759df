"""What a process sees in its container, and what it does not: the X cases of isolation."""

from __future__ import annotations

import os
import pty
import resource
import sys
import sysconfig
from pathlib import Path
from typing import Any

import pytest

from aiodocker_lite.errors import SetupFailed
from aiodocker_lite.options import Mount, RunOptions
from tests.runtime import driver
from tests.runtime.conftest import Run
from tests.runtime.driver import HOSTNAME, image_config


async def test_it_is_process_one_of_its_own_namespaces(script: Run) -> None:
    """Only itself is seen, and every namespace but the network is another than the host's."""
    done = await script(
        "echo $$; ls /proc | grep -c '^[0-9]'; for n in mnt pid uts ipc cgroup net; do readlink /proc/self/ns/$n; done"
    )
    pid, count, *inside = done.lines
    assert pid == "1"
    assert int(count) <= 3
    *outside, network = [
        str(Path(f"/proc/self/ns/{name}").readlink())
        for name in ("mnt", "pid", "uts", "ipc", "cgroup", "net")
    ]
    assert not set(outside) & set(inside)
    assert inside[-1] == network


@pytest.mark.parametrize(("chosen", "seen"), [(None, HOSTNAME), ("web.example", "web.example")])
async def test_the_host_name(script: Run, chosen: str | None, seen: str) -> None:
    """The chosen name, or the container's; in the kernel, in /etc and in the environment."""
    options = RunOptions(hostname=chosen)
    done = await script(
        "hostname; cat /etc/hostname; echo $HOSTNAME; grep -c $HOSTNAME /etc/hosts", options=options
    )
    assert done.lines == [seen, seen, seen, "1"]


async def test_the_environment_is_exactly_the_specs(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the caller's environment is there, and HOME comes from the image's passwd (X19)."""
    monkeypatch.setenv("SECRET", "leaks")
    options = RunOptions(env={"A": "1\n2", "UML": "\u00fc\udcff"})
    done = await run(
        "/bin/sh", "-c", "tr '\\0' '|' < /proc/1/environ | od -An -c | tr -d ' \\n'", options=options
    )
    assert "SECRET" not in done.out
    path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    assert done.out == f"{path}|HOSTNAME={HOSTNAME}|A=1\\n2|UML=303274377|HOME=/root|"


async def test_home_of_the_image_wins(run: Run) -> None:
    """A HOME in the environment is not replaced."""
    image = image_config(env=("HOME=/elsewhere",), user="bob")
    assert (await run("/bin/sh", "-c", "echo $HOME", image=image)).out == "/elsewhere\n"
    assert (await run("/bin/sh", "-c", "echo $HOME", image=image_config(user="bob"))).out == "/home/bob\n"


@pytest.mark.parametrize("kind", ["namespaces of root"])
async def test_rights_are_few(script: Run, kind: str) -> None:
    """Podman's eleven capabilities, nothing to inherit, no new privileges (X07, X08)."""
    done = await script("grep -E 'Cap|NoNewPrivs' /proc/self/status")
    status = dict(line.split(":\t") for line in done.lines)
    eleven = f"{0x800405FB:016x}"
    assert status == {
        "CapInh": "0" * 16,
        "CapPrm": eleven,
        "CapEff": eleven,
        "CapBnd": eleven,
        "CapAmb": "0" * 16,
        "NoNewPrivs": "1",
    }


HIDDEN = ["/proc/kcore", "/proc/keys", "/proc/timer_list", "/proc/interrupts", "/proc/sched_debug"]


async def test_masked_files_are_empty_and_masked_directories_too(script: Run) -> None:
    """What tells about the host is covered, by a device and a directory that nothing can be done to (X06)."""
    files = " ".join(HIDDEN)
    done = await script(
        f"for f in {files}; do [ ! -e $f ] || wc -c < $f; done; ls -A /sys/firmware /proc/acpi 2>/dev/null | grep -v :;"
        "chmod 0 /proc/keys; chown 5 /proc/interrupts; touch /sys/firmware/x; rm -f /proc/keys; true"
    )
    assert {line for line in done.lines if line} <= {"0"}
    before = Path("/dev/null").stat()
    assert (before.st_mode & 0o777, before.st_uid) == (0o666, 0)
    assert done.err.count("Read-only file system") >= 2


@pytest.mark.parametrize(
    "path",
    [
        "/proc/sysrq-trigger",
        "/proc/sys/kernel/hostname",
        "/proc/irq/default_smp_affinity",
        "/sys/kernel/profiling",
    ],
)
async def test_the_kernels_switches_cannot_be_moved(script: Run, path: str) -> None:
    """Writing fails, and remounting does too."""
    if not Path(path).exists():
        pytest.skip(f"{path} is not here")
    done = await script(
        f"echo x > {path}; mount -o remount,rw /proc/sys; mount -o remount,rw /sys; echo x > {path}; umount /proc/sys"
    )
    assert done.code != 0
    assert done.err.count("Read-only file system") == 2


async def test_the_devices_are_its_own(script: Run) -> None:
    """The usual nodes work; there are no others."""
    done = await script(
        "cd /dev; ls; head -c 5 zero | wc -c; head -c 5 urandom | wc -c; echo x > null; echo x > full;"
        "stat -c '%a' null pts shm; cat < /dev/tty"
    )
    *names, zeros, randoms, null, pts, shm = done.lines
    assert sorted(names) == sorted(
        [
            *(["core"] if Path("/proc/kcore").exists() else []),
            "fd",
            "full",
            "mqueue",
            "null",
            "ptmx",
            "pts",
            "random",
            "shm",
            "stderr",
            "stdin",
            "stdout",
            "tty",
            "urandom",
            "zero",
        ]
    )
    assert (zeros, randoms) == ("5", "5")
    assert (null, pts, shm) == ("666", "755", "1777")
    assert "No space left" in done.err
    assert "/dev/tty" in done.err  # there is no terminal


async def test_no_descriptor_is_inherited(script: Run, tmp_path: Path) -> None:
    """Whatever the caller has open, and inheritable, stays out (X02, X03)."""
    fds = []
    for _ in range(100):
        fds.append(os.open(tmp_path, os.O_RDONLY))
        os.set_inheritable(fds[-1], True)
    try:
        done = await script("ls /proc/1/fd; true")
    finally:
        for fd in fds:
            os.close(fd)
    assert done.lines == ["0", "1", "2"]


@pytest.mark.parametrize("number", range(3, 12))
async def test_no_working_directory_leads_outside(run: Run, number: int) -> None:
    """A WORKDIR that is a descriptor's magic link is refused, or leads nowhere else (CVE-2024-21626)."""
    for path in (f"/proc/self/fd/{number}", f"/proc/self/fd/{number}/../../../../etc", "/proc/self/cwd"):
        try:
            done = await run("/bin/ls", "-A", "/", image=image_config(working_dir=path))
        except SetupFailed as error:
            refused = str(error)
            assert "working directory" in refused
        else:
            assert "bin" in done.lines
            assert "proc" in done.lines


async def test_a_missing_working_directory_is_made(script: Run) -> None:
    """As docker does it, for root, with its parents."""
    done = await script("pwd; stat -c '%a %u' /srv /srv/app", image=image_config(working_dir="/srv/app"))
    assert done.lines == ["/srv/app", "755 0", "755 0"]


@pytest.mark.root
async def test_mounts_stay_inside(as_root: None, tmp_path: Path, layer: Path) -> None:
    """The host sees none of them while the container runs, and the container none of the host's (X14)."""
    command = ["/bin/sh", "-c", "cat /proc/self/mountinfo; mount -t tmpfs none /tmp; echo $?; sleep 1000"]
    async with driver.started([layer], tmp_path / "c", command) as process:
        assert process.stdout is not None
        out = ""
        while not out.endswith("\n1\n"):  # without CAP_SYS_ADMIN there is no mounting at all
            out += (await process.stdout.receive()).decode()
        assert str(tmp_path) not in Path("/proc/self/mountinfo").read_text()
    assert "shared:" not in out
    assert "master:" not in out
    kinds = [line.split(" - ")[1].split()[0] for line in out.splitlines()[:-1]]
    assert kinds.count("overlay") == 1


@pytest.mark.parametrize("target", ["proc", "sys", "dev"])
@pytest.mark.parametrize("kind", ["link", "dangling link", "file"])
async def test_an_image_that_puts_something_else_there_is_refused(
    run: Run, above: Path, target: str, kind: str
) -> None:
    """/proc, /sys and /dev must be directories, or absent (X04, X05)."""
    if kind == "file":
        (above / target).write_text("x")
    else:
        (above / target).symlink_to("/tmp" if kind == "link" else "/nowhere/at/all")
    with pytest.raises(SetupFailed, match=f"mounting /{target}: .*no directory"):
        await run("/bin/true", above=[above])


async def test_the_devices_of_an_image_are_never_used(run: Run, above: Path) -> None:
    """Links and nodes in the image's /dev are covered before anything looks at them (CVE-2025-31133)."""
    (above / "dev").mkdir()
    (above / "dev" / "null").symlink_to("/proc/sys/kernel/hostname")
    (above / "dev" / "pts").symlink_to("/etc")
    (above / "dev" / "shm").write_text("x")
    done = await run(
        "/bin/sh", "-c", "ls -l /dev/null /dev/pts; echo x > /proc/sys/kernel/hostname", above=[above]
    )
    assert "1,   3" in done.out
    assert "Read-only" in done.err


async def test_a_hard_to_find_etc_is_no_way_out(run: Run, above: Path, tmp_path: Path) -> None:
    """Generated files are bound where links lead inside, wherever they say they lead (X17)."""
    canary = tmp_path / "canary"
    canary.write_text("alive")
    (above / "etc").mkdir()
    (above / "etc" / "hosts").symlink_to(canary)
    (above / "etc" / "resolv.conf").symlink_to("../run/systemd/resolve/stub-resolv.conf")
    (above / "etc" / "hostname").symlink_to("/../../../../../../../../etc/name")
    done = await run(
        "/bin/sh", "-c", f"cat /etc/hostname; cat {canary}; ls /run/systemd/resolve", above=[above]
    )
    assert canary.read_text() == "alive"
    assert done.lines[0] == HOSTNAME
    assert "localhost" in done.out
    assert done.lines[-1] == "stub-resolv.conf"
    assert not Path("/etc/name").exists()


@pytest.mark.root
async def test_no_terminal_of_the_caller_can_be_typed_into(as_root: None, run: Run) -> None:
    """A terminal that is passed on is not the controlling one, and cannot become it (X18)."""
    leader, follower = pty.openpty()
    try:
        done = await run(
            "/bin/sh", "-c", "cut -d' ' -f6,7 /proc/self/stat; tty; cat /dev/tty", stdin=follower
        )
    finally:
        os.close(leader)
        os.close(follower)
    session, terminal = done.lines[0].split()
    assert (session, terminal) == ("1", "0")
    assert "/dev/tty" in done.err


async def test_signals_are_as_new(run: Run) -> None:
    """What Python and the caller ignore or block is not passed on."""
    done = await run("/bin/grep", "^Sig[IBC]", "/proc/1/status")
    states = {line.split(":")[0]: int(line.split()[1], 16) for line in done.lines}
    assert states["SigBlk"] == states["SigIgn"] == 0


async def test_the_umask_is_the_usual_one(script: Run) -> None:
    """The caller's does not matter."""
    before = os.umask(0o077)
    try:
        assert (await script("umask; stat -c %a /etc/hosts")).lines == ["0022", "644"]
    finally:
        os.umask(before)


@pytest.mark.root
async def test_the_interpreter_cannot_be_changed_from_inside(as_root: None, run: Run) -> None:
    """A command that is /proc/self/exe gets this Python, and can do nothing to its file (CVE-2019-5736)."""
    directories = {
        sys.base_prefix,
        *(d for d in ("/lib", "/lib64", "/usr/lib", "/usr/lib64") if Path(d).exists()),
    }
    mounts = tuple(Mount(directory, directory, read_only=True) for directory in sorted(directories))
    libraries = sysconfig.get_config_var("LIBDIR") or ""
    attempt = (
        "import os\n"
        "for name, action in (('mode', lambda: os.chmod('/proc/self/exe', 0o777)),\n"
        "                     ('owner', lambda: os.chown('/proc/self/exe', 1, 1)),\n"
        "                     ('content', lambda: os.open('/proc/self/exe', os.O_WRONLY))):\n"
        "    try: action()\n"
        "    except OSError as error: print(name, error.errno)\n"
        "    else: print(name, 'changed')\n"
    )
    options = RunOptions(mounts=mounts, env={"PYTHONHOME": sys.base_prefix, "LD_LIBRARY_PATH": libraries})
    file = Path(os.path.realpath(sys.executable))
    before = file.stat()
    done = await run("/proc/self/exe", "-S", "-c", attempt, options=options)
    assert done.lines == ["mode 30", "owner 30", "content 26"], done.err
    after = file.stat()
    assert (after.st_mode, after.st_uid, after.st_mtime_ns) == (
        before.st_mode,
        before.st_uid,
        before.st_mtime_ns,
    )


async def test_nothing_of_the_image_is_imported(run: Run, above: Path) -> None:
    """Python modules where this Python looks for its own are not found by the first process."""
    for directory in {Path(os.__file__).parent, Path(sysconfig.get_paths()["platstdlib"]) / "lib-dynload"}:
        inside = above / directory.relative_to("/")
        inside.mkdir(parents=True, exist_ok=True)
        for name in ("json", "codecs", "traceback", "linecache", "encodings/idna", "stringprep"):
            (inside / f"{name}.py").parent.mkdir(exist_ok=True)
            (inside / f"{name}.py").write_text("open('/imported', 'w')")
    with pytest.raises(SetupFailed):
        await run("/bin/true", above=[above], image=image_config(working_dir="/etc/passwd"))
    assert not list(above.parent.rglob("imported"))


@pytest.mark.root
async def test_limits_that_cannot_be_raised_do_not_matter(as_root: None, script: Run) -> None:
    """Limits of the caller are passed on as they are."""
    inside = (await script("ulimit -n; ulimit -Hn")).lines
    assert inside == [str(limit) for limit in resource.getrlimit(resource.RLIMIT_NOFILE)]


@pytest.mark.parametrize("missing", ["proc", "dev", "sys", "tmp"])
async def test_an_empty_image_gets_what_it_needs(
    run: Run, tmp_path: Path, layer: Path, isolated: None, missing: str, busybox: Path
) -> None:
    """Directories for mounts are made where the image has none."""
    alone = tmp_path / "alone"
    alone.mkdir()
    (alone / "sh").write_bytes(busybox.read_bytes())
    (alone / "sh").chmod(0o755)
    done: Any = await driver.run([alone], tmp_path / "c", ["/sh", "-c", f"[ -d /{missing} ] || echo no"])
    assert done.out == ("no\n" if missing == "tmp" else "")
