"""Where an image is asked for when several files speak about it, and what is expected of every host."""

from __future__ import annotations

from pathlib import Path

import pytest

from aiodocker_lite.errors import UnusableConfig
from aiodocker_lite.reference import Reference
from aiodocker_lite.registry.hosts import Endpoint, Hosts
from aiodocker_lite.registry.trust import Trust
from aiodocker_lite.settings import Settings


def places(name: str, *directories: Path, **settings: object) -> tuple[Endpoint, ...]:
    hosts = Hosts(Settings(config_dirs=directories, **settings), {})  # type: ignore[arg-type]
    return hosts.endpoints(Reference.parse(name))


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_the_first_file_that_speaks_of_a_registry_decides(tmp_path: Path) -> None:
    """registries.conf before hosts.toml before daemon.json."""
    assert [place.registry for place in places("alpine", tmp_path)] == ["docker.io"]
    write(tmp_path / "docker" / "daemon.json", '{"registry-mirrors": ["https://docker.example"]}')
    assert [place.registry for place in places("alpine", tmp_path)] == ["docker.example", "docker.io"]
    write(tmp_path / "containerd/certs.d/docker.io/hosts.toml", '[host."https://containerd.example"]')
    assert [place.registry for place in places("alpine", tmp_path)] == ["containerd.example", "docker.io"]
    rule = '[[registry]]\nlocation = "docker.io"\nmirror = [{ location = "podman.example" }]\n'
    write(tmp_path / "containers" / "registries.conf", rule)
    assert [place.registry for place in places("alpine", tmp_path)] == ["podman.example", "docker.io"]
    assert [place.registry for place in places("other.example/app", tmp_path)] == ["other.example"]


def test_docker_s_mirrors_are_for_docker_hub(tmp_path: Path) -> None:
    """In order, with their scheme, without a namespace."""
    text = '{"registry-mirrors": ["http://one.example:5000", "https://two.example/"]}'
    write(tmp_path / "docker" / "daemon.json", text)
    one, two, hub = places("team/app", tmp_path)
    assert (str(one.root), one.trust.plain_http, one.namespace) == ("http://one.example:5000/v2", True, "")
    assert (str(two.root), two.is_mirror) == ("https://two.example/v2", True)
    assert str(hub.root) == "https://registry-1.docker.io/v2"


@pytest.mark.parametrize(
    ("registry", "is_insecure"),
    [
        ("plain.example:5000", True),
        ("plain.example", False),
        ("written.example", True),
        ("10.1.2.3:5000", True),
        ("10.1.2.3", True),
        ("11.1.2.3:5000", False),
        ("[fd00::1]:5000", True),
        ("[fe00::1]:5000", False),
        ("10.example", False),
    ],
)
def test_docker_s_insecure_registries(tmp_path: Path, registry: str, is_insecure: bool) -> None:
    """By name and port, or by an address in a network; a name is not looked up."""
    text = (
        '{"insecure-registries": ["plain.example:5000", "http://written.example/", "10.0.0.0/8", "fd00::/8"]}'
    )
    write(tmp_path / "docker" / "daemon.json", text)
    (place,) = places(f"{registry}/app", tmp_path)
    assert (not place.trust.verify, place.trust.plain_http) == (is_insecure, is_insecure)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", r"it is not JSON: .*line 1 column 2"),
        ("[]", "it is not a JSON object"),
        ('{"registry-mirrors": 5}', "'registry-mirrors' is not a string or a list of strings"),
        ('{"registry-mirrors": ["m.example"]}', "has 'm.example', which is not http"),
        ('{"registry-mirrors": ["https://m.example/path"]}', "which is not http"),
        (
            '{"registry-mirrors": ["http://u:pw@m.example"]}',
            r"has 'http://\*\*\*@m.example', which is not http",
        ),
        (
            '{"registry-mirrors": ["ftp://u:p@w@m.example/x?pw"]}',
            r"has 'ftp://\*\*\*@m.example/x', which is not",
        ),
        ('{"insecure-registries": ["10.0.0.0/99"]}', "has '10.0.0.0/99', which is no network"),
    ],
)
def test_what_is_wrong_in_daemon_json_is_one_sentence(tmp_path: Path, text: str, reason: str) -> None:
    """The file, and what is wrong in it."""
    path = write(tmp_path / "docker" / "daemon.json", text)
    with pytest.raises(UnusableConfig, match=rf"^cannot use {path}: .*{reason}"):
        places("alpine", tmp_path)


def test_certificates_are_those_of_the_first_directory(tmp_path: Path) -> None:
    """The user's before the system's, podman's before docker's; a mirror has its own."""
    home, etc = tmp_path / "home", tmp_path / "etc"
    docker = write(etc / "docker/certs.d/a.example:5000/ca.crt", "")
    assert places("a.example:5000/app", home, etc)[0].trust == Trust(authorities=(docker,))
    podman = write(etc / "containers/certs.d/a.example:5000/ca.crt", "")
    assert places("a.example:5000/app", home, etc)[0].trust == Trust(authorities=(podman,))
    own = write(home / "docker/certs.d/a.example:5000/client.cert", "")
    key = write(own.with_name("client.key"), "")
    assert places("a.example:5000/app", home, etc)[0].trust == Trust(pairs=((own, key),))
    write(
        etc / "containers/registries.conf",
        '[[registry]]\nlocation="b.example"\nmirror=[{location="a.example:5000"}]',
    )
    mirror, itself = places("b.example/app", home, etc)
    assert (mirror.trust.pairs, itself.trust) == (((own, key),), Trust())


def test_a_directory_that_was_named_is_for_everybody(tmp_path: Path) -> None:
    """`--cert-dir`, in the place of all others."""
    write(tmp_path / "docker/certs.d/a.example/ca.crt", "")
    given = write(tmp_path / "given" / "ca.crt", "")
    assert places("a.example/app", tmp_path, cert_dir=given.parent)[0].trust.authorities == (given,)


@pytest.mark.parametrize(("there", "missing"), [("my.cert", "my.key"), ("my.key", "my.cert")])
def test_half_a_pair_is_named(tmp_path: Path, there: str, missing: str) -> None:
    """As docker does; a `.cert` that is meant as an authority is the usual mistake."""
    path = write(tmp_path / "docker/certs.d/a.example" / there, "")
    with pytest.raises(UnusableConfig, match=rf"^cannot use {path}: there is no {missing} beside it"):
        places("a.example/app", tmp_path)


def test_a_directory_that_is_not_there_is_named(tmp_path: Path) -> None:
    """What `--cert-dir` names has to be there."""
    with pytest.raises(UnusableConfig, match="it cannot be read: No such file"):
        places("a.example/app", tmp_path, cert_dir=tmp_path / "nothing")


def test_where_nothing_is_configured_nothing_is_read(tmp_path: Path) -> None:
    """And a registry is just that."""
    (place,) = places("a.example/app", tmp_path / "nothing", tmp_path / "here")
    assert place == Endpoint(root=place.root, registry="a.example", repository="app", trust=Trust())


def test_insecure_is_for_everybody(tmp_path: Path) -> None:
    """`--tls-verify=false`."""
    write(tmp_path / "docker" / "daemon.json", '{"registry-mirrors": ["https://m.example"]}')
    assert [place.trust.verify for place in places("alpine", tmp_path, insecure=True)] == [False, False]
