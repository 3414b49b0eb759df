"""Users of an image: names, numbers, and everything that only looks like one (X12)."""

from __future__ import annotations

import pytest

from aiodocker_lite.errors import InvalidUser
from aiodocker_lite.users import User, resolve_user

PASSWD = b"""root:x:0:0:root:/root:/bin/sh
bob:x:1000:1001:Bob:/home/bob:/bin/sh
twin:x:1000:7::/twin:
0:x:55:55::/fake-root:
1234:x:0:0::/fake:
broken:x:zero:0::/:
minus:x:-1:0::/:
huge:x:4294967296:0::/:
short:x
#hash:x:0:0::/:
nul:x:70:70::/nul\0home:
homeless:x:60:60::
"""
GROUP = b"""root:x:0:
bob:x:1001:
wheel:x:10:bob,root
audio:x:29:eve, bob
10:x:77:
broken:x:ten:bob
"""


@pytest.mark.parametrize(
    ("text", "user"),
    [
        ("", User(0, 0, (0, 10), "/root")),
        ("root", User(0, 0, (0, 10), "/root")),
        ("0", User(0, 0, (0, 10), "/root")),
        ("bob", User(1000, 1001, (1001, 10, 29), "/home/bob")),
        ("1000", User(1000, 1001, (1001, 10, 29), "/home/bob")),
        ("bob:wheel", User(1000, 10, (10,), "/home/bob")),
        ("bob:10", User(1000, 10, (10,), "/home/bob")),
        ("bob:5000", User(1000, 5000, (5000,), "/home/bob")),
        ("bob:", User(1000, 1001, (1001, 10, 29), "/home/bob")),
        ("1:", User(1, 0, (0,), "/")),
        (":", User(0, 0, (0, 10), "/root")),
        (":wheel", User(0, 10, (10,), "/root")),
        (":5000", User(0, 5000, (5000,), "/root")),
        ("4321", User(4321, 0, (0,), "/")),
        ("4321:wheel", User(4321, 10, (10,), "/")),
        ("007", User(7, 0, (0,), "/")),
        ("1234", User(1234, 0, (0,), "/")),
        ("4294967294:4294967294", User(4294967294, 4294967294, (4294967294,), "/")),
        ("homeless", User(60, 60, (60,), "/")),
    ],
)
def test_a_user_is_found_as_docker_finds_it(text: str, user: User) -> None:
    """A number is never a name, the first of two entries wins, an explicit group is the only one."""
    assert resolve_user(text, PASSWD, GROUP) == user


@pytest.mark.parametrize(
    "text",
    [
        "eve",
        "bob:eve",
        "4294967295",
        "4294967296",
        "99999999999999999999999",
        "9" * 10_000,
        "-1",
        "+1",
        "0x0",
        "1e3",
        " 0",
        "0 ",
        " ",
        ":eve",
        ":-1",
        "1:-1",
        "bob:4294967296",
        "bob:wheel:x",
        "\u0660",
        "\u00b2",
        "bob\n",
        "broken",
        "minus",
        "huge",
        "short",
        "#hash",
        "nul",
    ],
)
def test_what_is_neither_name_nor_number_is_refused(text: str) -> None:
    """Nothing strange ever becomes root."""
    with pytest.raises(InvalidUser):
        resolve_user(text, PASSWD, GROUP)


def test_an_image_without_accounts_has_numbers_only() -> None:
    """Root is root without passwd; a name is not found."""
    assert resolve_user("", b"", b"") == User(0, 0, (0,), "/")
    assert resolve_user("5:6", b"", b"") == User(5, 6, (6,), "/")
    with pytest.raises(InvalidUser, match="unable to find user bob: no matching entries in passwd file"):
        resolve_user("bob", b"", b"")


def test_bytes_that_are_no_text_are_no_obstacle() -> None:
    """Accounts of a stranger's encoding are kept as they are."""
    assert resolve_user("1", b"\xff\xfe:x:1:1::/h\xe9:\n", b"\xff").home == "/h\udce9"
