"""podman's `registries.conf`: what of it fits a name, and what is wrong with it."""

from __future__ import annotations

from pathlib import Path

import pytest

from aiodocker_lite.errors import EngineError, RegistryBlocked, UnusableConfig
from aiodocker_lite.reference import Reference
from aiodocker_lite.registry.hosts import Hosts
from aiodocker_lite.settings import Settings

DIGEST = "sha256:" + "0" * 64


@pytest.fixture
def etc(tmp_path: Path) -> Path:
    """The system's directory."""
    (tmp_path / "etc" / "containers" / "registries.conf.d").mkdir(parents=True)
    return tmp_path / "etc"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """The user's."""
    (tmp_path / "home" / "containers" / "registries.conf.d").mkdir(parents=True)
    return tmp_path / "home"


def asked(name: str, *directories: Path, **environ: str) -> list[str]:
    """Where a name is asked for, in order; `~` before what may be insecure."""
    hosts = Hosts(Settings(config_dirs=directories), environ)
    return [
        f"{'' if place.trust.verify else '~'}{place.registry}/{place.repository}"
        for place in hosts.endpoints(Reference.parse(name))
    ]


RULES = """
[[registry]]
location = "a.example"
[[registry.mirror]]
location = "m1.example"
[[registry.mirror]]
location = "m2.example:5000/copies"
insecure = true

[[registry]]
prefix = "a.example/team"
location = "internal.example:5000/elsewhere"
insecure = true

[[registry]]
prefix = "*.wild.example"
[[registry.mirror]]
location = "m3.example/wild"

[[registry]]
prefix = "*.moved.example"
location = "moved.example"

[[registry]]
location = "digests.example"
mirror-by-digest-only = true
mirror = [{ location = "m4.example" }]

[[registry]]
location = "both.example"
mirror = [
    { location = "m5.example", pull-from-mirror = "digest-only" },
    { location = "m6.example", pull-from-mirror = "tag-only" },
    { location = "m7.example", pull-from-mirror = "all" },
]

[[registry]]
location = "docker.io/library"
mirror = [{ location = "hub.example/library" }]

[[registry]]
prefix = "one.example/app"
location = "two.example/app2"

[[registry]]
location = "blocked.example/bad"
blocked = true
"""


@pytest.mark.parametrize(
    ("name", "places"),
    [
        ("other.example/app", ["other.example/app"]),
        ("a.example/app", ["m1.example/app", "~m2.example:5000/copies/app", "a.example/app"]),
        ("a.example/team/app", ["~internal.example:5000/elsewhere/app"]),
        ("a.example/teams/app", ["m1.example/teams/app", "~m2.example:5000/copies/teams/app", "a.example/teams/app"]),
        ("a.example:5000/app", ["a.example:5000/app"]),
        ("aa.example/app", ["aa.example/app"]),
        ("x.y.wild.example/app", ["m3.example/wild/app", "x.y.wild.example/app"]),
        ("wild.example/app", ["wild.example/app"]),
        ("x.wild.example.com/app", ["x.wild.example.com/app"]),
        ("a.b/x.wild.example/app", ["a.b/x.wild.example/app"]),
        ("x.moved.example:5000/app", ["moved.example:5000/app"]),
        ("digests.example/app", ["digests.example/app"]),
        (f"digests.example/app@{DIGEST}", ["m4.example/app", "digests.example/app"]),
        ("both.example/app", ["m6.example/app", "m7.example/app", "both.example/app"]),
        (f"both.example/app:x@{DIGEST}", ["m5.example/app", "m7.example/app", "both.example/app"]),
        ("alpine", ["hub.example/library/alpine", "docker.io/library/alpine"]),
        ("team/alpine", ["docker.io/team/alpine"]),
        ("one.example/app:tag", ["two.example/app2"]),
        ("one.example/app/more", ["two.example/app2/more"]),
        ("one.example/apple", ["one.example/apple"]),
        ("blocked.example/good", ["blocked.example/good"]),
    ],
)  # fmt: skip
def test_where_a_name_is_asked_for(etc: Path, name: str, places: list[str]) -> None:
    """The longest prefix counts; mirrors come first."""
    (etc / "containers" / "registries.conf").write_text(RULES)
    assert asked(name, etc) == places


def test_what_is_blocked_is_refused(etc: Path) -> None:
    """With the file that says so."""
    path = etc / "containers" / "registries.conf"
    path.write_text(RULES)
    with pytest.raises(RegistryBlocked, match=rf"blocked\.example/bad/app:latest is blocked by {path}"):
        asked("blocked.example/bad/app", etc)


def test_version_1_is_understood(etc: Path) -> None:
    """Which old distributions have."""
    text = "[registries.search]\nregistries=['s']\n[registries.insecure]\nregistries=['i.example']\n[registries.block]\nregistries=['b.example']\n"
    (etc / "containers" / "registries.conf").write_text(text)
    assert asked("i.example/app", etc) == ["~i.example/app"]
    with pytest.raises(RegistryBlocked):
        asked("b.example/app", etc)


def test_short_names_are_docker_s(etc: Path) -> None:
    """A name means the same on every machine."""
    text = 'unqualified-search-registries = ["s.example"]\nshort-name-mode = "enforcing"\n[aliases]\nalpine = "evil.example/x"\n'
    (etc / "containers" / "registries.conf").write_text(text)
    assert asked("alpine", etc) == ["docker.io/library/alpine"]


def rule(mirror: str) -> str:
    return f'[[registry]]\nlocation = "a.example"\nmirror = [{{ location = "{mirror}" }}]\n'


def test_which_files_are_read(etc: Path, home: Path) -> None:
    """The system's, then drop-ins by name; a user's file in the place of all of the system's."""
    system, own = etc / "containers", home / "containers"
    (system / "registries.conf").write_text(rule("system.example"))
    assert asked("a.example/x", home, etc)[0] == "system.example/x"
    (system / "registries.conf.d" / "2.conf").write_text(rule("second.example"))
    (system / "registries.conf.d" / "1.conf").write_text(rule("first.example"))
    (system / "registries.conf.d" / "3.other").write_text(rule("third.example"))
    assert asked("a.example/x", home, etc)[0] == "second.example/x"
    (own / "registries.conf.d" / "0.conf").write_text(rule("own.example"))
    assert asked("a.example/x", home, etc)[0] == "own.example/x"
    (own / "registries.conf.d" / "0.conf").unlink()
    (own / "registries.conf").write_text(rule("user.example"))
    assert asked("a.example/x", home, etc)[0] == "user.example/x"
    named = etc / "named.conf"
    named.write_text(rule("named.example"))
    (system / "registries.conf.d" / "2.conf").unlink()
    (system / "registries.conf.d" / "1.conf").unlink()
    assert asked("a.example/x", home, etc, CONTAINERS_REGISTRIES_CONF=str(named))[0] == "named.example/x"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[[registry]]\nx", r"it is not TOML: .*end of document"),
        ("a b", r"it is not TOML: .*line 1, column 3"),
        ("registry = 5", "'registry' is not a list"),
        ("registry = [5]", "'registry' is not an array of tables"),
        ("[[registry]]\nlocation = 5", "registry 1: 'location' is not a string"),
        ("[[registry]]\nlocation='a'\n[[registry]]", "registry 2: 'location' is missing"),
        ('[[registry]]\nlocation="a.example"\nblocked="yes"', "'blocked' is not a truth value"),
        ('[[registry]]\nlocation="https://a.example"', "registry 1: 'location' has a scheme"),
        ('[[registry]]\nlocation="a.example"\n[[registry.mirror]]', "registry 1: mirror 1: 'location' is missing"),
        ('[[registry]]\nlocation="a.example"\nmirror=[{location="m.example",pull-from-mirror="never"}]', "none of all, tag-only, digest-only"),
        ('[[registry]]\nlocation="a.example"\nmirror-by-digest-only=true\nmirror=[{location="m.example",pull-from-mirror="all"}]', "together"),
        ('[[registry]]\nprefix="a.example"\nlocation="b.example/UPPER"', "makes"),
        ('[[registry]]\nprefix="a.example"\nlocation="no-host/x"', "has to be a host"),
        ('[[registry]]\nprefix="a.example/app:latest"\nlocation="b.example/app:other"', "no tag"),
        (b"\xff", "not UTF-8"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_one_sentence(etc: Path, text: str | bytes, reason: str) -> None:
    """The file, the place in it, and what is wrong there."""
    path = etc / "containers" / "registries.conf"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    with pytest.raises(UnusableConfig, match=rf"^cannot use {path}: .*{reason}"):
        asked("a.example/app", etc)


def test_a_file_that_is_named_and_not_there_is_an_error(etc: Path) -> None:
    """Or a typing error would go unseen."""
    with pytest.raises(EngineError, match="CONTAINERS_REGISTRIES_CONF names it"):
        asked("a.example/app", etc, CONTAINERS_REGISTRIES_CONF=str(etc / "nothing"))
