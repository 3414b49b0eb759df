"""Detached containers of ordinary users, with and without subordinate ids."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.cli.test_detached import COUNTING, monitors
from tests.fakes.commands import Adl, Done, Names, command, environment, polite, run_command
from tests.fakes.forks import forks
from tests.fakes.processes import program
from tests.runtime.cage import NOBODY

CAGE = str(Path(__file__).parents[1] / "runtime" / "cage.py")
pytestmark = pytest.mark.root


@pytest.fixture(scope="module")
def archive(stocked: Path, names: Names, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The image of the command line's tests, for whoever may read it."""
    path = tmp_path_factory.mktemp("archive") / "box.tar"
    done = run_command(command(stocked, "save", "-o", str(path), names.box), environment(path.parent))
    assert done.code == 0, done.err
    return path


@pytest.fixture(scope="module", params=["one-id", "ids"])
def home(archive: Path, request: pytest.FixtureRequest) -> Iterator[tuple[Path, Adl]]:
    """The directory of an ordinary user who has the image, and the command line as this user runs it."""
    if os.geteuid() != 0:
        pytest.skip("needs uid 0")
    program("newuidmap")
    rights = "ordinary-user" if request.param == "one-id" else "ordinary-user:nobody:200000:65536"
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as place,
        forks(environment(Path(place)), sys.executable, CAGE, rights) as forked,
    ):
        home = Path(place)
        os.chown(home, NOBODY, NOBODY)

        def adl(*words: str, stdin: bytes | int | None = None, env: Mapping[str, str] | None = None) -> Done:
            environ = environment(home, **(env or {}))
            return polite(*forked.run(["--root", str(home / "store"), *words], environ, stdin))

        assert adl("load", stdin=archive.read_bytes()).code == 0
        yield home, adl
        assert adl("ps", "-aq").out == ""
        assert monitors(home / "store") == {}


@pytest.fixture
def user(home: tuple[Path, Adl]) -> Adl:
    """The command line as an ordinary user runs it."""
    return home[1]


def test_a_life(user: Adl, names: Names) -> None:
    """It is started, listed, read, stopped, started anew, killed and removed."""
    assert user("run", "-dq", "--name", "one", names.box, "sh", "-c", COUNTING).err == ""
    assert user("ps", "--format", "{{.Names}} {{.State}}").out == "one running\n"
    assert user("stop", "one").out == "one\n"
    logs = user("logs", "-f", "one")
    assert (logs.out, logs.err) == ("up\nbye\n", "oh\n")
    assert user("wait", "one").out == "3\n"
    assert user("restart", "-t", "1", "one").code == 0
    assert "You cannot remove a running container" in user("rm", "one").sentence
    assert user("kill", "one").code == 0
    assert user("wait", "one").out == "137\n"
    assert user("start", "one").code == 0
    assert user("rm", "-f", "one").out == "one\n"


def test_a_terminal(user: Adl, names: Names) -> None:
    """What is written on it is kept."""
    assert user("run", "-dqt", "--name", "one", names.box, "tty").err == ""
    assert user("wait", "one").out == "0\n"
    assert user("logs", "one").out.startswith("/dev/pts/")
    assert user("rm", "one").code == 0


@pytest.mark.parametrize("end", ["exec sleep 1000", "true"], ids=["running", "ended"])
def test_files_go_both_ways(home: tuple[Path, Adl], names: Names, end: str) -> None:
    """As the user's own on this side, and as root's on the other."""
    place, user = home
    script = f"while ! test -e /go; do sleep 0.02; done; {end}"
    assert user("run", "-dq", "--name", "one", names.box, "sh", "-c", script).err == ""
    assert user("cp", "/etc/hostname", "one:/go").err == ""
    if end == "true":
        assert user("wait", "one").out == "0\n"
    assert user("cp", "/etc/hostname", "one:/in").err == ""
    assert user("cp", "one:/in", str(place / "out")).err == ""
    assert (place / "out").read_bytes() == Path("/etc/hostname").read_bytes()
    assert (place / "out").stat().st_uid == NOBODY
    (place / "out").unlink()
    assert user("rm", "-f", "one").code == 0


def test_a_volume_outlives_a_container(user: Adl, names: Names) -> None:
    """It is in use until that is removed, and then can be."""
    script = "echo x >>/data/f; cat /data/f"
    assert user("run", "-dq", "--name", "one", "-v", "data:/data", names.box, "sh", "-c", script).err == ""
    assert user("wait", "one").out == "0\n"
    assert "in use" in user("volume", "rm", "data").sentence
    assert user("rm", "one").code == 0
    assert user("run", "--rm", "-q", "-v", "data:/data", names.box, "cat", "/data/f").out == "x\n"
    assert user("volume", "rm", "data").out == "data\n"


@pytest.mark.parametrize("option", ["-m=64m", "--ulimit=nofile=999999999"])
def test_a_limit_that_cannot_be_set_is_refused(user: Adl, names: Names, option: str) -> None:
    """In a sentence that says which, and nothing stays with --rm."""
    done = user("run", "-dq", "--rm", option, names.box, "true")
    assert done.code == 125
    assert any(word in done.sentence for word in ("memory", "nofile")), done.err


def test_a_network_that_cannot_be_made_is_refused(user: Adl, names: Names) -> None:
    """Or it is made; never is a container without it taken for one that has it."""
    done = user("run", "-q", "--rm", "--network", "private", names.box, "cat", "/proc/net/dev")
    assert (done.code, done.sentence[:30]) == (125, "the network could not be made ") or "eth0:" in done.out


def test_a_user_of_the_image(user: Adl, names: Names, request: pytest.FixtureRequest) -> None:
    """Can be had with subordinate ids, and without them a sentence says what is missing."""
    done = user("run", "-dq", "--name", "one", "-u", "user", names.box, "id", "-u")
    if "ids]" in request.node.name and "one-id]" not in request.node.name:
        assert user("wait", "one").out == "0\n"
        assert user("logs", "one").out == "1000\n"
    else:
        assert (done.code, "no subordinate ids" in done.sentence) == (125, True)
    assert user("rm", "one").code == 0
