"""Which of many sources counts, and where a login goes; with podman as the other reader and writer."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path

import anyio
import pytest

from aiodocker_lite.errors import InvalidOption, UnusableConfig
from aiodocker_lite.registry.authfiles import AuthFile
from aiodocker_lite.registry.keyring import Keyring
from aiodocker_lite.settings import Settings
from tests.fakes.credhelpers import Programs
from tests.fakes.processes import PASSWORD, USER, RealRegistry, program

R = "r.example.com"


def write(path: Path, content: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def user(name: str, registry: str = R) -> dict[str, object]:
    return {"auths": {registry: {"username": name, "password": "pw"}}}


async def who(name: str = f"{R}/team/app", **settings: object) -> str:
    """Whose credential a repository gets."""
    found = await Keyring(Settings(**settings)).find(name)  # type: ignore[arg-type]
    return found.username or found.source if found else "nobody"


async def test_each_source_comes_before_the_next(
    docker_config: Path, programs: Programs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """--creds, --authfile, REGISTRY_AUTH_FILE; docker's helper and file; podman's two files; nobody."""
    home = docker_config.parents[1]
    programs.add_keeper("own", **{R: ("helper", "pw")})
    programs.add_keeper("all", **{R: ("store", "pw")})
    lasting = write(home / ".config/containers/auth.json", user("podman-lasting"))
    volatile = write(home / "run/containers/auth.json", user("podman"))
    write(docker_config, {**user("docker"), "credsStore": "all", "credHelpers": {R: "own"}})
    monkeypatch.setenv("REGISTRY_AUTH_FILE", str(write(home / "variable", user("variable"))))
    chosen = write(home / "chosen", user("chosen"))

    assert await who(creds={R: ("given", "pw")}, authfile=chosen) == "given"
    assert await who(creds={"other": ("given", "pw")}, authfile=chosen) == "chosen"
    assert await who() == "variable"
    monkeypatch.delenv("REGISTRY_AUTH_FILE")
    assert await who() == "helper"
    write(docker_config, {**user("docker"), "credsStore": "all"})
    assert await who() == "store"
    programs.add_keeper("all")
    assert await who() == "docker"
    docker_config.unlink()
    assert await who() == "podman"
    volatile.unlink()
    assert await who() == "podman-lasting"
    lasting.unlink()
    assert await who() == "nobody"


async def test_a_chosen_file_is_the_only_one(docker_config: Path, tmp_path: Path) -> None:
    """Who names a file means that one, also where it has nothing for a registry."""
    write(docker_config, user("docker"))
    assert await who(authfile=write(tmp_path / "chosen", user("chosen", "other"))) == "nobody"


@pytest.mark.parametrize("variable", [True, False])
async def test_a_chosen_file_must_be_there_and_good(
    docker_config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: bool
) -> None:
    """R26: not found is not the same as nobody, where somebody pointed at it."""
    path = tmp_path / "chosen"
    if variable:
        monkeypatch.setenv("REGISTRY_AUTH_FILE", str(path))
    settings = Settings(authfile=None if variable else path)
    with pytest.raises(UnusableConfig, match="~/chosen: it cannot be read: No such file"):
        await Keyring(settings).find(R)
    write(path, "{")
    with pytest.raises(UnusableConfig, match="~/chosen: it is not JSON"):
        await Keyring(settings).find(R)


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ("{", r"cannot use ~/.docker/config.json: it is not JSON \(line 1\)"),
        ({"auths": {R: {"auth": "!"}}}, r"auths\['r.example.com'\] is not 'user:password' in base64"),
        ({"credsStore": "gone"}, r"docker-credential-gone \(credsStore of .*\): there is no such program"),
        ({"credHelpers": {R: "junk"}}, r"docker-credential-junk \(credHelpers\['r.example.com'\] of"),
    ],
)
async def test_what_is_broken_is_no_reason_to_fail(
    docker_config: Path, programs: Programs, config: object, said: str
) -> None:
    """R26: the repository may be public; a refusal then says it. The next file still counts."""
    programs.add("junk", "#!/bin/sh\necho junk\n")
    write(docker_config, config)
    found = await Keyring(Settings()).find(R)
    assert found is not None
    assert found.is_anonymous
    assert found.source.startswith("anonymous, for we cannot use ")
    assert re.search(said, found.source)
    write(docker_config.parents[1] / ".config/containers/auth.json", user("podman"))
    assert await who() == "podman"


async def test_a_helper_is_asked_once_for_many(docker_config: Path, programs: Programs) -> None:
    """A hundred repositories at once, or soon after; then again, for what it gives may end. Failures too."""
    keeper = programs.add_keeper("own", **{R: ("helper", "pw")})
    programs.add("bad", f"#!/bin/sh\necho asked >>{programs.directory}/bad.log\nexit 1\n")
    write(docker_config, {"credHelpers": {R: "own", "bad.example.com": "bad"}})
    now = 0.0
    keyring = Keyring(Settings(), clock=lambda: now)
    async with anyio.create_task_group() as tasks:
        for number in range(100):
            tasks.start_soon(keyring.find, f"{R}/app{number}")
            tasks.start_soon(keyring.find, f"bad.example.com/app{number}")
    assert keeper.asked == ["get"]
    assert (programs.directory / "bad.log").read_text() == "asked\n"
    now = 61.0
    await keyring.find(R)
    assert keeper.asked == ["get", "get"]


async def test_a_login_goes_to_the_helper_that_is_named(docker_config: Path, programs: Programs) -> None:
    """Docker's mark stays in the file and no secret; a logout takes both away."""
    keeper = programs.add_keeper("all")
    write(docker_config, {"credsStore": "all", "auths": {R: {"auth": "bWU6b2xk"}}, "unknown": 1})
    keyring = Keyring(Settings())
    assert await keyring.keep(R, "me", "s3cret") == docker_config
    assert keeper.kept == {R: ("me", "s3cret")}
    assert json.loads(docker_config.read_text()) == {"credsStore": "all", "auths": {R: {}}, "unknown": 1}
    assert await who(R) == "me"
    assert await keyring.forget(R)
    assert keeper.kept == {}
    assert json.loads(docker_config.read_text()) == {"credsStore": "all", "auths": {}, "unknown": 1}
    assert not await keyring.forget(R)


async def test_a_login_goes_to_the_file_that_was_chosen(
    docker_config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It need not be there yet; the usual one is not touched."""
    path = tmp_path / "new" / "auth.json"
    assert await Keyring(Settings(authfile=path)).keep(R, "me", "s3cret") == path
    monkeypatch.setenv("REGISTRY_AUTH_FILE", str(path))
    assert await who(R) == "me"
    assert await Keyring(Settings()).forget(R)
    assert not docker_config.exists()


async def test_a_helper_that_cannot_store_is_an_error(docker_config: Path, programs: Programs) -> None:
    """Nobody believes to be logged in who is not, and nothing is written in the clear instead."""
    programs.add("ro", "#!/bin/sh\ncat >/dev/null\necho not implemented\nexit 1\n")
    before = write(docker_config, {"credsStore": "ro"}).read_text()
    with pytest.raises(UnusableConfig, match="'store' failed: not implemented"):
        await Keyring(Settings()).keep(R, "me", "s3cret")
    with pytest.raises(InvalidOption):
        await Keyring(Settings()).keep(R, "a:b", "s3cret")
    assert docker_config.read_text() == before


# --- podman and skopeo ---------------------------------------------------------------------


def run(*words: str, stdin: str = "", env: Mapping[str, str] | None = None) -> str:
    done = subprocess.run(words, input=stdin, capture_output=True, text=True, check=False, env=env)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("where", ["volatile", "authfile", "helper", "namespace"])
async def test_what_podman_keeps_is_found(
    basic_registry: RealRegistry, docker_config: Path, programs: Programs, tmp_path: Path, where: str
) -> None:
    """After a real `podman login`: in its own file, in a chosen one, with a helper, for a namespace."""
    server = basic_registry.address
    path = tmp_path / "run/containers/auth.json"
    keeper = programs.add_keeper("pod")
    write(path, {"credHelpers": {server: "pod"}} if where == "helper" else {})
    key = f"{server}/team" if where == "namespace" else server
    options = [f"--authfile={path}"] if where == "authfile" else []
    login = [program("podman"), "login", "--tls-verify=false", *options, "-u", USER, "--password-stdin", key]
    run(*login, stdin=PASSWORD)
    found = await Keyring(Settings(authfile=path if where == "authfile" else None)).find(f"{server}/team/app")
    assert found is not None
    assert (found.username, found.password) == (USER, PASSWORD)
    assert (where == "helper") == (keeper.kept != {})
    assert (where == "namespace") == (await who(f"{server}/other/app") == "nobody")


@pytest.mark.parametrize("helper", [True, False])
async def test_podman_and_skopeo_find_what_we_keep(
    basic_registry: RealRegistry, docker_config: Path, programs: Programs, helper: bool
) -> None:
    """In docker's file, or with a helper for this registry; after our logout they are nobody again."""
    server = basic_registry.address
    programs.add_keeper("ours")
    write(docker_config, {"credHelpers": {server: "ours"}} if helper else {})
    keyring = Keyring(Settings())
    await keyring.keep(server, USER, PASSWORD)
    assert run(program("podman"), "login", "--get-login", server) == f"{USER}\n"
    tags = [program("skopeo"), "list-tags", "--tls-verify=false", f"docker://{server}/keyring/none"]
    refusal = subprocess.run(tags, capture_output=True, text=True, check=False).stderr
    assert "404" in refusal, refusal
    assert await keyring.forget(server)
    refusal = subprocess.run(tags, capture_output=True, text=True, check=False).stderr
    assert "unauthorized" in refusal or "401" in refusal, refusal


async def test_a_logout_of_podman_is_one_of_ours(
    basic_registry: RealRegistry, docker_config: Path, tmp_path: Path
) -> None:
    """The same file, the same key."""
    path = tmp_path / "auth.json"
    await Keyring(Settings(authfile=path)).keep(basic_registry.address, USER, PASSWORD)
    run(program("podman"), "logout", f"--authfile={path}", basic_registry.address)
    assert AuthFile.read(path).credential(basic_registry.address) is None
