"""Exit codes of the verbs, beside docker's: what is not there, what cannot be understood, what cannot be."""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.conftest import on
from tests.fakes.commands import Adl, Names
from tests.fakes.docker import Client, dockerd
from tests.fakes.forks import Forks

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="dockerd needs root")
Both = tuple[Client, Adl]


@pytest.fixture(scope="module")
def both(
    stocked: Path, names: Names, forked: Forks, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Both]:
    """Docker and us, each with a container that runs, `up`, and one that has ended, `fin`."""
    place = tmp_path_factory.mktemp("codes")
    root = place / "store"
    subprocess.run(["cp", "-a", str(stocked), str(root)], check=True)
    adl = on(forked, root, place)
    assert adl("save", "-o", str(place / "box.tar"), names.box).code == 0
    with dockerd(place) as docker:
        assert docker("load", "-i", str(place / "box.tar")) is not None
        for started in (
            ("--name", "fin", names.box, "sh", "-c", "exit 3"),
            ("--name", "up", names.box, "sleep", "1000"),
        ):
            docker.run("run", "-d", *started)
            adl("run", "-dq", *started)
        yield docker, adl
        docker.run("rm", "-f", "up", "fin")
        assert adl("rm", "-f", "up", "fin").code == 0


ALIKE = """
rm nope|stop nope|kill nope|start nope|restart nope|wait nope|logs nope|inspect nope|top nope|port nope
exec nope true|cp nope:/x .|rename nope x|stats --no-stream nope|rm -f nope|volume rm nope|volume rm -f nope
volume inspect nope|rmi nope|tag nope x|save nope|inspect --type image up|inspect --type container nope
rm --bad up|stop --bad up|kill --bad up|start --bad up|wait --bad up|logs --bad up|exec --bad up true|cp --bad a up:/b
inspect --bad up|rename --bad up x|ps --bad|volume ls --bad|volume create --bad x|images --bad|port --bad up
stop -t x up|restart -t x up|kill -s NOPE up|kill -s 0 up|kill -s 99 up|ps -n x|exec -e = up true|logs --tail x fin
rename up fin|rename up a/b|rename up up|volume create a/b|volume create v|volume create v|volume rm v nope
exec fin true|kill fin|top fin|rm up|cp up:/nope .|cp up:/etc/passwd ./no/where/x|wait fin|wait fin nope|stop fin|stop fin nope
exec up sh -c 'exit 5'|exec -it up true|port fin|port up|port up 80|kill fin nope
"""
NOT_ALIKE = {
    "rm": "too few or too many words are 125, as an unknown option is; docker's 1",
    "logs fin up": "the same",
    "ps -f nope=1": "what an option cannot be is 125 whoever notices it; where docker's daemon does, it is 1",
    "logs --since x fin": "the same",
    "exec up nothing": "127, as `run` has it, and docker of later versions",
}


def of(text: str) -> list[str]:
    return [line for line in text.replace("\n", "|").split("|") if line]


@pytest.mark.parametrize("line", of(ALIKE))
def test_a_verb_ends_as_dockers(both: Both, line: str) -> None:
    """The same exit code, and the same on standard output."""
    docker, adl = both
    words = shlex.split(line)
    theirs, ours = docker.run(*words), adl(*words)
    assert (ours.code, ours.out) == (theirs.returncode, theirs.stdout), (ours.err, theirs.stderr)


def test_a_user_that_is_not_there_is_told_on_standard_error(both: Both) -> None:
    """With docker's exit code; docker has the sentence of its runtime on standard output."""
    docker, adl = both
    words = ("exec", "-u", "nobody-here", "up", "true")
    ours = adl(*words)
    assert (ours.code, ours.out) == (docker.run(*words).returncode, "")
    assert "unable to find user nobody-here" in ours.err


@pytest.mark.parametrize("line", NOT_ALIKE)
def test_where_it_does_not_it_is_meant(both: Both, line: str) -> None:
    """Both fail; if they come to do so alike, it belongs into the other table."""
    docker, adl = both
    words = line.split()
    theirs, ours = docker.run(*words), adl(*words)
    assert 0 != ours.code != theirs.returncode != 0
