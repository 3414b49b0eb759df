"""containerd's `hosts.toml`: servers in order, what they can, and their certificates."""

from __future__ import annotations

from pathlib import Path

import pytest

from aiodocker_lite.errors import UnusableConfig
from aiodocker_lite.reference import Reference
from aiodocker_lite.registry.hosts import Endpoint, Hosts
from aiodocker_lite.settings import Settings


@pytest.fixture
def etc(tmp_path: Path) -> Path:
    """The system's directory."""
    return tmp_path


def write(etc: Path, name: str, text: str) -> Path:
    """A `hosts.toml` for the registry of this directory's name."""
    path = etc / "containerd" / "certs.d" / name / "hosts.toml"
    path.parent.mkdir(parents=True)
    path.write_text(text)
    return path


def places(name: str, etc: Path) -> tuple[Endpoint, ...]:
    return Hosts(Settings(config_dirs=(etc,)), {}).endpoints(Reference.parse(name))


FILE = """
server = "https://upstream.example"
ca = "upstream.crt"

[host."https://public.example"]
  capabilities = ["pull"]

[host."https://private.example:5000/us"]
  capabilities = ["pull", "resolve"]
  ca = ["one.crt", "/two.crt"]
  client = [["c.cert", "c.key"], ["both.pem", ""]]
  [host."https://private.example:5000/us".header]
    x-token = "secret"
    x-list = ["a", "b"]

[host."http://plain.example/api/v2"]
[host."http://either.example:5000"]
  skip_verify = true
[host."odd.example/root"]
  override_path = true
"""


def test_servers_are_asked_in_the_order_of_the_file(etc: Path) -> None:
    """`/v2` is added where it is not; what is last is no mirror."""
    write(etc, "docker.io", FILE)
    found = places("alpine", etc)
    assert [(str(place.root), place.registry) for place in found] == [
        ("https://public.example/v2", "public.example"),
        ("https://private.example:5000/us/v2", "private.example:5000"),
        ("http://plain.example/api/v2", "plain.example"),
        ("https://either.example:5000/v2", "either.example:5000"),
        ("https://odd.example/root", "odd.example"),
        ("https://upstream.example/v2", "upstream.example"),
    ]
    assert [place.is_mirror for place in found] == [True] * 5 + [False]
    assert {place.repository for place in found} == {"library/alpine"}
    assert {place.namespace for place in found} == {"docker.io"}


def test_what_a_server_can_and_brings(etc: Path) -> None:
    """Capabilities, certificates beside the file, headers."""
    directory = write(etc, "docker.io", FILE).parent
    public, private, plain, either, _, upstream = places("alpine", etc)
    assert (public.pulls, public.resolves) == (True, False)
    assert (private.pulls, private.resolves) == (True, True)
    assert private.trust.authorities == (directory / "one.crt", Path("/two.crt"))
    both = directory / "both.pem"
    assert private.trust.pairs == ((directory / "c.cert", directory / "c.key"), (both, both))
    assert private.headers == (("x-token", "secret"), ("x-list", "a, b"))
    assert (plain.trust.plain_http, plain.trust.verify) == (True, True)
    assert (either.trust.plain_http, either.trust.verify) == (True, False)
    assert upstream.trust.authorities == (directory / "upstream.crt",)
    assert upstream.headers == ()


def test_without_a_server_the_registry_itself_is_last(etc: Path) -> None:
    """And it is told no namespace."""
    write(etc, "a.example:5000", '[host."https://m.example"]')
    mirror, itself = places("a.example:5000/app", etc)
    assert (mirror.namespace, mirror.is_mirror) == ("a.example:5000", True)
    assert (str(itself.root), itself.namespace, itself.is_mirror) == ("https://a.example:5000/v2", "", False)


def test_the_registry_by_its_own_address_is_itself(etc: Path) -> None:
    """As most files for Docker Hub have it: its credentials are docker.io's."""
    write(etc, "docker.io", 'server = "https://registry-1.docker.io"')
    (itself,) = places("alpine", etc)
    assert (itself.registry, itself.namespace) == ("docker.io", "")


def test_which_directory_is_taken(etc: Path) -> None:
    """`HOST_PORT_`, `HOST:PORT`, `_default`."""
    write(etc, "_default", '[host."https://default.example"]')
    assert places("a.example:5000/app", etc)[0].registry == "default.example"
    write(etc, "a.example:5000", '[host."https://colon.example"]')
    assert places("a.example:5000/app", etc)[0].registry == "colon.example"
    write(etc, "a.example_5000_", '[host."https://underscore.example"]')
    assert places("a.example:5000/app", etc)[0].registry == "underscore.example"
    assert places("a.example/app", etc)[0].registry == "default.example"


def test_a_directory_without_the_file_has_certificates(etc: Path) -> None:
    """In docker's manner."""
    directory = etc / "containerd" / "certs.d" / "a.example"
    directory.mkdir(parents=True)
    (directory / "my.crt").write_text("")
    (place,) = places("a.example/app", etc)
    assert place.trust.authorities == (directory / "my.crt",)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("server = =", "not TOML: .*line 1, column 10"),
        ("server = 1", "'server' is not a string"),
        ('server = "https://[::1"', "'https://.*' is no URL"),
        ("host = 1", "'host' is not a table"),
        ('[host."https://a"]\nskip_verify = "no"', "https://a: 'skip_verify' is not a truth value"),
        ('[host."https://a"]\ncapabilities = ["fly"]', "has 'fly', which nobody knows"),
        ('[host."https://a"]\nca = 1', "'ca' is not a string or a list of strings"),
        ('[host."https://a"]\nclient = [["one"]]', "'client' is not a file"),
        ('[host."https://a".header]\nx = 1', "https://a: header: 'x' is not a string"),
    ],
)
def test_what_is_wrong_is_one_sentence(etc: Path, text: str, reason: str) -> None:
    """The file, the place in it, and what is wrong there; containerd would go on without it."""
    path = write(etc, "a.example", text)
    with pytest.raises(UnusableConfig, match=rf"^cannot use {path}: .*{reason}"):
        places("a.example/app", etc)
