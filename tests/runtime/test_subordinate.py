"""An ordinary user with subordinate ids: every user of an image can be had, as for root."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.fakes.processes import program
from tests.runtime.conftest import Caged
from tests.runtime.test_lesser import shell

pytestmark = pytest.mark.root
USER = "ordinary-user:nobody:200000:65536"
NO_MORE = "(see /etc/subuid and /etc/subgid, and Debian's package uidmap)"


@pytest.fixture(autouse=True)
def _programs() -> None:
    program("newuidmap")


@pytest.mark.parametrize(
    ("user", "ids"),
    [
        (None, "0 0 0"),
        ("bob", "1000 1001 1001 10 29"),
        ("33:33", "33 33 33"),
        ("65534:65534", "65534 65534 65534"),
        ("65536:65536", "65536 65536 65536"),
    ],
)
def test_user_and_groups(caged: Caged, user: str | None, ids: str) -> None:
    """With the streams, and with no group of the caller."""
    text = "echo $(id -u) $(id -g) $(id -G); echo out > /dev/stdout; cat /proc/self/setgroups"
    assert shell(caged, USER, text, options={"user": user}) == [ids, "out", "allow"]


def test_the_map_is_what_was_granted(caged: Caged) -> None:
    """The user is root, and the range follows; devices and kernel file systems are as ever."""
    text = (
        "cat /proc/self/uid_map /proc/self/gid_map; stat -c %u:%g /dev/pts/ptmx; grep devpts /proc/mounts;"
        "touch /x; chown 33:34 /x; stat -c %u:%g /x; mknod /y c 1 3 2>&- || echo refused"
    )
    *maps, ptmx, devpts, owner, refused = shell(caged, USER, text)
    rows = [["0", "65534", "1"], ["1", "200000", "65536"]]
    assert [line.split() for line in maps] == rows * 2
    assert (ptmx, owner, refused) == ("0:0", "33:34", "refused")
    assert "gid=200004" in devpts, "group 5, as it is outside"


def test_the_root_directory_has_the_owner_of_the_image(caged: Caged, open_directory: Path) -> None:
    """Which the engine itself could not give away."""
    above = open_directory / "roots-owner"
    above.mkdir(mode=0o755)
    os.chown(above, 200_032, 200_033)
    assert shell(caged, USER, "stat -c %u:%g /", above=[str(above)]) == ["33:34"]


@pytest.mark.parametrize(
    ("rights", "reason"),
    [
        (USER, "there are not as many subordinate ids here"),
        ("ordinary-user", "there are no subordinate ids here, so only user and group 0 can be used"),
    ],
)
def test_an_id_beyond_is_refused_with_the_way_to_have_it(caged: Caged, rights: str, reason: str) -> None:
    """And not by a number of the kernel's (X10)."""
    answer = caged(rights, "/bin/true", options={"user": "70000:1"})
    assert answer["message"] == f"cannot start the container: becoming user 70000:1: {reason} {NO_MORE}"


@pytest.mark.parametrize(
    "line",
    [":nobody:200000:65536", "somebody:200000:65536", "nobody:200000"],
    ids=["refused", "other", "odd"],
)
def test_without_them_all_is_as_ever(caged: Caged, line: str) -> None:
    """Granted to somebody else, in a line that is none, or refused when it is half done: one id, no word."""
    answer = caged(f"ordinary-user:{line}", "/bin/cat", "/proc/self/uid_map")
    assert (answer["rung"], answer["warnings"]) == ("user-namespaces", [])
    assert answer["out"].split() == ["0", "65534", "1"]
