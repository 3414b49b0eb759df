"""Fewer rights: an ordinary user's namespaces, a chroot, and nothing at all.

Rights are really taken away (`cage.py`), and the ladder finds the rung by itself.
"""

from __future__ import annotations

import os
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from aiodocker_lite.runtime import lesser
from aiodocker_lite.runtime.report import Failed
from tests.runtime.conftest import Caged
from tests.runtime.driver import HOSTNAME

pytestmark = pytest.mark.root


def shell(caged: Caged, rights: str, text: str, **job: Any) -> list[str]:
    answer = caged(rights, "/bin/sh", "-c", text, **job)
    assert "message" not in answer, answer["message"]
    return str(answer["out"]).splitlines()


# --- an ordinary user ------------------------------------------------------------------------


def test_an_ordinary_user_is_root_inside_and_nobody_outside(caged: Caged) -> None:
    """All namespaces, a root file system of its own, and a map of one id."""
    text = (
        "id -u; echo $$; hostname; cat /proc/self/uid_map | tr -s ' '; touch /made && stat -c %u /made;"
        "for n in user mnt pid uts ipc cgroup; do readlink /proc/self/ns/$n; done"
    )
    uid, pid, name, ids, owner, *inside = shell(caged, "ordinary-user", text)
    assert (uid, pid, name, ids.split(), owner) == ("0", "1", HOSTNAME, ["0", "65534", "1"], "0")
    names = ("user", "mnt", "pid", "uts", "ipc", "cgroup")
    assert not set(inside) & {str(Path(f"/proc/self/ns/{kind}").readlink()) for kind in names}


def test_an_ordinary_users_container_is_as_closed_as_roots(caged: Caged) -> None:
    """Few capabilities, no new privileges, read-only kernel file systems, hidden files, own devices."""
    text = (
        "grep -E 'CapEff|CapBnd|CapInh|NoNew' /proc/self/status | cut -f2;"
        "echo x 2>&- > /proc/sys/kernel/hostname || echo refused; mkdir /sys/fs/cgroup/x 2>&- || echo refused;"
        "touch /sys/x 2>&- || echo refused; mount -t tmpfs none /tmp 2>&- || echo refused;"
        "wc -c < /proc/timer_list; head -c 3 /dev/zero | wc -c; ls /dev/pts; ls /proc/1/fd; true"
    )
    inherited, effective, bounding, no_new, *rest = shell(caged, "ordinary-user", text)
    assert (int(inherited, 16), no_new) == (0, "1")
    assert int(effective, 16) == int(bounding, 16) == 0x800405FB
    assert rest == [*["refused"] * 4, "0", "3", "ptmx", "0", "1", "2"]


def test_other_ids_need_subordinate_ids(caged: Caged) -> None:
    """Another user than root cannot exist in a map of one, and the sentence says why."""
    answer = caged("ordinary-user", "/bin/true", options={"user": "bob"})
    assert answer["slug"] == "setup-failed"
    assert answer["message"] == (
        "cannot start the container: becoming user 1000:1001: "
        "there are no subordinate ids here, so only user and group 0 can be used "
        "(see /etc/subuid and /etc/subgid, and Debian's package uidmap)"
    )


def test_root_hands_all_its_ids_on(caged: Caged) -> None:
    """Root that may not make namespaces has every user in its user namespace."""
    text = "id -u; id -G; touch /home/x 2>&- || echo refused; cut -c1-40 /proc/self/uid_map | tr -s ' '"
    uid, groups, refused, ids = shell(caged, "root-of-little", text, options={"user": "bob"})
    assert (uid, groups, refused) == ("1000", "1001 10 29", "refused")
    assert int(ids.split()[2]) > 65536


def test_an_ordinary_users_layers_and_volumes(caged: Caged, open_directory: Path) -> None:
    """Marks without privileges are honoured, and volumes are those the user may see."""
    above, data = open_directory / "user-above", open_directory / "user-data"
    for path in (above, above / "etc", data):
        path.mkdir()
    (above / "etc" / "mine").write_text("x")
    (data / "file").write_text("x")
    os.setxattr(above / "etc", "user.overlay.opaque", b"y")
    os.mknod(above / "home", stat.S_IFCHR, 0)
    subprocess.check_call(["chown", "-R", "65534:65534", above, data])
    mounts = [{"target": "/v", "source": str(data), "read_only": True}]
    text = "ls /etc; ls -d /home 2>&-; cat /v/file; touch /v/x 2>&- || echo refused"
    lines = shell(caged, "ordinary-user", text, above=[str(above)], mounts=mounts)
    assert lines == ["hostname", "hosts", "mine", "resolv.conf", "xrefused"]


# --- a chroot --------------------------------------------------------------------------------


def test_a_chroot_has_a_root_of_its_own_and_few_rights(caged: Caged) -> None:
    """Files, user, environment and exit code are as ever; leaving by another chroot is not possible."""
    text = (
        "pwd; echo $(ls /); id -u; grep -q localhost /etc/hosts && cat /etc/hostname;"
        "echo $HOME; chroot /tmp /bin/true 2>&- || echo refused; echo x > /dev/null; exit 0"
    )
    cwd, root, uid, name, home, refused = shell(caged, "chroot", text, image={"working_dir": "/srv"})
    assert (cwd, uid, name, home, refused) == ("/srv", "0", HOSTNAME, "/root", "refused")
    assert set(root.split()) >= {"bin", "etc", "srv"}
    assert "proc" not in root.split() or "1" not in root


def test_a_chroot_changes_the_user(caged: Caged) -> None:
    """Ids are the host's there, so every user can be had."""
    assert shell(caged, "chroot", "id -u; id -g; id -G", options={"user": "bob"}) == [
        "1000",
        "1001",
        "1001 10 29",
    ]


@pytest.mark.parametrize("rights", ["chroot", "nothing"])
def test_a_volume_is_refused_where_nothing_can_be_mounted(caged: Caged, rights: str) -> None:
    """Never ignored."""
    answer = caged(rights, "/bin/true", mounts=[{"target": "/v", "source": "/tmp"}])
    assert answer["slug"] == "invalid-option"
    assert "/v cannot be mounted" in answer["message"]


@pytest.mark.parametrize("rights", ["ordinary-user", "chroot", "nothing"])
@pytest.mark.parametrize(
    ("command", "code"),
    [
        (["/bin/sh", "-c", "exit 7"], 7),
        (["nope"], 127),
        (["/etc"], 126),
        (["/bin/sh", "-c", "kill -9 $$; exit 0"], None),
    ],
    ids=["own", "not found", "not executable", "killed"],
)
def test_exit_codes_are_the_same_everywhere(
    caged: Caged, rights: str, command: list[str], code: int | None
) -> None:
    """Process 1 of a namespace does not hear its own KILL; without namespaces it does."""
    expected = code if code is not None else 0 if rights == "ordinary-user" else 137
    assert caged(rights, *command)["code"] == expected


@pytest.mark.parametrize("rights", ["ordinary-user", "chroot", "nothing"])
def test_what_is_left_in_the_background_ends_too(caged: Caged, rights: str) -> None:
    """Also what has left the session, and holds the output; the exit code is that of the command."""
    number = {"ordinary-user": "98761", "chroot": "98762", "nothing": "98763"}[rights]
    answer = caged(rights, "/bin/sh", "-c", f"setsid sleep {number} & sh -c 'sleep {number} &'; exit 3")
    assert answer["code"] == 3
    assert number not in subprocess.check_output(["ps", "-eo", "args"], text=True)


# --- nothing ---------------------------------------------------------------------------------


def test_without_any_rights_the_images_programs_still_run(caged: Caged) -> None:
    """In the image's tree, with its programs in PATH, as the caller."""
    text = "pwd; echo $PATH; id -u; cat ../etc/passwd | wc -l; echo $HOME"
    cwd, path, uid, count, home = shell(caged, "nothing", text, image={"working_dir": "/home"})
    assert cwd.endswith("/container/rootfs/home")
    top = cwd.removesuffix("/home")
    assert path.split(":")[-1] == f"{top}/bin"
    assert all(part.startswith(top) for part in path.split(":"))
    assert (uid, count, home) == ("65534", "2", "/root")


def test_without_any_rights_there_is_one_user(caged: Caged) -> None:
    """Another one is refused, not ignored."""
    answer = caged("nothing", "/bin/true", options={"user": "bob"})
    assert "becoming user 1000:1001: only root can do that" in answer["message"]


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[int]:
    """A root with the loader and libraries of a program of this machine."""
    root = tmp_path / "root"
    (root / "bin").mkdir(parents=True)
    fd = os.open(root, os.O_PATH)
    yield fd
    os.close(fd)


def test_a_program_is_started_with_the_loader_it_names(tree: int, tmp_path: Path) -> None:
    """If the image has it; the host's would not fit the image's libraries."""
    program = next((p for p in ("/usr/bin/env", "/bin/ls") if b"/ld-" in Path(p).read_bytes()[:4096]), None)
    if program is None:
        pytest.skip("needs a dynamic program")
    root = tmp_path / "root"
    (root / "bin" / "tool").write_bytes(Path(program).read_bytes())
    (root / "bin" / "alias").symlink_to("/bin/tool")
    environment = {"PATH": "/bin:relative", "A": "1"}

    files, arguments, env = lesser.outside_command(tree, ["alias", "x"], environment)
    assert (files, arguments) == ([f"{root}/bin/tool"], ["alias", "x"])
    assert (env["PATH"], env["A"]) == (f"{root}/bin", "1")
    assert env["LD_LIBRARY_PATH"].startswith(f"{root}/lib64:")

    name = Path(program).read_bytes().partition(b"\0/lib")[2].partition(b"\0")[0].decode()
    loader = root / f"lib{name}"
    loader.parent.mkdir(exist_ok=True)
    loader.write_bytes(b"")
    files, arguments, _ = lesser.outside_command(tree, ["/bin/alias", "x"], environment)
    assert files == [str(loader)]
    assert arguments == [str(loader), "--argv0", "/bin/alias", f"{root}/bin/tool", "x"]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"#!/bin/sh",
        b"\x7fELF\x02\x01",
        b"\x7fELF\x02\x01" + b"\xff" * 200,
        b"\x7fELF\x01\x01" + b"\0" * 100,
    ],
)
def test_no_program_confuses_the_search_for_a_loader(tree: int, tmp_path: Path, content: bytes) -> None:
    """What is no whole ELF file has no loader."""
    file = tmp_path / "root" / "bin" / "odd"
    file.write_bytes(content)
    assert lesser.outside_command(tree, ["odd"], {"PATH": "/bin"})[0] == [str(file)]


def test_a_command_outside_of_the_tree_is_not_found(tree: int, tmp_path: Path) -> None:
    """A link leads inside, here as well."""
    (tmp_path / "secret").write_text("x")
    (tmp_path / "root" / "bin" / "out").symlink_to(tmp_path / "secret")
    for name in ("out", "/bin/out", "../../secret", "nope"):
        with pytest.raises(Failed) as caught:
            lesser.outside_command(tree, [name], {"PATH": "/bin"})
        assert caught.value.slug == "command-not-found"
