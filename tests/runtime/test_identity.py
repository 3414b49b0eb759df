"""Who a container's process is: users, groups, and files of accounts that nobody should trust."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from aiodocker_lite.errors import SetupFailed
from aiodocker_lite.options import RunOptions
from aiodocker_lite.runtime import identity
from tests.runtime.conftest import Run
from tests.runtime.driver import image_config

pytestmark = pytest.mark.root
IDS = "echo $(id -u) $(id -g) $(id -G); grep -E '^(Uid|Gid)' /proc/self/status | tr '\\t' ' '"


@pytest.mark.parametrize(
    ("user", "ids"),
    [
        (None, "0 0 0"),
        ("bob", "1000 1001 1001 10 29"),
        ("1000", "1000 1001 1001 10 29"),
        ("bob:wheel", "1000 10 10"),
        ("1000:29", "1000 29 29"),
        ("4321", "4321 0 0"),
        ("4321:1234", "4321 1234 1234"),
        ("0:0", "0 0 0"),
    ],
)
async def test_user_and_groups(as_root: None, script: Run, user: str | None, ids: str) -> None:
    """As docker has them, with no group of the caller (X11), and no saved id to go back to."""
    done = await script(IDS, options=RunOptions(user=user))
    uid, gid = ids.split()[:2]
    assert done.lines == [ids, f"Uid: {' '.join([uid] * 4)}", f"Gid: {' '.join([gid] * 4)}"]


async def test_an_ordinary_user_has_no_capability(as_root: None, script: Run) -> None:
    """Only the bounding set has some, and no program can give them."""
    done = await script(
        "grep Cap /proc/self/status; chown 5 /tmp; cat /etc/shadow", options=RunOptions(user="bob")
    )
    values = dict(line.split(":\t") for line in done.lines)
    assert values["CapPrm"] == values["CapEff"] == values["CapInh"] == values["CapAmb"] == "0" * 16
    assert "Operation not permitted" in done.err


async def test_a_setuid_program_gives_nothing(as_root: None, run: Run, above: Path, busybox: Path) -> None:
    """With no_new_privs a setuid bit means nothing (X08)."""
    (above / "up").mkdir()
    program = above / "up" / "busybox"
    program.write_bytes(busybox.read_bytes())
    program.chmod(0o4755)
    command = ("/up/busybox", "grep", "^Uid", "/proc/self/status")
    done = await run(*command, above=[above], options=RunOptions(user="bob"))
    assert done.out.split() == ["Uid:", "1000", "1000", "1000", "1000"]


async def test_the_streams_belong_to_the_user(as_root: None, script: Run) -> None:
    """Or /dev/stdout could not be opened."""
    done = await script("echo out > /dev/stdout; echo err > /dev/stderr", options=RunOptions(user="bob"))
    assert (done.out, done.err) == ("out\n", "err\n")


async def test_a_file_of_the_caller_stays_his(as_root: None, run: Run, tmp_path: Path) -> None:
    """Only pipes are given away."""
    with (tmp_path / "log").open("wb") as log:
        await run("/bin/true", options=RunOptions(user="bob"), stdin=log)
    assert (tmp_path / "log").stat().st_uid == os.geteuid()


async def test_the_session_keyring_is_new(as_root: None, script: Run) -> None:
    """The caller's keys are not to be had (X26); /proc/keys is covered anyway."""
    assert (await script("wc -c < /proc/keys")).lines in (["0"], [])


def huge(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(10 << 30)


def just_too_large(path: Path) -> None:
    path.write_bytes(b"#" * ((1 << 20) + 1))


@pytest.mark.parametrize("name", ["passwd", "group"])
@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (os.mkfifo, "not a regular file"),
        (lambda path: path.mkdir(), "not a regular file"),
        (huge, "larger than 1 MiB"),
        (just_too_large, "larger than 1 MiB"),
        (lambda path: path.symlink_to("/dev/zero"), "not a regular file"),
        (lambda path: path.symlink_to(path.name), "symbolic links"),
        (lambda path: path.symlink_to("/proc/self/fd/0"), "symbolic links"),
    ],
    ids=["fifo", "directory", "10 GiB", "1 MiB + 1", "device", "loop", "magic link"],
)
async def test_hostile_accounts_are_refused(
    as_root: None, run: Run, above: Path, name: str, make: object, reason: str
) -> None:
    """Without hanging, and without reading more than there is any use for (X13)."""
    assert callable(make)
    (above / "etc").mkdir()
    make(above / "etc" / name)
    with pytest.raises(SetupFailed, match=f"reading /etc/{name} of the image: .*{reason}"):
        await run("/bin/true", above=[above])


async def test_accounts_behind_a_link_are_the_images(
    as_root: None, run: Run, above: Path, tmp_path: Path
) -> None:
    """A link is followed inside; the host's file is never read (CVE-2024-9676)."""
    (tmp_path / "accounts").write_text("bob:x:0:0::/:\n")
    (above / "etc").mkdir()
    (above / "etc" / "passwd").symlink_to(tmp_path / "accounts")
    done = await run("/bin/sh", "-c", "id -u", above=[above], options=RunOptions(user="77"))
    assert done.out == "77\n"
    (above / "etc" / "passwd").unlink()
    (above / "etc" / "passwd").symlink_to("../real")
    (above / "real").write_text("bob:x:4242:0::/:\n")
    done = await run("/bin/sh", "-c", "id -u", above=[above], image=image_config(user="bob"))
    assert done.out == "4242\n"


def test_capabilities_are_the_kernels_numbers() -> None:
    """The first, the last, and podman's eleven."""
    assert identity.allowed(["CAP_CHOWN"]) == 1
    assert identity.allowed(["CAP_CHECKPOINT_RESTORE"]) == 1 << 40
    assert identity.allowed(["CAP_SYS_ADMIN", "CAP_SYS_ADMIN"]) == 1 << 21
