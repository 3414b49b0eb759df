"""The second wall: what a process can still reach once it has entered a layer's directory."""

from __future__ import annotations

import errno
import json
import os
import socket
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from aiodocker_lite import subids, syscalls
from aiodocker_lite.layer import confine
from tests.runtime import cage

NOBODY = 65534


def in_a_copy(
    user: int,
    directory: Path,
    work: Callable[[], dict[str, object]],
    *,
    rights: int | None = None,
    grant: str = "",
) -> dict[str, object]:
    """What a confined process of this user finds out, in a process of its own."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            if grant:
                cage.show([])
                cage.grant(grant)
            if user:
                os.setgroups([])
                os.setresgid(user, user, user)
                os.setresuid(user, user, user)
                # As after an exec: else /proc/self stays root's.
                syscalls.prctl(syscalls.PR_SET_DUMPABLE, 1)
            if rights is not None:
                syscalls.capset(rights, rights, 0)
            root = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
            answer: dict[str, object] = {"apart": confine.step_apart(subids.granted() if grant else None)}
            answer["entered"] = confine.enter(root)
            os.write(write, json.dumps(answer | work()).encode())
        except BaseException as error:
            os.write(write, json.dumps({"error": repr(error)}).encode())
        finally:
            os._exit(0)
    os.close(write)
    with os.fdopen(read) as answers:
        found: dict[str, object] = json.loads(answers.read())
    os.waitpid(pid, 0)
    return found


def attempt(what: Callable[[], object]) -> str | None:
    """The name of the error, or None if it worked."""
    try:
        what()
    except OSError as error:
        return errno.errorcode[error.errno or 0]
    return None


def look_around() -> dict[str, object]:
    with socket.socket() as probe:
        network = attempt(lambda: probe.connect(("127.0.0.1", 9)))
    return {
        "root": sorted(os.listdir("/")),  # noqa: PTH208
        "up": sorted(os.listdir("../../..")),  # noqa: PTH208
        "host": attempt(lambda: os.open("/etc/passwd", os.O_RDONLY)),
        "link": attempt(lambda: os.open("out/secret", os.O_RDONLY)),
        "chroot": attempt(lambda: os.chroot(".")),
        "network": network,
        "write": attempt(lambda: os.mkdir("/made")),  # noqa: PTH102
        "give away": attempt(lambda: os.chown("/made", 33, 33)),
        "rights": syscalls.capget()[1],
    }


@pytest.mark.parametrize(
    ("user", "grant", "owner"),
    [(0, "", 33), (NOBODY, "", NOBODY), (NOBODY, "nobody:200000:65536", 200_032)],
    ids=["root", "nobody", "nobody with subordinate ids"],
)
def test_nothing_but_the_directory_is_in_reach(tmp_path: Path, user: int, grant: str, owner: int) -> None:
    """No way up, no absolute path, no network, no second chroot; the directory itself can be written."""
    for parent in (tmp_path, *tmp_path.parents):
        if not parent.stat().st_mode & stat.S_IXOTH:
            parent.chmod(0o755)
    outside, root = tmp_path / "outside", tmp_path / "root"
    for directory in (outside, root):
        directory.mkdir()
        os.chown(directory, user, user)
    (outside / "secret").write_text("s")
    (root / "out").symlink_to(outside)

    found = in_a_copy(user, root, look_around, grant=grant)
    rights = found.pop("rights")
    assert isinstance(rights, int)
    assert rights & ~confine._NEEDED == 0
    assert found == {
        "apart": True,
        "entered": True,
        "root": ["out"],
        "up": ["out"],
        "host": "ENOENT",
        "link": "ENOENT",
        "chroot": "EPERM",
        "network": "ENETUNREACH",
        "write": None,
        "give away": None if owner != user else "EINVAL",
    }
    assert (root / "made").stat().st_uid == owner


def test_where_it_is_not_permitted_it_is_left_out(tmp_path: Path) -> None:
    """Root without capabilities, as in many containers, has the first wall alone."""

    def work() -> dict[str, object]:
        return {"sees": os.path.exists("/etc/passwd")}  # noqa: PTH110

    found = in_a_copy(0, tmp_path, work, rights=0)
    assert found == {"apart": False, "entered": False, "sees": True}
