"""The command table: what each verb says of itself, what it refuses, and what it does not import."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from aiodocker_lite import __version__
from aiodocker_lite.cli.lacking import lacking
from aiodocker_lite.cli.verbs import build
from tests.fakes.commands import Adl, Names, command, environment, run_command

VERBS = [
    (
        "pull [OPTIONS] NAME[:TAG|@DIGEST]...",
        "-q,--quiet --platform --insecure --tls-verify --cert-dir --creds --authfile --jobs --policy --limit --max-store --discard-blobs --progress --trace --explain -h,--help",
    ),
    (
        "prefetch [OPTIONS] [NAME[:TAG|@DIGEST]...]",
        "-f,--file --kind --profile --env-file --ignore-buildable --build-arg --lock --locked --emit --mirror -o,--output --dry-run --keep-going --max-pulls --wait-quota --report --format -q,--quiet --platform --insecure --tls-verify --cert-dir --creds --authfile --jobs --limit --max-store --discard-blobs --progress --trace --explain -h,--help",
    ),
    (
        "load [OPTIONS]",
        "-i,--input -q,--quiet --platform --progress --limit --discard-blobs --no-tags --trace --explain -h,--help",
    ),
    ("save [OPTIONS] IMAGE...", "-o,--output --format -h,--help"),
    (
        "run [OPTIONS] IMAGE [COMMAND] [ARG]...",
        (
            "-e,--env --env-file -w,--workdir -u,--user --group-add -v,--volume --mount --tmpfs --read-only --name --cidfile "
            "-l,--label --label-file --entrypoint -h,--hostname --domainname --add-host --dns --dns-search --dns-option "
            "--restart --init --stop-signal --stop-timeout --ulimit --shm-size -m,--memory --memory-swap --memory-reservation --cpus "
            "-c,--cpu-shares --cpu-period --cpu-quota --cpuset-cpus --cpuset-mems --pids-limit --oom-score-adj --cap-add "
            "--cap-drop --security-opt --privileged --device --sysctl --ipc --uts --pid --network -p,--publish -P,--publish-all --userns --log-driver -a,--attach --require-isolation --runtime "
            "-d,--detach --rm -i,--interactive -t,--tty --sig-proxy --platform --pull --insecure --tls-verify --cert-dir --creds --authfile --limit --discard-blobs -q,--quiet --help"
        ),
    ),
    ("images [OPTIONS] [NAME[:TAG]]", "-q,--quiet --no-trunc --format -h,--help"),
    ("inspect [OPTIONS] NAME...", "-f,--format --type -h,--help"),
    ("tag [OPTIONS] IMAGE NAME[:TAG]", "-h,--help"),
    ("rmi [OPTIONS] IMAGE...", "-f,--force -h,--help"),
    (
        "ps [OPTIONS]",
        "-a,--all -q,--quiet -s,--size -n,--last -l,--latest --no-trunc -f,--filter --format -h,--help",
    ),
    ("port [OPTIONS] CONTAINER [PORT[/PROTOCOL]]", "-h,--help"),
    (
        "exec [OPTIONS] CONTAINER COMMAND [ARG]...",
        "-d,--detach -e,--env --env-file -i,--interactive --privileged -t,--tty -u,--user -w,--workdir -h,--help",
    ),
    ("logs [OPTIONS] CONTAINER", "-f,--follow -n,--tail -t,--timestamps --since --until -h,--help"),
    ("start [OPTIONS] CONTAINER...", "-a,--attach -h,--help"),
    ("stop [OPTIONS] CONTAINER...", "-t,--timeout -s,--signal -h,--help"),
    ("restart [OPTIONS] CONTAINER...", "-t,--timeout -s,--signal -h,--help"),
    ("kill [OPTIONS] CONTAINER...", "-s,--signal -h,--help"),
    ("wait [OPTIONS] CONTAINER...", "-h,--help"),
    ("rm [OPTIONS] CONTAINER...", "-f,--force -v,--volumes -h,--help"),
    ("rename [OPTIONS] CONTAINER NEW_NAME", "-h,--help"),
    ("stats [OPTIONS] [CONTAINER...]", "-a,--all --no-stream --no-trunc --format -h,--help"),
    ("top [OPTIONS] CONTAINER", "-h,--help"),
    ("attach [OPTIONS] CONTAINER", "-h,--help"),
    ("cp [OPTIONS] SOURCE TARGET", "-a,--archive -L,--follow-link -q,--quiet -h,--help"),
    (
        "verify [OPTIONS] [IMAGE...]",
        "--repair --insecure --tls-verify --cert-dir --authfile --limit --progress -h,--help",
    ),
    ("volume ls [OPTIONS]", "-f,--filter --format -q,--quiet -h,--help"),
    ("volume create [OPTIONS] [VOLUME]", "-d,--driver --label -h,--help"),
    ("volume inspect [OPTIONS] VOLUME...", "-f,--format -h,--help"),
    ("volume rm [OPTIONS] VOLUME...", "-f,--force -h,--help"),
    ("volume prune [OPTIONS]", "-a,--all --filter -f,--force -h,--help"),
    ("prune [OPTIONS]", "-a,--all -f,--force --partial-older-than --partial-max --only -h,--help"),
    ("df [OPTIONS]", "--format -h,--help"),
    ("info [OPTIONS]", "-f,--format -h,--help"),
    ("doctor [OPTIONS]", "-h,--help"),
    ("version [OPTIONS]", "-f,--format -h,--help"),
    (
        "login [OPTIONS] [SERVER]",
        "-u,--username -p,--password --password-stdin --authfile --insecure --tls-verify --cert-dir -h,--help",
    ),
    ("logout [OPTIONS] [SERVER]", "--authfile -h,--help"),
    (
        "serve [OPTIONS]",
        "--bind --tls-cert --tls-key --token-file --password-file --insecure --max-connections --max-per-client --idle-timeout --drain-timeout --access-log -h,--help",
    ),
    ("unshare [OPTIONS] [COMMAND] [ARG]...", "-h,--help"),
]
NAMES = [usage.partition(" [")[0] for usage, _ in VERBS]
HEAVY = {"aiohttp", "aiofiles", "rich", "typer.rich_utils", "uvloop", "pydantic"}


# --- help ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("usage", "options"), VERBS, ids=NAMES)
def test_every_verb_has_help(adl: Adl, root: Path, usage: str, options: str) -> None:
    """On standard output, in docker's notation, with a word about each option; and without a store."""
    done = adl(*usage.partition(" [")[0].split(), "--help")
    assert (done.code, done.err) == (0, "")
    assert done.out.splitlines()[0] == f"Usage: aiodocker-lite {usage}"
    offered = re.findall(
        r"^  (?:(-\w), )?(--[a-z-]+)(?:, --[a-z-]+)?(?: \S+)?\s+\S.*$", done.out, re.MULTILINE
    )
    assert [",".join(filter(None, names)) for names in offered] == options.split()
    assert max(map(len, done.out.splitlines())) <= 80
    assert not root.exists()


@pytest.mark.parametrize(
    ("words", "usage"),
    [
        ("container ls", "ps [OPTIONS]"),
        ("container rm", "rm [OPTIONS] CONTAINER..."),
        ("container stats", "stats [OPTIONS] [CONTAINER...]"),
        ("container inspect", "inspect [OPTIONS] NAME..."),
        ("image ls", "images [OPTIONS] [NAME[:TAG]]"),
        ("image rm", "rmi [OPTIONS] IMAGE..."),
        ("image prune", "prune [OPTIONS]"),
        ("system df", "df [OPTIONS]"),
        ("volume list", "volume ls [OPTIONS]"),
        ("volume", "volume create|inspect|list|ls|prune|remove|rm"),
        ("image", "image inspect|list|load|ls|prune|pull|remove|rm|save|tag"),
    ],
)
def test_docker_has_two_words_for_a_verb(adl: Adl, words: str, usage: str) -> None:
    """Which is the same one, with its options."""
    assert adl(*words.split(), "--help").out.splitlines()[0] == f"Usage: aiodocker-lite {usage}"


def test_a_second_word_that_is_none_is_a_mistake(adl: Adl) -> None:
    """In one sentence that has those there are."""
    done = adl("system", "reboot")
    assert (done.code, done.out) == (125, "")
    assert done.sentence == "invalid value for system: it is followed by one of df|info|prune"


def test_the_command_line_has_help(adl: Adl) -> None:
    """With all verbs, and for who types nothing."""
    done = adl("--help")
    assert done.code == 0
    assert re.findall(r"^  ([a-z]+(?: [a-z]+)?)  ", done.out.partition("Commands:")[2], re.MULTILINE) == NAMES
    assert "..." not in done.out.partition("Commands:")[2], "each says it in one line"
    assert adl() == done
    assert adl("-h") == done


@pytest.mark.parametrize("program", ["aiodocker-lite", "adl"])
def test_the_version_is_printed(tmp_path: Path, program: str) -> None:
    """By both names that are installed."""
    done = run_command([str(Path(sys.executable).with_name(program)), "--version"], environment(tmp_path))
    assert (done.code, done.out, done.err) == (0, f"aiodocker-lite {__version__}\n", "")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nothing"], ["No such command 'nothing'.", "see: aiodocker-lite --help"]),
        (["prun"], ["No such command 'prun'.", "see: aiodocker-lite --help"]),
        (["commit", "x"], ["'docker commit' is not supported"]),
        (
            ["create", "x"],
            ["'docker create' is not supported", "hint: 'run -d' makes a container and starts it"],
        ),
        (
            ["container", "update"],
            ["'docker container update' is not supported", "hint: options are given to 'run'"],
        ),
        (
            ["network", "ls"],
            [
                "'docker network' is not supported",
                "hint: 'run --network' says which one a container has, and 'info' which there are",
            ],
        ),
        (["--nothing"], ["No such option: --nothing", "see: aiodocker-lite --help"]),
        (["pull", "--nothing"], ["No such option: --nothing", "see: aiodocker-lite pull --help"]),
        (["run", "--rm=x"], ["invalid value for --rm: 'x' is neither true nor false"]),
        (["run", "--name"], ["Option '--name' requires an argument.", "see: aiodocker-lite run --help"]),
        (["run", "--net-alias=a", "x"], ["--net-alias is not supported"]),
        (["pull", "-a", "x"], ["--all-tags is not supported"]),
        (["rm", "-l", "x"], ["--link is not supported"]),
        (
            ["volume", "ls", "x"],
            ["Got unexpected extra argument(s) (x)", "see: aiodocker-lite volume ls --help"],
        ),
        (["volume", "rm"], ["Missing argument 'VOLUME...'.", "see: aiodocker-lite volume rm --help"]),
        (["volume", "create", "-o", "x"], ["--opt is not supported"]),
        (["rmi"], ["Missing argument 'IMAGE...'.", "see: aiodocker-lite rmi --help"]),
    ],
    ids=" ".join,
)
def test_a_mistake_shows_the_way_to_help(adl: Adl, words: list[str], said: list[str]) -> None:
    """With docker's exit code for it, and nothing on standard output."""
    done = adl(*words)
    assert (done.code, done.out) == (125, "")
    assert done.err.splitlines() == [f"aiodocker-lite: {line}" for line in said]


def test_no_option_is_both_there_and_not_supported(adl: Adl) -> None:
    """What a verb's help offers is not among what docker has and we have not."""
    for verb, (_, options) in zip(NAMES, VERBS, strict=True):
        assert [name for name in re.split("[ ,]", options) if lacking(verb, name)] == []


@pytest.mark.parametrize(
    ("words", "out"),
    [
        (["--format=json", "--quiet=false"], ""),
        (["--quiet=true"], ""),
        (["-q=1", "nothing"], ""),
        (["--no-trunc=F", "nothing", "-q=0"], "IMAGE NAME   SIZE   CONTENT VERIFIED\n"),
        (["--quiet", "--", "--quiet=x"], ""),
        (["-q=F", "--format", "{{.ID}}"], ""),
    ],
    ids=lambda words: " ".join(words) if isinstance(words, list) else "",
)
def test_switches_can_have_a_value(adl: Adl, words: list[str], out: str) -> None:
    """As docker's; behind -- nothing is an option."""
    done = adl("images", *words)
    assert (done.code, done.out) == (0, out)


@pytest.mark.parametrize(
    ("written", "plain"),
    [
        ("run -w=/tmp BOX pwd", "run -w /tmp BOX pwd"),
        ("run -w== BOX pwd -w=/x", "run -w = BOX pwd -w=/x"),
        ("run -w= BOX pwd", "run -w = BOX pwd"),
        ("run -itw=/x -u=1 BOX", "run -it -w /x -u 1 BOX"),
        ("run -e=A=1 -v=vx:/y -m=64m -l=a=b BOX", "run -e A=1 -v vx:/y -m 64m -l a=b BOX"),
        ("run -ti=false BOX", "run -t BOX"),
        ("run -i=F BOX", "run BOX"),
        ("run -ie A=1 -tw / BOX -i=false", "run -i -e A=1 -t -w / BOX -i=false"),
        ("ps -an=1 -q=t", "ps -a -n 1 -q"),
        ("ps -f=name=x", "ps -f name=x"),
        ("stop -t=1 A -s=INT B", "stop -t 1 A -s INT B"),
        ("stop -t 1 -- -t=1", "stop -t 1 -- -t=1"),
    ],
)
def test_a_short_option_drops_one_equals_sign(written: str, plain: str) -> None:
    """As docker's does before a value, alone and behind others: what is read is what `plain` says."""

    def read(line: str) -> object:
        verb, *words = line.split()
        group = build({verb: {"run": "run", "ps": "listing", "stop": "containers"}[verb]})
        return group.commands[verb].make_context(verb, words).params

    assert read(written) == read(plain)


# --- imports -------------------------------------------------------------------------------


def imported(report: str) -> set[str]:
    """The modules in the report of `python -X importtime`."""
    return set(re.findall(r"^import time:.*\|\s*(\S+)\s*$", report, re.MULTILINE))


@pytest.mark.parametrize(
    "words",
    [
        "images",
        "inspect BOX",
        "ps -a",
        "ps --format {{.Names}}",
        "df",
        "save -o /dev/null BOX",
        "run --rm BOX true",
        "run --help",
        "--help",
        "--version",
    ],
)
def test_what_needs_no_network_loads_no_network_code(
    stocked: Path, names: Names, tmp_path: Path, words: str
) -> None:
    """Each of these imports takes longer than the command itself."""
    argv = command(stocked, *words.replace("BOX", names.box).split())
    done = run_command([argv[0], "-X", "importtime", *argv[1:]], environment(tmp_path))
    assert done.code == 0
    found = imported(done.err)
    assert "typer" in found
    assert not found & HEAVY


def test_a_cached_run_on_a_terminal_draws_nothing(stocked: Path, names: Names, tmp_path: Path) -> None:
    """So it does not load what draws, either."""
    ours, terminal = os.openpty()
    argv = command(stocked, "run", "--rm", names.box, "true")
    environ = environment(tmp_path, TERM="xterm-256color", PYTHONPROFILEIMPORTTIME="1")
    with (
        subprocess.Popen(argv, env=environ, stderr=terminal) as process,
        os.fdopen(ours, "rb", buffering=0) as screen,
    ):
        os.close(terminal)
        shown = b""
        with suppress(OSError):  # the end of a terminal that nobody has open any more
            while chunk := screen.read(1 << 16):
                shown += chunk
        assert process.wait() == 0
    report = shown.decode().replace("\r", "")
    assert "Environment detected: " in report
    assert "aiodocker_lite.cli.live" in imported(report)
    assert not imported(report) & HEAVY
    assert "\x1b" not in report
