"""`run`, as a whole process: what a container is told, what it answers, and how both of them end."""

from __future__ import annotations

import os
import re
import secrets
import signal
import subprocess
from pathlib import Path

import pytest

from aiodocker_lite.platforms import Platform
from tests.fakes.commands import Adl, Names, Start

ENVIRONMENT = "Environment detected: inContainer="


def said(process: subprocess.Popen[str]) -> str:
    """The next line of its standard output."""
    assert process.stdout is not None
    return process.stdout.readline()


def running_as(*words: str) -> int | None:
    """The process of this machine with exactly this command line."""
    wanted = b"".join(word.encode() + b"\0" for word in words)
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if (process / "cmdline").read_bytes() == wanted:
                return int(process.name)
        except OSError:  # gone meanwhile
            continue
    return None


# --- what comes out ------------------------------------------------------------------------


def test_a_missing_image_is_pulled(adl: Adl, names: Names) -> None:
    """The environment first, then docker's sentence, then progress; on standard output the container alone."""
    first = adl("run", "--rm", names.box)
    assert (first.code, first.out) == (0, "default\n")
    environment, unable, *pulled = first.err.splitlines()
    assert environment.startswith(ENVIRONMENT)
    assert unable == f"Unable to find image '{names.box}:latest' locally"
    assert pulled[-1].startswith(f"{names.box}:latest: ready")
    again = adl("run", "--rm", names.box)
    assert (again.code, again.out, again.err) == (0, "default\n", f"{environment}\n")
    quiet = adl("run", "--rm", "-q", names.box, "/bin/sh", "-c", "echo oh >&2")
    assert (quiet.code, quiet.out, quiet.err) == (0, "", "oh\n")


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (["BOX", "sh", "-c", "exit 3"], 3, ""),
        (["BOX", "sh", "-c", "sh -c 'kill -9 $$'; exit $?"], 137, ""),
        (["BOX", "nothing"], 127, 'exec: "nothing": executable file not found'),
        (["BOX", "/etc/note"], 126, 'exec: "/etc/note": permission denied'),
        (["BOX", "/etc"], 126, 'exec: "/etc": '),
        (["--entrypoint", "nothing", "BOX"], 127, 'exec: "nothing": executable file not found'),
        (["REGISTRY/nothing"], 125, "manifest for REGISTRY/nothing:latest not found: manifest unknown"),
        (["--user", "nobody", "BOX"], 125, "unable to find user nobody: "),
        (["--name", "a b", "BOX"], 125, "invalid value for name: 'a b' may only have letters, digits"),
        (["-v", "here", "BOX"], 125, "invalid value for --volume: 'here' is not SOURCE:TARGET[:ro]"),
        (["-e", "=x", "BOX"], 125, "invalid value for --env: '=x' has no name"),
        (["--nothing", "BOX"], 125, "No such option: --nothing"),
        (["Box"], 125, "invalid reference format: 'Box': "),
        ([], 125, "Missing argument 'IMAGE'."),
    ],
    ids=lambda value: " ".join(value) or "nothing" if isinstance(value, list) else "",
)
def test_exit_codes_are_dockers(box: Adl, names: Names, words: list[str], code: int, sentence: str) -> None:
    """The command's own, or one that says why it never ran, with a sentence."""
    registry = names.registry.address
    words = [word.replace("BOX", names.box).replace("REGISTRY", registry) for word in words]
    done = box("run", "--rm", *words)
    assert done.code == code, done.err
    assert done.sentence.startswith(sentence.replace("REGISTRY", registry)), done.err
    assert bool(done.sentence) == bool(sentence), "about the command's own failure there is nothing to say"


def test_a_command_that_a_signal_ends_has_its_number(start: Start, names: Names) -> None:
    """128 and the signal, as a shell says it."""
    words = ("sleep", f"1000.{secrets.randbits(60)}")
    process = start("run", "--rm", names.box, "sh", "-c", f"echo up; exec {' '.join(words)}")
    assert said(process) == "up\n"
    while (pid := running_as(*words)) is None:
        assert process.poll() is None
    os.kill(pid, signal.SIGKILL)
    assert process.wait() == 137


# --- what goes in --------------------------------------------------------------------------


def test_options_reach_the_command(box: Adl, names: Names, tmp_path: Path) -> None:
    """In docker's spellings: apart, joined, and with an equals sign; and after the image they are the command's."""
    (tmp_path / "file").write_text("from the host")
    tmp_path.chmod(0o755)
    script = 'echo "$HERE|$SET|$PWD|$(id -u):$(id -g)|$(hostname)|$(cat /data/file)|$0 $*"; env'
    done = box(
        *("run", "--rm", "-e", "HERE", "-eSET=a=b c", "--env=NOT_SET", "-w", "/new/dir", "--user=user:50"),
        *("--hostname=inside", f"-v{tmp_path}:/data:ro", "--entrypoint", "/bin/sh", names.box),
        *("-c", script, "-v", "--rm", "-e", "--", "--help"),
        env={"HERE": "value", "TERM": "here"},
    )
    assert done.code == 0, done.err
    first, *variables = done.out.splitlines()
    assert first == "value|a=b c|/new/dir|1000:50|inside|from the host|-v --rm -e -- --help"
    assert "FROM_IMAGE=yes" in variables
    assert not any(variable.startswith(("NOT_SET", "TERM=here")) for variable in variables)
    short = box("run", "--rm", "-h", "short", "-w/etc", "-u0", names.box, "sh", "-c", "hostname; pwd; id -u")
    assert short.out.splitlines() == ["short", "/etc", "0"]


def test_an_empty_option_is_as_good_as_none(box: Adl, names: Names) -> None:
    """Docker's scripts pass variables that may be empty."""
    script = "pwd; id -u; id -g; hostname"
    empty = box(
        *("run", "--rm", "-q", "-w", "", "-u", "", "--hostname=", "--name=", names.box, "sh", "-c", script)
    )
    assert re.fullmatch(r"/\n0\n0\n[0-9a-f]{12}\n", empty.out), empty
    half = box("run", "--rm", "-q", "-u", "user:", names.box, "sh", "-c", "id -u; id -g")
    assert half.out == "1000\n1000\n"
    group = box("run", "--rm", "-q", "-u", ":5", names.box, "sh", "-c", "id -u; id -g")
    assert group.out == "0\n5\n", "as with docker"


def test_names_of_containers_can_be_long(box: Adl, names: Names) -> None:
    """As docker's: they are in no path."""
    assert box("run", "--rm", "-q", "--name", "n" * 300, names.box).code == 0


def test_a_mount_of_another_kind_is_one_sentence(box: Adl, names: Names, tmp_path: Path) -> None:
    """A directory cannot lie over a file, nor a file over a directory."""
    (file := tmp_path / "file").touch()
    for source, target, kinds in (
        (tmp_path, "/etc/note", ("a directory", "a file")),
        (file, "/etc", ("a file", "a directory")),
    ):
        done = box("run", "--rm", "-v", f"{source}:{target}", names.box, "true")
        assert done.code == 125
        assert done.sentence == (
            f"cannot start the container: mounting {target}: "
            f"the source {source} is {kinds[0]}, and in the image there is {kinds[1]}"
        )


def test_standard_input_is_passed_on_only_if_asked(box: Adl, names: Names, tmp_path: Path) -> None:
    """Without -i not a byte of it is read: it may belong to somebody else."""
    (tmp_path / "input").write_text("typed\n")
    with (tmp_path / "input").open("rb") as file:
        assert box("run", "--rm", names.box, "cat", stdin=file.fileno()).out == ""
        assert file.seek(0, os.SEEK_CUR) == 0
        assert box("run", "--rm", "-i", names.box, "cat", stdin=file.fileno()).out == "typed\n"
    large = secrets.token_hex(200_000).encode()
    assert box("run", "--rm", "--interactive", names.box, "cat", stdin=large).out == large.decode()


def test_another_platform_is_pulled_anew(own_box: Adl, names: Names) -> None:
    """The image of the same name that is here does not do; the variable is docker's."""
    assert own_box("pull", names.multi).code == 0
    done = own_box("run", "--rm", names.multi, "sh", env={"DOCKER_DEFAULT_PLATFORM": "linux/arm64"})
    assert done.code == 127, "there is nothing in that image"
    assert f"{names.multi}:latest: ready" in done.err


def test_an_image_for_another_machine_is_warned_about(own_box: Adl, names: Names) -> None:
    """With docker's sentence, for what follows does not say why; unless the platform was asked for."""
    own_box("pull", "--platform=linux/arm64", names.multi)
    warning = (
        "Warning: The requested image's platform (linux/arm64) does not match the detected host platform "
        f"({Platform.here()}) and no specific platform was requested"
    )
    for quiet in ([], ["-q"]):
        assert warning in own_box("run", "--rm", *quiet, names.multi, "sh").err.splitlines()
    asked = own_box("run", "--rm", "--platform=linux/arm64", names.multi, "sh")
    assert (asked.code, "does not match" in asked.err) == (127, False)


# --- how it ends ---------------------------------------------------------------------------


def test_signals_are_passed_on(start: Start, names: Names) -> None:
    """To a command that may have an answer, and that decides when it ends."""
    names_of = ["INT", "QUIT", "USR1", "USR2", "ALRM"]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as below nohup, which wants it so
        names_of.append("HUP")
    script = "; ".join(f'trap "echo got {name}" {name}' for name in names_of)
    script += '; trap "echo got TERM; exit 6" TERM; echo up; while :; do sleep 0.1 & wait; done'
    process = start("run", "--rm", names.box, "sh", "-c", script)
    assert said(process) == "up\n"
    for name in (*names_of, *names_of[1:]):
        process.send_signal(signal.Signals[f"SIG{name}"])
        assert said(process) == f"got {name}\n"
    process.send_signal(signal.SIGTERM)
    assert said(process) == "got TERM\n"
    assert process.wait() == 6
    assert process.stderr is not None
    assert process.stderr.read().splitlines()[1:] == []


def test_the_third_interrupt_kills_a_command_that_ignores_them(start: Start, names: Names) -> None:
    """Whoever presses the key again and again is heard in the end."""
    script = 'trap "echo not me" INT TERM; echo up; while :; do sleep 9 & wait; done'
    process = start("run", "--rm", names.box, "sh", "-c", script)
    assert said(process) == "up\n"
    for number in (signal.SIGINT, signal.SIGTERM):
        process.send_signal(number)
        assert said(process) == "not me\n"
    process.send_signal(signal.SIGINT)
    assert process.wait(5) == 137
    assert process.stderr is not None
    assert process.stderr.read().splitlines()[1:] == [
        "aiodocker-lite: got 3 SIGTERM/SIGINTs, killing the container"
    ]


def test_switches_of_a_run_end_at_the_image(box: Adl, names: Names) -> None:
    """What follows belongs to the command; what an option takes is no switch."""
    done = box(
        "run", "--rm=true", "-e", "--rm=x", "-qe", "A=1", names.box, "sh", "-c", "echo $0 $A", "--rm=x"
    )
    assert (done.code, done.out) == (0, "--rm=x 1\n")
    kept = box("run", "--rm=false", "-q=true", "--name", "kept", names.box, "true")
    assert (kept.code, kept.err) == (0, "")
    assert box("rm", "kept").code == 0


def test_a_container_whose_engine_is_killed_goes_with_it(
    own_box: Adl, start: Start, names: Names, root: Path
) -> None:
    """Its process at once, and with --rm its files by the next run."""
    words = ("sleep", f"1000.{secrets.randbits(60)}")
    process = start("run", "--rm", names.box, "sh", "-c", f"echo up; {' '.join(words)}; true", root=root)
    assert said(process) == "up\n"
    process.kill()
    process.wait()
    assert process.stdout is not None
    assert process.stdout.read() == "", "the end of the container closes its output"
    assert own_box("run", "--rm", names.box, "true").code == 0
    assert own_box("ps", "--all", "--quiet").out == ""
    assert list((root / "containers").iterdir()) == []
    assert running_as(*words) is None


# --- ps and rm -----------------------------------------------------------------------------


def test_containers_are_listed_and_removed(own_box: Adl, start: Start, names: Names, root: Path) -> None:
    """Running ones by default; one that runs cannot be removed."""
    head = "CONTAINER ID   IMAGE   COMMAND   CREATED   STATUS   PORTS   NAMES\n"
    assert own_box("ps").out == head
    assert own_box("run", "--name", "ended", names.box, "sh", "-c", "exit 4 # a\033[2Jlong command").code == 4
    process = start("run", "--name", "alive", "-i", names.box, "cat", root=root, stdin=subprocess.PIPE)
    assert process.stdin is not None
    process.stdin.write("up\n")
    process.stdin.flush()
    assert said(process) == "up\n"

    (line,) = own_box("ps").out.splitlines()[1:]
    assert f'   {names.box}:latest   "cat"   ' in line
    assert "   Up " in line
    assert line.endswith("   alive")
    newest, oldest = own_box("ps", "-a").out.splitlines()[1:]
    assert newest.startswith(line[:12])
    assert '   "sh -c \'exit 4 # a\\x…"   ' in oldest, "what a terminal would obey is escaped"
    assert "   Exited (4)" in oldest
    assert "a\\x1b[2Jlong command" in own_box("ps", "-a", "--no-trunc").out
    taken = own_box("run", "--name", "ended", names.box)
    assert taken.code == 125
    assert taken.sentence.startswith(
        f'Conflict. The container name "/ended" is already in use by container "{oldest.split()[0]}'
    )

    (running,) = own_box("ps", "-q", "--no-trunc").out.split()
    done = own_box("rm", "alive", "nothing", "ended")
    assert (done.code, done.out) == (1, "ended\n")
    assert done.err.splitlines() == [
        (
            f"aiodocker-lite: You cannot remove a running container {running}. "
            "Stop the container before attempting removal or force remove"
        ),
        "aiodocker-lite: No such container: nothing",
    ]
    process.stdin.close()
    assert process.wait() == 0
    assert own_box("ps", "-aq").out.split() == [newest.split()[0]]
    assert own_box("rm", newest.split()[0][:6]).code == 0
    assert own_box("ps", "-aq").out == ""
