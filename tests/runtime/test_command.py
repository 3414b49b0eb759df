"""Looking a command up, and the environment it gets."""

from __future__ import annotations

import pytest

from aiodocker_lite.runtime.command import candidates, environment_of


@pytest.mark.parametrize(
    ("name", "path", "found"),
    [
        ("ls", "/usr/bin:/bin", ["/usr/bin/ls", "/bin/ls"]),
        ("ls", "", []),
        ("", "/bin", []),
        ("ls", ":.:bin:/bin/", ["/bin/ls"]),
        ("./ls", "/bin", ["./ls"]),
        ("/sbin/ls", "/bin", ["/sbin/ls"]),
    ],
)
def test_where_a_command_may_be(name: str, path: str, found: list[str]) -> None:
    """A name with a slash is a path; an empty or relative part of PATH is nowhere."""
    assert candidates(name, path) == found


@pytest.mark.parametrize(
    ("entries", "environment"),
    [
        ([], {"HOME": "/root"}),
        (["HOME=/x", "A=1=2", "A=3"], {"HOME": "/x", "A": "3"}),
        (["HOME="], {"HOME": ""}),
        (["odd"], {"HOME": "/root"}),
    ],
)
def test_home_is_added_where_it_is_not_set(entries: list[str], environment: dict[str, str]) -> None:
    """The last of a name wins (X20)."""
    assert environment_of(entries, "/root") == environment
