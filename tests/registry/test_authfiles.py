"""Docker's and podman's files of credentials: read as both do, written whole, and never shown."""

from __future__ import annotations

import base64
import json
import os
import stat
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from aiodocker_lite.errors import InvalidOption, UnusableConfig
from aiodocker_lite.registry.authfiles import HUB_KEY, AuthFile, check_carried, default_files
from aiodocker_lite.registry.configfile import read_config
from aiodocker_lite.registry.credentials import Credential
from aiodocker_lite.registry.credhelpers import Helper


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def written(path: Path, content: object) -> AuthFile:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return AuthFile.read(path)


def read_all(path: Path) -> None:
    file = AuthFile.read(path)
    file.helper("r.example.com")
    file.credential("r.example.com")


def username_in(file: AuthFile, name: str) -> str | None:
    found = file.credential(name)
    return found.username if found else None


@pytest.mark.parametrize(
    ("key", "registry"),
    [
        ("localhost:5000", "localhost:5000"),
        ("https://localhost:5000", "localhost:5000"),
        ("http://localhost:5000/v2/", "localhost:5000"),
        ("https://localhost:5000/some/api/docker", "localhost:5000"),
        (HUB_KEY, "docker.io"),
        ("docker.io", "docker.io"),
        ("index.docker.io", "docker.io"),
    ],
)
def test_a_registry_is_found_under_the_keys_that_clients_wrote(
    docker_config: Path, key: str, registry: str
) -> None:
    """Docker Hub has a key of its own; old clients wrote whole URLs."""
    file = written(docker_config, {"auths": {key: {"auth": encoded("me:pass:word")}}})
    source = f"~/.docker/config.json auths['{key}']"
    assert file.credential(f"{registry}/team/app") == Credential("me", "pass:word", source)


@pytest.mark.parametrize(
    "key",
    [
        *("localhost", "localhost:5001", "xlocalhost:5000", "evil.com/localhost:5000", "localhost:5000.evil.com"),
        *("localhost:5000/teams", "localhost:5000/team/application", "localhost:5000/other/app"),
        *("https://localhost:5000@evil.com/", "https://evil.com/localhost:5000", "ftp://localhost:5000/team"),
    ],
)  # fmt: skip
def test_the_password_of_another_place_is_not_found(docker_config: Path, key: str) -> None:
    """R05: host and port must be the same, and a namespace whole."""
    file = written(docker_config, {"auths": {key: {"auth": encoded("me:secret")}}})
    assert file.credential("localhost:5000/team/app") is None
    assert file.helper("localhost:5000") is None


def test_the_closest_namespace_wins(docker_config: Path) -> None:
    """As podman reads them: repository, then what it is in, then the registry; other places have their own."""
    keys = ["r.example.com/team/app", "r.example.com", "r.example.com/team", "docker.io/library", HUB_KEY]
    file = written(docker_config, {"auths": {key: {"username": key, "password": "pw"} for key in keys}})
    assert username_in(file, "r.example.com/team/app") == "r.example.com/team/app"
    assert username_in(file, "r.example.com/team/app/part") == "r.example.com/team/app"
    assert username_in(file, "r.example.com/team/other") == "r.example.com/team"
    assert username_in(file, "r.example.com/teams/app") == "r.example.com"
    assert username_in(file, "r.example.com") == "r.example.com"
    assert username_in(file, "docker.io/library/alpine") == "docker.io/library"
    assert username_in(file, "docker.io/team/app") == HUB_KEY


@pytest.mark.parametrize(
    ("entry", "credential"),
    [
        ({"username": "me", "password": "pw"}, Credential("me", "pw", "")),
        ({"auth": encoded("me:pw\0")}, Credential("me", "pw", "")),
        ({"auth": encoded("me:pw"), "username": "not", "password": "this"}, Credential("me", "pw", "")),
        ({"auth": encoded("me:"), "identitytoken": "it"}, Credential("me", "", "", identity_token="it")),
        ({"identitytoken": "it"}, Credential("", "", "", identity_token="it")),
        ({"registrytoken": "rt"}, Credential("", "", "", registry_token="rt")),
    ],
)
def test_an_entry_is_read_in_all_its_forms(
    docker_config: Path, entry: object, credential: Credential
) -> None:
    """User name and password in base64 or plain, identity token, registry token."""
    found = written(docker_config, {"auths": {"r.example.com": entry}}).credential("r.example.com/app")
    assert found == replace(credential, source="~/.docker/config.json auths['r.example.com']")


@pytest.mark.parametrize(
    "content",
    [None, "", "  \n", "{}", '{"auths": null}', '{"auths": []}', '{"auths": {"r.example.com": {}}}'],
)
def test_without_an_entry_there_is_no_credential(docker_config: Path, content: str | None) -> None:
    """A file that is absent, empty, or has docker's mark without a secret."""
    if content is not None:
        written(docker_config, content)
    assert AuthFile.read(docker_config).credential("r.example.com") is None


@pytest.mark.parametrize(
    ("config", "entry"),
    [
        ({"credsStore": "pass"}, Helper("pass", "r.example.com", "credsStore of ~/.docker/config.json")),
        (
            {"credsStore": "pass", "credHelpers": {"r.example.com": "ecr-login", "b.example.com": "x"}},
            Helper("ecr-login", "r.example.com", "credHelpers['r.example.com'] of ~/.docker/config.json"),
        ),
        ({"credsStore": "pass", "credHelpers": {"r.example.com": ""}}, None),
        ({"credHelpers": {"b.example.com": "x"}}, None),
        ({"credHelpers": None, "credsStore": ""}, None),
    ],
)
def test_a_helper_of_its_own_comes_before_the_one_for_all(
    docker_config: Path, config: object, entry: Helper | None
) -> None:
    """And a registry may be excepted, as with docker."""
    assert written(docker_config, config).helper("r.example.com") == entry


@pytest.mark.parametrize(
    ("helpers", "server"),
    [
        ({"docker.io": "x"}, "docker.io"),
        ({HUB_KEY: "x"}, HUB_KEY),
        ({"docker.io": "y", HUB_KEY: "x"}, HUB_KEY),
    ],
)
def test_a_helper_is_asked_about_the_hub_by_the_name_its_file_has(
    docker_config: Path, helpers: object, server: str
) -> None:
    """Docker and podman keep it under different ones."""
    entry = written(docker_config, {"credHelpers": helpers}).helper("docker.io")
    assert entry is not None
    assert (entry.name, entry.server) == ("x", server)


@pytest.mark.parametrize("name", ["../x", "/bin/sh", "a b", "a;b", "", None, 5, ["x"]])
def test_the_name_of_a_helper_is_a_name(docker_config: Path, name: object) -> None:
    """R26: nothing else than docker-credential-NAME on PATH is ever started."""
    file = written(docker_config, {"credHelpers": {"r.example.com": name}})
    if not name:
        assert file.helper("r.example.com") is None
        return
    with pytest.raises(UnusableConfig, match=r"credHelpers\['r.example.com'\] is not the name of a cred"):
        file.helper("r.example.com")


def test_docker_comes_before_podman(docker_config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The files that are looked into, in their order; each of three variables moves one."""
    home = docker_config.parents[1]
    volatile = home / "run/containers/auth.json"
    written(volatile, {})
    assert default_files() == [docker_config, volatile, home / ".config/containers/auth.json"]
    volatile.unlink()
    monkeypatch.setenv("DOCKER_CONFIG", "/a")
    monkeypatch.setenv("XDG_CONFIG_HOME", "/b")
    assert default_files() == [Path("/a/config.json"), Path("/b/containers/auth.json")]


@pytest.mark.root
def test_a_user_without_a_home_has_no_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some containers run as a number that no passwd knows."""
    for name in ("DOCKER_CONFIG", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    code = (
        "import os\n"
        "from aiodocker_lite.registry.authfiles import AuthFile, default_files\n"
        "os.setuid(54321); os.environ.pop('HOME', None)\n"
        "for path in default_files(): print(path, AuthFile.read(path).credential('r.example.com'))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == "/.docker/config.json None\n/.config/containers/auth.json None\n", done.stderr


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ('{"auths": {', r"not JSON \(line 1\)"),
        ("[]", "not a JSON object"),
        ('{"auths": [1]}', "'auths' is not an object"),
        ('{"credHelpers": "secret"}', "'credHelpers' is not an object"),
        ('{"auths": {"r.example.com": {"auth": "secret!"}}}', "'auth' of auths.* is not 'user:password' in base64"),
        (f'{{"auths": {{"r.example.com": {{"auth": "{encoded("secret")}"}}}}}}', "not 'user:password' in base64"),
        ('{"auths": {"r.example.com": {"identitytoken": ["secret"]}}}', r"a token of auths\['r.example.com'\]"),
        ('{"auths": {"r.example.com": {"registrytoken": "secret\\r\\nX: y"}}}', "is not one"),
        ("\udcff", "not UTF-8"),
        ("[" * 100_000, "nested too deep"),
    ],
)  # fmt: skip
def test_a_broken_file_gives_one_sentence_without_secrets(
    docker_config: Path, content: str, reason: str
) -> None:
    """R26: it names the file, the key and the fault; nothing of the content is carried along."""
    docker_config.parent.mkdir()
    docker_config.write_bytes(content.encode(errors="surrogateescape"))
    with pytest.raises(UnusableConfig, match=reason) as caught:
        read_all(docker_config)
    assert "~/.docker/config.json" in str(caught.value)
    assert "secret" not in repr([caught.value, caught.value.__context__, caught.value.__cause__])


def test_saving_keeps_everything_else_and_is_private(docker_config: Path) -> None:
    """Unknown keys and other registries stay; only the owner may read the file."""
    before = {"auths": {"a.example.com": {"auth": "eDp5"}}, "psFormat": "table", "unknown": {"a": [1]}}
    file = written(docker_config, before)
    docker_config.chmod(0o644)
    file.keep("localhost:5000", "me", "päss:word")
    file.write()
    after = json.loads(docker_config.read_text())
    assert after["auths"].pop("localhost:5000") == {"auth": encoded("me:päss:word")}
    assert after == before
    assert stat.S_IMODE(docker_config.stat().st_mode) == 0o600
    assert [path.name for path in docker_config.parent.iterdir()] == ["config.json"]
    found = AuthFile.read(docker_config).credential("localhost:5000")
    assert found is not None
    assert found.password == "päss:word"


def test_saving_makes_the_directory_and_replaces_old_keys(docker_config: Path) -> None:
    """One registry has one entry, whatever its key was; its namespaces keep theirs."""
    file = AuthFile.read(docker_config)
    file.keep("docker.io", "me", "secret")
    file.write()
    assert stat.S_IMODE(docker_config.parent.stat().st_mode) == 0o700
    assert list(json.loads(docker_config.read_text())["auths"]) == [HUB_KEY]
    file = written(docker_config, {"auths": {"https://r.example.com/v1/": {}, "r.example.com/team": {}}})
    file.keep("r.example.com", "me", "secret")
    assert list(file.content["auths"]) == ["r.example.com/team", "r.example.com"]


def test_a_link_to_the_file_stays_a_link(docker_config: Path, tmp_path: Path) -> None:
    """People keep their settings in a repository."""
    written(tmp_path / "settings" / "docker.json", {})
    docker_config.parent.mkdir()
    docker_config.symlink_to(tmp_path / "settings" / "docker.json")
    file = AuthFile.read(docker_config)
    file.keep("r.example.com", "me", "secret")
    file.write()
    assert docker_config.is_symlink()
    assert "r.example.com" in (tmp_path / "settings" / "docker.json").read_text()


@pytest.mark.parametrize(("user", "password"), [("a:b", "c"), ("a", "b\nc"), ("a\r", "b")])
def test_what_basic_cannot_carry_is_refused(user: str, password: str) -> None:
    """RFC 7617: no colon in a user name, no control characters."""
    with pytest.raises(InvalidOption):
        check_carried(user, password)


def test_a_file_that_cannot_be_written_is_named(docker_config: Path) -> None:
    """One sentence with the path; here a file stands where the directory should."""
    docker_config.parent.write_text("")
    with pytest.raises(UnusableConfig, match=r"~/\.docker/config\.json: it cannot be written"):
        AuthFile.read(docker_config).write()


def test_dropping_forgets_one_registry(docker_config: Path) -> None:
    """Every key of it goes, everything else stays; a second time there is nothing."""
    keys = ["r.example.com", "https://r.example.com", "b.example.com", "r.example.com/team"]
    file = written(docker_config, {"auths": {key: {} for key in keys}, "psFormat": "table"})
    assert file.drop("r.example.com")
    assert file.content == {"auths": {"b.example.com": {}, "r.example.com/team": {}}, "psFormat": "table"}
    assert not file.drop("r.example.com")


def test_secrets_are_in_no_repr(docker_config: Path) -> None:
    """R26: a credential, or a file of them, in a log line is only a name."""
    file = written(docker_config, {"auths": {"r.example.com": {"identitytoken": "hunter2"}}})
    assert "hunter2" not in repr([file, file.credential("r.example.com")])
    assert "hunter2" not in repr(Credential("me", "hunter2", "", "hunter2", "hunter2"))


def test_a_pipe_is_not_waited_for_where_nobody_chose_it(docker_config: Path) -> None:
    """It would be for ever, and no signal would end that."""
    docker_config.parent.mkdir(exist_ok=True)
    os.mkfifo(docker_config)
    with pytest.raises(UnusableConfig, match="it is not a file"):
        AuthFile.read(docker_config)
    with pytest.raises(UnusableConfig, match="it is not a file"):
        read_config(docker_config)
