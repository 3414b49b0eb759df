"""`cp`: docker's rules for what goes where, and no way out of a container."""

from __future__ import annotations

import io
import os
import stat
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.commands import Adl, Names, command, environment
from tests.fakes.docker import dockerd

MAKE = (
    "mkdir -p /d/sub /empty; echo one >/d/one; echo two >/d/sub/two; ln -s one /d/link; ln -s /d /way;"
    " mkdir /odd; mkfifo /odd/fifo; cp /bin/sh /odd/suid; chmod 4755 /odd/suid;"
    " ln -s /etc/shadow /d/abs; ln -s ../../../../../../etc /d/up; echo x >'/d/a b'; chmod 640 /d/one; chown 7:8 /d/one;"
)


@pytest.fixture(params=["running", "ended"])
def one(own_box: Adl, names: Names, request: pytest.FixtureRequest) -> Iterator[Adl]:
    """The command line on a store with a container that runs, or has ended."""
    end = "exec sleep 1000" if request.param == "running" else "true"
    done = own_box("run", "-dq", "--name", "one", names.box, "sh", "-c", f"{MAKE} echo up; {end}")
    assert done.code == 0, done.err
    if request.param == "running":
        while own_box("logs", "one").out != "up\n":
            pass
    else:
        own_box("wait", "one")
    yield own_box
    own_box("rm", "-f", "one")


def listing(directory: Path) -> list[str]:
    return sorted(str(path.relative_to(directory)) for path in directory.rglob("*"))


def test_files_come_out(one: Adl, tmp_path: Path) -> None:
    """Files and directories, links as links, and nobody's but mine."""
    out = tmp_path / "out"
    out.mkdir()
    assert one("cp", "one:/d/one", str(out)).err == ""
    assert one("cp", "one:d/one", str(out / "new")).code == 0
    assert one("cp", "one:/d", str(out)).code == 0
    assert one("cp", "one:/d/.", str(out / "content")).code == 0
    assert (out / "one").read_text() == (out / "new").read_text() == "one\n"
    assert (out / "one").stat().st_mode & 0o777 == 0o640
    assert (out / "one").stat().st_uid == os.geteuid()
    inside = ["a b", "abs", "link", "one", "sub", "sub/two", "up"]
    assert listing(out / "d") == listing(out / "content") == inside
    assert (out / "d/abs").readlink() == Path("/etc/shadow")
    assert (
        one("cp", "one:/d/link", str(out)).code
        == one("cp", "-L", "one:/d/link", str(out / "followed")).code
        == 0
    )
    assert (out / "link").is_symlink()
    assert (out / "followed").read_text() == "one\n"
    for words, reason in (
        (("one:/nothing", str(out)), "one:/nothing: no such file or directory"),
        (("one:/d", str(out / "one")), "cannot be replaced by a directory"),
        (("one:/d/one", str(out / "no/where")), "does not exist"),
        (("one:/d/one", f"{out}/nowhere/"), "is no directory"),
        (("two:/d/one", str(out)), "No such container: two"),
    ):
        done = one("cp", *words)
        assert (done.code, reason in done.sentence) == (1, True), done
    assert one("cp", "one:/a", "one:/b").code == one("cp", "a", "b").code == 125


def test_what_is_no_file_comes_out_too(one: Adl, tmp_path: Path) -> None:
    """Or that is said: nothing is left out, or changed, without a word."""
    out = tmp_path / "out"
    done = one("cp", "one:/odd", str(out))
    assert (done.code, done.sentence) == (0, "Warning: out/suid is not setuid or setgid any more")
    assert stat.filemode((out / "fifo").lstat().st_mode)[0] == "p"
    assert (out / "suid").stat().st_mode & 0o7777 == 0o755
    done = one("cp", "-a", "one:/odd/suid", str(tmp_path / "kept"))
    kept = (tmp_path / "kept").stat()
    assert (done.code, bool(kept.st_mode & stat.S_ISUID)) == (0, os.geteuid() == 0)
    assert one("cp", str(out / "fifo"), "one:/odd/back").code == 0
    assert one("cp", "/dev/null", "one:/odd/device").code == (0 if os.geteuid() == 0 else 1)
    if os.geteuid() == 0:
        done = one("cp", "one:/odd/device", str(out))
        assert (done.code, "is a device" in done.sentence) == (1, True)
        done = one("cp", "one:/odd", str(out))
        assert (done.code, "odd/device is a device, and was left out" in done.err) == (0, True)
        assert listing(out / "odd") == ["back", "fifo", "suid"]
    assert "could not find the file" in one("cp", "/proc/version", "one:/odd/version").sentence


def test_what_the_kernel_shows_is_no_file(own_box: Adl, names: Names, tmp_path: Path) -> None:
    """As with docker: not found, and in what is copied as a whole there is an empty directory."""
    assert own_box("run", "-dq", "--name", "one", names.box, "sleep", "1000").code == 0
    for path in ("/proc/cpuinfo", "/proc/1", "/sys/kernel", "/sys/kernel/notes", "/dev/null"):
        done = own_box("cp", f"one:{path}", str(tmp_path / "x"))
        assert (done.code, f"one:{path}: could not find the file" in done.sentence) == (1, True), done
    assert own_box("cp", "one:/proc", str(tmp_path / "x")).code == 0
    done = own_box("cp", "one:/", str(tmp_path / "all"))
    assert (done.code, "all/dev/full is a device, and was left out" in done.err) == (0, True)
    for empty in ("x", "all/proc", "all/sys"):
        assert listing(tmp_path / empty) == []
    assert own_box("rm", "-f", "one").code == 0


def test_files_go_in(one: Adl, tmp_path: Path) -> None:
    """And come out again as they were; inside they are root's."""
    source = tmp_path / "source"
    (source / "sub").mkdir(parents=True)
    (source / "file").write_text("from the host")
    (source / "sub/script").write_text("#!")
    (source / "sub/script").chmod(0o755)
    assert one("cp", str(source), "one:/new").err == ""
    assert one("cp", str(source), "one:/new").code == 0
    assert one("cp", f"{source}/.", "one:/way/").code == 0
    assert one("cp", str(source / "file"), "one:/d/one").code == 0
    assert one("cp", "one:/new", str(tmp_path / "back")).code == 0
    assert listing(tmp_path / "back") == [
        "file", "source", "source/file", "source/sub", "source/sub/script", "sub", "sub/script",
    ]  # fmt: skip
    assert (tmp_path / "back/sub/script").stat().st_mode & 0o777 == 0o755
    out = subprocess.run(
        command(tmp_path / "store", "cp", "one:/d", "-"),
        env=environment(tmp_path),
        capture_output=True,
        check=True,
    ).stdout
    with tarfile.open(fileobj=io.BytesIO(out)) as archive:
        assert (archive.getmember("d/file").uid, archive.getmember("d/sub/two").size) == (0, 4)
        found = archive.extractfile("d/one")
        assert found is not None
        assert found.read() == b"from the host"


def test_a_tar_goes_in_as_it_is(one: Adl, tmp_path: Path) -> None:
    """With its owners; what is no tar is a sentence."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        member = tarfile.TarInfo("here")
        member.uid, member.gid, member.size = 12, 34, 2
        archive.addfile(member, io.BytesIO(b"hi"))
    assert one("cp", "-", "one:/empty", stdin=content.getvalue()).err == ""
    out = subprocess.run(
        command(tmp_path / "store", "cp", "one:/empty/here", "-"),
        env=environment(tmp_path),
        capture_output=True,
        check=True,
    ).stdout
    with tarfile.open(fileobj=io.BytesIO(out)) as archive:
        (member,) = archive.getmembers()
        assert (member.name, member.uid, member.gid) == ("here", 12, 34)
    assert "no tar archive" in one("cp", "-", "one:/empty", stdin=b"x" * 2000).sentence
    assert "no directory" in one("cp", "-", "one:/d/sub/two", stdin=b"").sentence


def test_no_link_leads_out(one: Adl, tmp_path: Path) -> None:
    """Neither where something is read, nor where it is written, nor in an archive."""
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "file").write_text("mine")
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        for name in ("out", "rel"):
            link = tarfile.TarInfo(name)
            link.type, link.linkname = (
                tarfile.SYMTYPE,
                str(secret) if name == "out" else "../" * 12 + str(secret),
            )
            archive.addfile(link)
    assert one("cp", "-", "one:/empty", stdin=content.getvalue()).code == 0
    for name in ("out", "rel"):
        assert one("cp", f"one:/empty/{name}/file", str(tmp_path / "stolen")).code == 1
        assert one("cp", __file__, f"one:/empty/{name}/file").code == 1
        assert one("cp", "-L", f"one:/empty/{name}", str(tmp_path / "stolen")).code == 1
    for name in ("../../../escaped", "/escaped", "out/escaped"):
        content = io.BytesIO()
        with tarfile.open(fileobj=content, mode="w") as archive:
            archive.addfile(tarfile.TarInfo(name))
        one("cp", "-", "one:/empty", stdin=content.getvalue())
        assert not Path("/escaped").exists()
    assert not (tmp_path / "stolen").exists()
    assert listing(secret) == ["file"]
    # On the way out: what the container made of a directory does not lead past the target.
    target = tmp_path / "target"
    target.mkdir()
    (target / "empty").mkdir()
    (target / "empty/out").symlink_to(secret)
    assert one("cp", "one:/empty", str(target)).code == 0
    assert listing(secret) == ["file"]


@pytest.mark.root
def test_docker_puts_it_in_the_same_place(own_box: Adl, names: Names, tmp_path: Path) -> None:
    """Each kind of source to each kind of target."""
    script = "mkdir -p /e/sub; echo one >/e/one; echo two >/e/sub/two; ln -s one /e/link; ln -s /e /way"
    assert own_box("save", "-o", str(tmp_path / "box.tar"), names.box).code == 0
    cases = [
        (s, t) for s in ("/e", "/e/.", "/e/one", "/e/link", "/way/.") for t in ("dir", "file", "new", "new/")
    ]
    trees = {}
    with dockerd(tmp_path) as docker:
        docker("load", "-i", str(tmp_path / "box.tar"))
        for who in ("docker", "ours"):
            words = ["run", "--name", "one", f"{names.box}:latest", "sh", "-c", script]
            assert (docker.run(*words).returncode if who == "docker" else own_box(*words).code) == 0
            for source, target in cases:
                place = tmp_path / who / source.replace("/", "_") / target.replace("/", "_")
                (place / "dir").mkdir(parents=True)
                (place / "file").write_text("old")
                words = ["cp", f"one:{source}", f"{place}/{target}"]
                code = docker.run(*words).returncode if who == "docker" else own_box(*words).code
                trees[who, source, target] = (code == 0, listing(place), (place / "file").is_symlink())
        docker("rm", "one")
    for case in cases:
        assert trees["ours", *case] == trees["docker", *case], case
