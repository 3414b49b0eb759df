"""Published ports in docker's notation."""

from __future__ import annotations

import pytest

from aiodocker_lite.errors import InvalidOption
from aiodocker_lite.ports import Port


@pytest.mark.parametrize(
    ("text", "ports"),
    [
        ("80", [Port(80)]),
        ("8080:80", [Port(80, 8080)]),
        ("8080:80/udp", [Port(80, 8080, protocol="udp")]),
        ("8080:80/TCP", [Port(80, 8080)]),
        ("127.0.0.1:8080:80", [Port(80, 8080, "127.0.0.1")]),
        ("127.0.0.1::80", [Port(80, None, "127.0.0.1")]),
        ("[::1]:8080:80", [Port(80, 8080, "::1")]),
        ("7000-7001:80-81", [Port(80, 7000), Port(81, 7001)]),
        ("80-81", [Port(80), Port(81)]),
    ],
)
def test_what_it_says(text: str, ports: list[Port]) -> None:
    """A range is as many ports."""
    assert list(Port.parse(text)) == ports


@pytest.mark.parametrize(
    "text",
    ["", "x", "0", "65536", "8080:", ":80:90:", "80/icmp", "1.2.3:80:80", "7000-7002:80-81", "[::1:80", "90-80", "-80", "8080:80:90:1"],
)  # fmt: skip
def test_what_it_cannot_say(text: str) -> None:
    """One sentence that has it."""
    with pytest.raises(InvalidOption, match="--publish"):
        Port.parse(text)
