"""Docker's config.json: found, written whole, and never shown."""

from __future__ import annotations

import base64
import json
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from aiodocker_lite.errors import InvalidOption, UnusableConfig
from aiodocker_lite.registry.credentials import (
    HUB_KEY,
    Credential,
    erase_credential,
    find_credential,
    save_credential,
)


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def write(path: Path, content: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))


@pytest.mark.parametrize(
    ("key", "registry"),
    [
        ("localhost:5000", "localhost:5000"),
        ("https://localhost:5000", "localhost:5000"),
        ("http://localhost:5000/v2/", "localhost:5000"),
        (HUB_KEY, "docker.io"),
        ("docker.io", "docker.io"),
        ("index.docker.io", "docker.io"),
    ],
)
def test_a_registry_is_found_under_the_keys_that_clients_wrote(
    docker_config: Path, key: str, registry: str
) -> None:
    """Docker Hub has a key of its own; old clients wrote whole URLs."""
    write(docker_config, {"auths": {key: {"auth": encoded("me:pass:word")}}})
    source = f"~/.docker/config.json auths['{key}']"
    assert find_credential(registry) == Credential("me", "pass:word", source)


@pytest.mark.parametrize(
    "key",
    ["localhost", "localhost:5001", "xlocalhost:5000", "localhost:5000/team", "evil.com/localhost:5000"],
)
def test_the_password_of_another_registry_is_not_found(docker_config: Path, key: str) -> None:
    """R05: host and port must be the same."""
    write(docker_config, {"auths": {key: {"auth": encoded("me:secret")}}})
    assert find_credential("localhost:5000") is None


def test_a_plain_user_name_and_password_are_read(docker_config: Path) -> None:
    """The older form of an entry."""
    write(docker_config, {"auths": {"r.example.com": {"username": "me", "password": "secret"}}})
    found = find_credential("r.example.com")
    assert found is not None
    assert (found.username, found.password) == ("me", "secret")


@pytest.mark.parametrize(
    "content", [None, "", "  \n", "{}", '{"auths": null}', '{"auths": {"r.example.com": {}}}']
)
def test_without_an_entry_there_is_no_credential(docker_config: Path, content: str | None) -> None:
    """A file that is absent, empty, or has an entry without a secret."""
    if content is not None:
        write(docker_config, content)
    assert find_credential("r.example.com") is None


def test_docker_config_names_a_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The variable wins over the home directory, and the source names the file."""
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "elsewhere"))
    write(
        tmp_path / "elsewhere" / "config.json", {"auths": {"r.example.com": {"auth": encoded("me:secret")}}}
    )
    found = find_credential("r.example.com")
    assert found is not None
    assert found.source == f"{tmp_path}/elsewhere/config.json auths['r.example.com']"


@pytest.mark.root
def test_a_user_without_a_home_has_no_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some containers run as a number that no passwd knows."""
    monkeypatch.delenv("DOCKER_CONFIG", raising=False)
    code = (
        "import os\n"
        "from aiodocker_lite.registry.credentials import config_path, find_credential\n"
        "os.setuid(54321); os.environ.pop('HOME', None)\n"
        "print(config_path(), find_credential('r.example.com'))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == "/.docker/config.json None\n", done.stderr


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        ({"credsStore": "pass"}, "credential helpers are not supported yet"),
        ({"credHelpers": {"r.example.com": "pass"}}, "credential helpers are not supported yet"),
        ({"auths": {"r.example.com": {"identitytoken": "x"}}}, "identity token"),
    ],
)
def test_what_is_not_supported_yet_is_named(docker_config: Path, config: object, reason: str) -> None:
    """R26: the sentence about a refusal then says why nobody logged in."""
    write(docker_config, config)
    found = find_credential("r.example.com")
    assert found is not None
    assert found.is_anonymous
    assert reason in found.source


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ('{"auths": {', r"not JSON \(line 1\)"),
        ("[]", "not a JSON object"),
        ('{"auths": []}', None),
        ('{"auths": [1]}', "'auths' is not an object"),
        ('{"auths": {"r.example.com": {"auth": "secret!"}}}', "not 'user:password' in base64"),
        (
            f'{{"auths": {{"r.example.com": {{"auth": "{encoded("secret")}"}}}}}}',
            "not 'user:password' in base64",
        ),
        ("\udcff", "not UTF-8"),
        ("[" * 100_000, "nested too deep"),
    ],
)
def test_a_broken_file_gives_one_sentence_without_secrets(
    docker_config: Path, content: str, reason: str | None
) -> None:
    """R26: it names the file and the fault; nothing of the content is carried along."""
    docker_config.parent.mkdir()
    docker_config.write_bytes(content.encode(errors="surrogateescape"))
    if reason is None:
        assert find_credential("r.example.com") is None
        return
    with pytest.raises(UnusableConfig, match=reason) as caught:
        find_credential("r.example.com")
    assert "~/.docker/config.json" in str(caught.value)
    assert "secret" not in repr([caught.value, caught.value.__context__, caught.value.__cause__])


def test_saving_keeps_everything_else_and_is_private(docker_config: Path) -> None:
    """Unknown keys and other registries stay; only the owner may read the file."""
    before = {"auths": {"a.example.com": {"auth": "eDp5"}}, "psFormat": "table", "unknown": {"a": [1]}}
    write(docker_config, before)
    docker_config.chmod(0o644)
    assert save_credential("localhost:5000", "me", "päss:word") == docker_config
    after = json.loads(docker_config.read_text())
    assert after["auths"].pop("localhost:5000") == {"auth": encoded("me:päss:word")}
    assert after == before
    assert stat.S_IMODE(docker_config.stat().st_mode) == 0o600
    assert [path.name for path in docker_config.parent.iterdir()] == ["config.json"]
    found = find_credential("localhost:5000")
    assert found is not None
    assert found.password == "päss:word"


def test_saving_makes_the_directory_and_replaces_old_keys(docker_config: Path) -> None:
    """One registry has one entry, whatever its key was."""
    save_credential("docker.io", "me", "secret")
    assert stat.S_IMODE(docker_config.parent.stat().st_mode) == 0o700
    assert list(json.loads(docker_config.read_text())["auths"]) == [HUB_KEY]
    write(docker_config, {"auths": {"https://r.example.com/v1/": {"auth": encoded("old:old")}}})
    save_credential("r.example.com", "me", "secret")
    assert list(json.loads(docker_config.read_text())["auths"]) == ["r.example.com"]


def test_a_link_to_the_file_stays_a_link(docker_config: Path, tmp_path: Path) -> None:
    """People keep their settings in a repository."""
    write(tmp_path / "settings" / "docker.json", {})
    docker_config.parent.mkdir()
    docker_config.symlink_to(tmp_path / "settings" / "docker.json")
    save_credential("r.example.com", "me", "secret")
    assert docker_config.is_symlink()
    assert "r.example.com" in (tmp_path / "settings" / "docker.json").read_text()


@pytest.mark.parametrize(("user", "password"), [("a:b", "c"), ("a", "b\nc"), ("a\r", "b")])
def test_what_basic_cannot_carry_is_refused(docker_config: Path, user: str, password: str) -> None:
    """RFC 7617: no colon in a user name, no control characters."""
    with pytest.raises(InvalidOption):
        save_credential("r.example.com", user, password)
    assert not docker_config.exists()


def test_a_file_that_cannot_be_written_is_named(docker_config: Path) -> None:
    """One sentence with the path; here a file stands where the directory should."""
    docker_config.parent.write_text("")
    with pytest.raises(UnusableConfig, match=r"~/\.docker/config\.json: it cannot be written"):
        save_credential("r.example.com", "me", "secret")


def test_erasing_forgets_one_registry(docker_config: Path) -> None:
    """Every key of it goes, everything else stays; a second time there is nothing."""
    auths = {
        "r.example.com": {"auth": "x"},
        "https://r.example.com": {"auth": "y"},
        "b.example.com": {"auth": "z"},
    }
    write(docker_config, {"auths": auths, "psFormat": "table"})
    assert erase_credential("r.example.com")
    assert json.loads(docker_config.read_text()) == {
        "auths": {"b.example.com": {"auth": "z"}},
        "psFormat": "table",
    }
    assert not erase_credential("r.example.com")


def test_a_password_is_not_in_the_repr() -> None:
    """R26: a credential in a log line is only a name."""
    assert "secret" not in repr(Credential("me", "secret", "a test"))
