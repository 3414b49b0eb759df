"""`volume`: each action with the options that docker gives it."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.conftest import on
from tests.fakes.commands import Adl, Names, command, environment, run_command
from tests.fakes.docker import Client, dockerd
from tests.fakes.forks import Forks

MADE = (("keep",), ("tmpa",), ("xtmp", "--label", "a=b"), ("zoo", "--label=a=c", "--label", "d"))


@pytest.fixture(scope="module")
def docker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """With the same volumes."""
    with dockerd(tmp_path_factory.mktemp("docker")) as client:
        for words in MADE:
            assert client("volume", "create", *words)
        yield client


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With a store that has those volumes; leave them as they are."""
    home = tmp_path_factory.mktemp("home")
    for words in MADE:
        done = run_command(command(home / "store", "volume", "create", *words), environment(home))
        assert (done.code, done.out) == (0, f"{words[0]}\n"), done.err
    return home


@pytest.mark.parametrize(
    "words",
    [
        "ls -q",
        "ls -q -f name=tmp",
        "ls -qf=name=^tmp",
        "ls -q --filter name=tmp --filter name=keep",
        "ls -q -f name=nothing",
        "ls -q -f label=a",
        "ls -q -f label=a=b",
        "ls -q -f label=a -f label=d",
        "ls -q -f label=a -f name=tmp",
        "ls -q -f driver=local",
        "ls -q -f driver=other",
        "ls -q -f dangling=true",
        "ls -q -f dangling=false",
        "ls -q -f dangling=1",
        """ls --format '{{.Name}}:{{.Driver}}:{{.Scope}}:{{.Labels}}:{{.Label "a"}}:{{.Links}}:{{.Size}}'""",
        "ls --quiet --format '{{.Driver}}'",
        "inspect -f '{{.Name}}' tmpa nothing keep",
        "inspect --format='{{json .Labels}}' xtmp",
        "rm nothing",
        "rm -f nothing",
        "prune -f --filter label=nothing",
    ],
)
def test_an_action_is_dockers(docker: Client, forked: Forks, home: Path, words: str) -> None:
    """The same volumes, and the same exit code."""
    argv = ["volume", *shlex.split(words)]
    theirs = docker.run(*argv)
    ours = on(forked, home / "store", home)(*argv)
    assert (ours.code, ours.out) == (theirs.returncode, re.sub("Total reclaimed .*\n", "", theirs.stdout))


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("ls -f tmp", "invalid value for --filter: 'tmp' is not KEY=VALUE"),
        ("ls -f nothing=1", "invalid value for --filter: 'nothing' is none of name, dangling, label, driver"),
        ("ls -f dangling=perhaps", "invalid value for --filter: 'perhaps' is neither true nor false"),
        ("ls -f name=(", "invalid value for --filter: '(' is no pattern: "),
        ("ls tmpa", "Got unexpected extra argument(s) (tmpa)"),
        ("ls --force", "No such option: --force"),
        ("inspect", "Missing argument 'VOLUME...'."),
        ("create a b", "Got unexpected extra argument(s) (b)"),
        ("create -d nfs", "invalid value for --driver: there is only 'local', and not 'nfs'"),
        ("create --label =x", "invalid value for --label: '=x' has no name"),
        ("create -o size=1", "--opt is not supported"),
        ("rm", "Missing argument 'VOLUME...'."),
        ("rm -q tmpa", "No such option: -q"),
        ("prune -f tmpa", "Got unexpected extra argument(s) (tmpa)"),
        ("prune -f --filter name=x", "invalid value for --filter: 'name' is none of label, label!"),
    ],
)
def test_what_is_not_understood_is_refused(forked: Forks, home: Path, words: str, sentence: str) -> None:
    """In one sentence, and nothing is done."""
    done = on(forked, home / "store", home)("volume", *words.split())
    assert (done.code, done.out) == (125, "")
    assert done.sentence.startswith(sentence), done.err


def test_prune_takes_what_nobody_named(own_box: Adl, names: Names) -> None:
    """With --all also what has a name, as docker does since version 23; and never what a container has."""
    anonymous = own_box("volume", "create").out.strip()
    assert re.fullmatch("[0-9a-f]{64}", anonymous)
    for words in (["kept"], ["xa", "--label", "x"], ["xb", "--label", "x=1"]):
        assert own_box("volume", "create", *words).code == 0
    assert own_box("run", "-q", "-v", "used:/u", names.box, "true").code == 0
    assert own_box("volume", "ls", "-q", "-f", "dangling=false").out == "used\n"
    assert own_box("volume", "prune", stdin=b"n\n").code == 1
    agreed = own_box("volume", "prune", stdin=b"y\n").out
    assert agreed.startswith("WARNING! This will remove anonymous local volumes not used by at least one")
    assert agreed.endswith(f"[y/N] Deleted Volumes:\n{anonymous}\n")
    assert own_box("volume", "prune", "-f").out == ""
    assert own_box("volume", "prune", "-af", "--filter", "label=x=1").out == "Deleted Volumes:\nxb\n"
    assert own_box("volume", "prune", "-af", "--filter", "label!=x").out == "Deleted Volumes:\nkept\n"
    assert own_box("volume", "prune", "-af").out == "Deleted Volumes:\nxa\n"
    assert own_box("volume", "ls", "--format", "{{.Name}}").out == "used\n"
