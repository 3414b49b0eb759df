"""`login`, `logout` and `serve`, as whole processes; with other people's registries and clients."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from aiodocker_lite.testing.images import image, layer, write_layout
from tests.fakes.archives import run_tool
from tests.fakes.certificates import Authority
from tests.fakes.commands import Adl, Names, Start, command, environment
from tests.fakes.credhelpers import Keeper, Programs
from tests.fakes.processes import PASSWORD, USER, RealRegistry

SECRET = f"{PASSWORD}\n".encode()


@pytest.fixture
def locked(basic_registry: RealRegistry, tmp_path: Path) -> str:
    """The name of an image in a registry that wants a password."""
    layout = write_layout(tmp_path / "layout", {"app": image(layer({"a": b"b"}))})
    return basic_registry.push(layout, "cli/app", "app")


def test_who_is_logged_in_can_pull(
    adl: Adl, basic_registry: RealRegistry, locked: str, tmp_path: Path
) -> None:
    """Until the logout; the password is kept where docker keeps it, and others cannot read it."""
    server = basic_registry.address
    denied = adl("pull", locked)
    assert denied.code == 1
    assert denied.sentence.startswith(f"pull access denied for {locked}:latest, repository does not exist or")
    assert "(credentials used: anonymous)" in denied.sentence

    wrong = adl("login", "-u", USER, "--password-stdin", server, stdin=b"wrong\n")
    assert (wrong.code, wrong.out) == (1, "")
    assert wrong.sentence == f"login to {server} failed: unauthorized: authentication required"
    config = tmp_path / ".docker/config.json"
    assert not config.exists()

    done = adl("login", "--username", USER, "--password-stdin", f"http://{server}/v2/", stdin=SECRET)
    assert (done.code, done.out, done.err) == (0, "Login Succeeded\n", "")
    assert config.stat().st_mode & 0o7777 == 0o600
    assert list(json.loads(config.read_text())["auths"]) == [server]
    assert adl("pull", "-q", locked).out == f"{locked}:latest\n"

    assert adl("logout", server).out == f"Removing login credentials for {server}\n"
    again = adl("logout", server)
    assert (again.code, again.out) == (0, f"Not logged in to {server}\n")
    assert adl("pull", locked).code == 1


def test_a_password_in_the_open_is_warned_about(adl: Adl, basic_registry: RealRegistry) -> None:
    """It works, as it does with docker; DOCKER_CONFIG says where it is kept."""
    done = adl(
        "login", "-u", USER, "-p", PASSWORD, basic_registry.address, env={"DOCKER_CONFIG": "/dev/null"}
    )
    assert done.err.splitlines()[0] == (
        "WARNING! Using --password via the CLI is insecure. Use --password-stdin."
    )
    assert done.code == 125
    assert done.sentence.startswith("cannot use /dev/null/config.json: ")


@pytest.fixture
def keeper(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Keeper:
    """A credential helper called `kept`, on the PATH that commands get."""
    return Programs(tmp_path / "bin", monkeypatch).add_keeper("kept")


def test_a_login_with_a_helper(
    adl: Adl, basic_registry: RealRegistry, locked: str, tmp_path: Path, keeper: Keeper
) -> None:
    """The secret is with the helper and in no file; a pull gets it there, and a refusal names the helper."""
    server, config = basic_registry.address, tmp_path / ".docker/config.json"
    config.parent.mkdir()
    config.write_text('{"credsStore": "kept"}')
    assert adl("login", "-u", USER, "--password-stdin", server, stdin=SECRET).out == "Login Succeeded\n"
    assert keeper.kept == {server: (USER, PASSWORD)}
    assert json.loads(config.read_text()) == {"credsStore": "kept", "auths": {server: {}}}
    done = adl("pull", "-q", locked)
    assert (done.out, done.err) == (f"{locked}:latest\n", "")
    keeper.put(server, USER, "s3cret")
    done = adl("pull", locked, env={"AIODOCKER_LITE_DEBUG": "1", "PYTHONASYNCIODEBUG": "1"})
    assert "(credentials used: docker-credential-kept (credsStore of ~/.docker/config.json))" in done.sentence
    assert "s3cret" not in done.out + done.err
    assert adl("logout", server).out == f"Removing login credentials for {server}\n"
    assert keeper.kept == {}


def test_a_broken_file_is_named_where_it_matters(adl: Adl, names: Names, locked: str, tmp_path: Path) -> None:
    """R26: not by a pull that needs no password; and by a login and a refusal."""
    config = tmp_path / ".docker/config.json"
    config.parent.mkdir()
    config.write_text("{")
    assert adl("pull", "-q", names.box).code == 0
    denied = adl("pull", locked)
    assert denied.code == 1
    assert denied.sentence.endswith(
        "(credentials used: anonymous, for we cannot use ~/.docker/config.json: it is not JSON (line 1))"
    )
    login = adl("login", "-u", USER, "--password-stdin", locked.partition("/")[0], stdin=SECRET)
    assert (login.code, login.sentence) == (
        125,
        "cannot use ~/.docker/config.json: it is not JSON (line 1)",
    )
    chosen = adl("pull", "--authfile", "/nowhere", locked)
    assert (chosen.code, chosen.sentence) == (
        125,
        "cannot use /nowhere: it cannot be read: No such file or directory",
    )


def test_an_authfile_is_written_and_read(
    adl: Adl, basic_registry: RealRegistry, locked: str, tmp_path: Path
) -> None:
    """By every verb that has to do with registries, or by the variable that podman knows."""
    server, path = basic_registry.address, str(tmp_path / "mine.json")
    login = adl("login", "--authfile", path, "-u", USER, "--password-stdin", server, stdin=SECRET)
    assert (login.code, login.out) == (0, "Login Succeeded\n")
    assert adl("pull", "-q", locked).code == 1
    assert adl("pull", "-q", "--authfile", path, locked).code == 0
    assert adl("rmi", locked).code == 0
    assert adl("pull", "-q", locked, env={"REGISTRY_AUTH_FILE": path}).code == 0
    assert adl("logout", "--authfile", path, server).out == f"Removing login credentials for {server}\n"
    assert not (tmp_path / ".docker").exists()


def test_credentials_for_one_command(adl: Adl, locked: str, tmp_path: Path) -> None:
    """Nothing is kept; who writes a password where `ps` shows it is warned."""
    done = adl("pull", "-q", "--creds", f"{USER}:{PASSWORD}", locked)
    assert (done.code, done.out) == (0, f"{locked}:latest\n")
    assert done.err == (
        "WARNING! A password in --creds is insecure: others see it in ps. "
        "With --creds USER it is asked for, with --creds - it is read from standard input.\n"
    )
    assert not (tmp_path / ".docker").exists()
    wrong = adl("pull", "--creds", f"{USER}:hunter2", locked)
    assert wrong.code == 1
    assert "(credentials used: --creds)" in wrong.sentence
    assert "hunter2" not in wrong.err
    run = adl("run", "--creds", f"{USER}:{PASSWORD}", "--rm", f"{locked}:gone")
    assert (run.code, run.sentence) == (125, f"manifest for {locked}:gone not found: manifest unknown")
    assert "aiodocker-lite: credentials used: --creds\n" in run.err


def test_credentials_from_standard_input(adl: Adl, locked: str, names: Names) -> None:
    """Of which the first line is read, so that nothing is to be seen in `ps`; what follows is for the container."""
    done = adl("pull", "-q", "--creds", "-", locked, stdin=f"{USER}:{PASSWORD}\n".encode())
    assert (done.code, done.out, done.err) == (0, f"{locked}:latest\n", "")
    words = ["--creds", "-", "-i", "--rm", names.box, "cat"]
    done = adl("run", "-q", *words, stdin=f"{USER}:{PASSWORD}\r\nfor the container\n".encode())
    assert (done.code, done.out) == (0, "for the container\n"), done.err
    for wrong in (b"", b"\n", f"{USER}\n".encode()):
        done = adl("pull", "-q", "--creds", "-", locked, stdin=wrong)
        assert done.code == 125
        assert done.sentence.startswith("invalid value for --creds: ")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--creds", "a:b", "localhost:1/x", "localhost:2/x"], "one password for several registries (localhost:1, "),
        (["--creds", ":b", "localhost:1/x"], "it has no user name"),
        (["--creds", "a:", "localhost:1/x"], "the password is empty"),
        (["--creds", "a", "localhost:1/x"], "it needs USER:PASSWORD where standard input is no terminal"),
    ],
)  # fmt: skip
def test_credentials_that_cannot_be_are_one_sentence(adl: Adl, words: list[str], sentence: str) -> None:
    """R05: above all a password for more than one registry."""
    done = adl("pull", *words)
    assert (done.code, done.out) == (125, "")
    assert done.sentence.startswith(f"invalid value for --creds: {sentence}")


def test_a_person_is_asked_for_one_command(locked: str, root: Path, tmp_path: Path) -> None:
    """`--creds USER` on a terminal: the password is in no argument and on no screen."""
    ours, terminal = os.openpty()
    words = ["pull", "-q", "--creds", USER, locked]
    argv = ["setsid", "--ctty", "--wait", *command(root, *words)]
    streams = {"stdin": terminal, "stdout": terminal, "stderr": terminal}
    with subprocess.Popen(argv, env=environment(tmp_path), **streams) as process:  # type: ignore[call-overload]
        os.close(terminal)
        screen = b""
        while not screen.endswith(b"Password: "):
            screen += os.read(ours, 100)
        os.write(ours, f"{PASSWORD}\n".encode())
        while f"{locked}:latest".encode() not in screen:
            screen += os.read(ours, 100)
        assert process.wait() == 0
    os.close(ours)
    assert PASSWORD.encode() not in screen


def test_a_person_is_asked(basic_registry: RealRegistry, root: Path, tmp_path: Path) -> None:
    """On a terminal, and nobody sees what is typed as password."""
    ours, terminal = os.openpty()
    argv = ["setsid", "--ctty", "--wait", *command(root, "login", basic_registry.address)]
    streams = {"stdin": terminal, "stdout": terminal, "stderr": terminal}
    with subprocess.Popen(argv, env=environment(tmp_path), **streams) as process:  # type: ignore[call-overload]
        os.close(terminal)
        screen = b""
        for asked, answer in ((b"Username: ", USER), (b"Password: ", PASSWORD)):
            while not screen.endswith(asked):
                screen += os.read(ours, 100)
            os.write(ours, f"{answer}\n".encode())
        while b"Succeeded" not in screen:
            screen += os.read(ours, 100)
        assert process.wait() == 0
    os.close(ours)
    assert PASSWORD.encode() not in screen
    assert screen.splitlines()[0] == f"Username: {USER}".encode()


@pytest.mark.parametrize(
    ("words", "stdin", "code", "sentence"),
    [
        (["--password-stdin"], b"x", 125, "invalid value for --password-stdin: it needs --username"),
        (["-u", "a", "--password-stdin"], b"", 125, "invalid value for --password-stdin: there is no password on"),
        (["-u", "a", "-p", ""], b"", 125, "invalid value for --password: the password is empty"),
        (["-u", "a", "-p", "b", "--password-stdin"], b"", 125, "invalid value for --password-stdin: it cannot"),
        (["-u", "a"], b"x", 125, "invalid value for --password-stdin: it is needed where standard input is no"),
        (["-u", "a", "--password-stdin", ""], b"x", 125, "invalid value for SERVER: '' has no host name"),
        (["-u", "a", "--password-stdin", "localhost:1"], b"x", 1, "cannot reach localhost:1: connection refus"),
    ],
    ids=["no user", "no password", "an empty password", "two passwords", "no terminal", "no server", "nobody there"],
)  # fmt: skip
def test_a_login_that_cannot_be_is_one_sentence(
    adl: Adl, words: list[str], stdin: bytes, code: int, sentence: str
) -> None:
    """Nobody is asked for what a script forgot."""
    done = adl("login", *words, stdin=stdin)
    assert (done.code, done.out) == (code, "")
    assert done.sentence.startswith(sentence), done.err


def test_the_store_is_served_until_a_signal(start: Start, names: Names, tmp_path: Path) -> None:
    """It says where; other tools pull from there; and it goes at once."""
    process = start("serve", "--bind", "127.0.0.1:0")
    assert process.stdout is not None
    line = process.stdout.readline()
    match = re.fullmatch(r"Serving /.* on http://127\.0\.0\.1:(\d+)\n", line)
    assert match, line
    name = f"docker://127.0.0.1:{match[1]}/{names.box.partition('/')[2]}"
    target = f"oci:{tmp_path / 'copy'}:latest"
    run_tool("skopeo", "--insecure-policy", "copy", "-q", "--src-tls-verify=false", name, target)
    assert (tmp_path / "copy/index.json").exists()
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=2) == 143
    assert process.stderr is not None
    assert process.stderr.read() == ""


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.com"])
def test_nobody_but_this_machine_is_served(adl: Adl, host: str) -> None:
    """Without TLS and a secret, unless that was said in so many words."""
    done = adl("serve", "--bind", f"{host}:0")
    assert (done.code, done.out) == (125, "")
    assert done.sentence.startswith("invalid value for bind: ")
    assert re.search("is not (a loopback|an IP) address", done.sentence)


@pytest.mark.parametrize("bind", ["", "5000", "127.0.0.1", "127.0.0.1:", "127.0.0.1:70000", "127.0.0.1:x"])
def test_what_is_no_address_is_one_sentence(adl: Adl, bind: str) -> None:
    """It needs both."""
    done = adl("serve", "--bind", bind)
    assert (done.code, done.out) == (125, "")
    assert done.sentence == f"invalid value for --bind: '{bind}' is not ADDRESS:PORT, such as 127.0.0.1:5000"


def test_the_store_is_served_to_who_has_a_secret(start: Start, names: Names, tmp_path: Path) -> None:
    """To other machines too, over TLS; what was asked is in a file, and answers end before the server does."""
    authority = Authority.make(tmp_path / "authority")
    cert, key = authority.issue("registry")
    (tmp_path / "users").write_text(f"{USER}:{PASSWORD}\n")
    log = tmp_path / "access.log"
    secrets = ("--tls-cert", str(cert), "--tls-key", str(key), "--password-file", str(tmp_path / "users"))
    process = start("serve", "--bind", "0.0.0.0:0", *secrets, "--access-log", str(log))
    assert process.stdout is not None
    match = re.fullmatch(r"Serving /.* on https://0\.0\.0\.0:(\d+)\n", process.stdout.readline())
    assert match
    name = f"docker://localhost:{match[1]}/{names.box.partition('/')[2]}"
    target = f"oci:{tmp_path / 'copy'}:latest"
    (tmp_path / "trust").mkdir()
    shutil.copy(authority.certificate, tmp_path / "trust")
    trust = ("--src-cert-dir", str(tmp_path / "trust"), "--src-creds", f"{USER}:{PASSWORD}")
    run_tool("skopeo", "--insecure-policy", "copy", "-q", *trust, name, target)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=5) == 143
    lines = log.read_text().splitlines()
    assert any(" 401 " in line for line in lines)
    assert any(f" - {USER} [" in line and "/manifests/" in line and " 200 " in line for line in lines)
    assert PASSWORD not in log.read_text()


def test_a_port_that_is_taken_is_one_sentence(adl: Adl, names: Names) -> None:
    """Which one, and why not."""
    port = names.registry.address.rpartition(":")[2]
    done = adl("serve", "--bind", f"127.0.0.1:{port}")
    assert done.code == 125
    assert done.sentence == f"invalid value for bind: 127.0.0.1:{port} is already in use"
