"""Entries to files: against GNU tar where the layer is honest, and against a table where it is not."""

from __future__ import annotations

import os
import stat
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from aiodocker_lite.errors import EngineError, LimitExceeded, UnsafeEntry
from aiodocker_lite.layer.rules import Unpacked, UnpackRules
from aiodocker_lite.settings import Limits
from tests.fakes import layers, tars
from tests.fakes.tars import END, directory, file, hard_link, header, pax, symlink
from tests.fakes.trees import differences, read_tree

OPAQUE = "trusted.overlay.opaque"


@pytest.fixture(autouse=True)
def _umask() -> Iterator[None]:
    """What a worker sets, and the place it comes back to."""
    before, here = os.umask(0), Path.cwd()
    yield
    os.umask(before)
    os.chdir(here)


def unpack(content: bytes, root: Path, *, privileged: bool = True, limits: Limits | None = None) -> Unpacked:
    root.mkdir(exist_ok=True)
    return layers.unpack(iter([content]), root, UnpackRules(privileged, limits or Limits()))


def names(root: Path) -> set[str]:
    return {os.fsdecode(name) for name in read_tree(root)} - {"."}


def is_whiteout(path: Path) -> bool:
    found = path.lstat()
    return stat.S_ISCHR(found.st_mode) and found.st_rdev == 0


def is_opaque(path: Path) -> bool:
    return OPAQUE in os.listxattr(path) and os.getxattr(path, OPAQUE) == b"y"


CAPABILITY = struct.pack("<IIIII", 0x02000001, 1 << 10, 0, 0, 0)
HONEST = b"".join(
    [
        directory(b"./", 0o755, mtime=1_500_000_000),
        directory(b"bin/", 0o755, mtime=1_500_000_001),
        file(b"bin/su", b"#!", mode=0o4755),
        file(b"bin/wall", b"w", mode=0o2755, gid=5),
        file(b"bin/owned", b"o", mode=0o640, uid=12, gid=34),
        pax({b"SCHILY.xattr.security.capability": CAPABILITY}) + file(b"bin/ping", b"p", mode=0o755, uid=7),
        pax({b"SCHILY.xattr.user.note": b"a\nb=\xff"}) + file(b"bin/noted", b"n"),
        directory(b"var/mail/", 0o2775, gid=8),
        file(b"var/mail/root", b"mail", mode=0o600, gid=0),
        directory(b"tmp/", 0o1777),
        directory(b"closed/", 0o555),
        file(b"closed/inside", b"x", mode=0),
        pax({b"mtime": b"1600000000.123456789"}) + file(b"nano", b"n"),
        pax({b"mtime": b"1700000000.5"}) + symlink(b"link", b"/bin/su"),
        header(b"bin/su2", b"1", link=b"bin/su", mode=0o4755),
        hard_link(b"link2", b"./link"),
        header(b"dev/null", b"3", mode=0o666, device=(1, 3)),
        header(b"dev/sda", b"4", mode=0o660, device=(8, 0), gid=6),
        header(b"run/fifo", b"6", mode=0o622),
        pax({b"path": b"long/" + b"n" * 255}) + file(b"x", b"long"),
        tars.gnu_long(b"raw-\xff\xfe\n\\ -") + file(b"x", b"bytes"),
        file(b"big", b"0123456789" * 300_000),
        file(b"empty"),
        directory(b"bin/", 0o755, mtime=1_500_000_001),
        END,
    ]
)


def test_an_honest_layer_is_what_gnu_tar_makes_of_it(tmp_path: Path) -> None:
    """Names, types, modes, owners, times, attributes, links and contents are GNU tar's (M02-M05, L23)."""
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    done = unpack(HONEST, ours)
    theirs.mkdir()
    tar = ["tar", "-xp", "--numeric-owner", "--xattrs", "--xattrs-include=*", "-C", str(theirs)]
    subprocess.run(tar, input=HONEST, check=True, umask=0o022)
    for implied in ("dev", "run", "long", "var"):  # parents that no entry names: their time is now
        for root in (ours, theirs):
            os.utime(root / implied, (0, 0))
    assert differences(read_tree(ours), read_tree(theirs)) == []
    assert done.bytes == 3_000_000 + len("#!wopnmailxnlongbytes")
    assert (ours / "bin/su").stat().st_nlink == 2


def test_the_same_layer_without_privileges_skips_what_it_must(tmp_path: Path) -> None:
    """Owners, devices and capabilities are left out; modes, also of closed directories, are kept (M01, M12)."""
    done = unpack(HONEST, tmp_path / "root", privileged=False)
    assert "dev/null" not in names(tmp_path / "root")
    assert (tmp_path / "root/bin/owned").stat().st_uid == os.geteuid()
    assert stat.S_IMODE((tmp_path / "root/closed").stat().st_mode) == 0o555
    assert done.skipped >= 2


@pytest.mark.parametrize(
    ("entries", "expected"),
    [
        ([file(b"/etc/x", b"1")], {"etc", "etc/x"}),
        ([directory(b"/"), directory(b"."), file(b"./a")], {"a"}),
        ([symlink(b"a", b"/abs"), file(b"a/f")], {"a", "abs", "abs/f"}),
        ([symlink(b"a", b"b"), directory(b"b"), file(b"a/f")], {"a", "b", "b/f"}),
        ([file(b"x/f"), hard_link(b"g", b"/x/f")], {"x", "x/f", "g"}),
        ([symlink(b"s", b"x"), file(b"x/f"), hard_link(b"g", b"s/f")], {"s", "x", "x/f", "g"}),
        ([file(b"f"), hard_link(b"g", b"f"), hard_link(b"g", b"f")], {"f", "g"}),
        ([symlink(b"s", b"t"), directory(b"s")], {"s"}),
        ([directory(b"d"), file(b"d/f"), symlink(b"d", b"t")], {"d"}),
        ([directory(b"d"), file(b"d/f"), file(b"d")], {"d"}),
        ([file(b"d"), directory(b"d"), file(b"d/f")], {"d", "d/f"}),
        ([file(b"f", b"1"), file(b"f", b"22")], {"f"}),
        ([directory(b"d"), file(b"d/f"), directory(b"d", 0o700)], {"d", "d/f"}),
        ([file(b".wh.dir/f")], {".wh.dir", ".wh.dir/f"}),
        ([file(b".wh..wh.plnk")], set()),
        ([header(b"v", b"V"), file(b"f")], {"f"}),
        ([header(b"raw", b"3", device=(0, 0))], set()),
    ],
)
def test_unusual_but_honest_entries_are_accepted(
    tmp_path: Path, entries: list[bytes], expected: set[str]
) -> None:
    """Absolute names, links as parents, replacements and repetitions (L02, L05, L09, L10, L15, L16, W07, W08)."""
    unpack(b"".join(entries) + END, tmp_path / "root")
    assert names(tmp_path / "root") == expected


@pytest.mark.parametrize(
    ("entries", "reason"),
    [
        ([file(b"../x")], r"'\.\.' in its path"),
        ([file(b"a/../../x")], r"'\.\.' in its path"),
        ([directory(b"..")], r"'\.\.' in its path"),
        ([symlink(b"/.", b"/tmp")], "root can only be a directory"),
        ([file(b"")], "root can only be a directory"),
        ([hard_link(b"h", b"../outside/secret")], r"'\.\.' in its path"),
        ([hard_link(b"h", b"/outside/secret")], "target 'outside/secret' of the hard link is missing"),
        ([hard_link(b"h", b"h")], "hard link to itself"),
        ([hard_link(b"h", b"late"), file(b"late")], "is missing"),
        ([directory(b"d"), hard_link(b"h", b"d")], "not permitted"),
        ([symlink(b"l", b"")], "without a target"),
        ([symlink(b"a", b"b"), symlink(b"b", b"a"), file(b"a/f")], "symbolic links"),
        ([file(b"f"), file(b"f/g")], "Not a directory"),
        ([pax({b"path": b"n" * 256}) + file(b"x")], "too long"),
        ([file(b".wh.")], "not a valid whiteout"),
        ([file(b"d/.wh...")], "not a valid whiteout"),
    ],
)
def test_hostile_entries_are_refused_with_a_reason(tmp_path: Path, entries: list[bytes], reason: str) -> None:
    """Ways out, links to nowhere and nonsense (L01, L03, L08, L13, L14, L17, L19, L20, L23, W01)."""
    with pytest.raises(UnsafeEntry, match=reason):
        unpack(b"".join(entries) + END, tmp_path / "root")


@pytest.mark.parametrize(
    "entries",
    [
        [symlink(b"a", b"../outside"), file(b"a/secret", b"gone")],
        [symlink(b"a", b"../outside"), header(b"a/.wh.secret")],
        [symlink(b"a", b"../outside"), header(b"a/.wh..wh..opq")],
        [symlink(b"go", b".."), symlink(b"go/up", b"../outside"), file(b"go/up/secret", b"gone")],
        [symlink(b"a", b"../outside/secret"), file(b"a", b"gone")],
        [symlink(b"a", b"../outside/secret"), hard_link(b"b", b"a"), header(b"b", mode=0o777)],
        [symlink(b"a", b"../outside"), directory(b"a", 0o700)],
        [symlink(b"a", b"../outside"), header(b"a/dev", b"3", device=(1, 3))],
        [directory(b"a"), directory(b"a/b"), symlink(b"a", b"../outside"), file(b"a/b/secret", b"gone")],
        [symlink(b"a", b"../outside"), hard_link(b"h", b"a/secret")],
    ],
)
def test_no_entry_touches_anything_outside(tmp_path: Path, entries: list[bytes]) -> None:
    """Whether contained or refused, the neighbour of the root stays as it is (L04-L08, L11, L12, W02)."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_bytes(b"kept")
    before = read_tree(outside)
    try:
        unpack(b"".join(entries) + END, tmp_path / "root")
    except EngineError as error:
        assert str(error)
    assert read_tree(outside) == before


def test_whiteouts_become_overlay_marks(tmp_path: Path) -> None:
    """A removed name is a 0:0 device, an opaque directory has the attribute (W04, W06, W09)."""
    layer = [
        file(b"etc/.wh.passwd", b"with data"),
        file(b"new/here"),
        file(b"new/.wh..wh..opq"),
        file(b"new/.wh.there"),
        file(b".wh..wh..opq"),
        file(b"none/.wh..wh..opq"),
    ]
    unpack(b"".join(layer) + END, tmp_path / "root")
    assert is_whiteout(tmp_path / "root/etc/passwd")
    assert is_whiteout(tmp_path / "root/new/there")
    assert is_opaque(tmp_path / "root/new")
    assert (tmp_path / "root/new/here").is_file()
    assert is_opaque(tmp_path / "root")
    assert is_opaque(tmp_path / "root/none")


@pytest.mark.parametrize("order", [1, -1])
def test_a_whiteout_spares_what_its_own_layer_has(tmp_path: Path, order: int) -> None:
    """In either order a file stays, and a directory hides the lower one (W05, as umoci has it)."""
    files = [file(b".wh.f"), file(b"f", b"new")][::order]
    directories = [file(b".wh.d"), directory(b"d")][::order]
    unpack(b"".join(files + directories) + END, tmp_path / "root")
    assert (tmp_path / "root/f").read_bytes() == b"new"
    assert is_opaque(tmp_path / "root/d")


def test_without_privileges_the_marks_are_those_of_a_user(tmp_path: Path) -> None:
    """Overlayfs reads user.overlay.* where it is mounted by an ordinary user."""
    unpack(file(b"d/.wh..wh..opq") + END, tmp_path / "root", privileged=False)
    assert os.getxattr(tmp_path / "root/d", "user.overlay.opaque") == b"y"


@pytest.mark.parametrize(
    "key",
    [
        b"trusted.overlay.opaque",
        b"user.overlay.redirect",
        b"security.selinux",
        b"user.",
        b"nonsense",
        b"user.\0",
    ],
)
def test_attributes_that_speak_to_the_host_are_skipped(tmp_path: Path, key: bytes) -> None:
    """A layer's marks for overlayfs, foreign labels and impossible names are left out (M06-M08)."""
    done = unpack(pax({b"SCHILY.xattr." + key: b"y"}) + file(b"f") + END, tmp_path / "root")
    assert os.listxattr(tmp_path / "root/f") == []
    assert done.skipped == 1


def test_unpacked_bytes_are_limited(tmp_path: Path) -> None:
    """The budget counts what headers promise, before it is written (T10)."""
    with pytest.raises(LimitExceeded, match="unpacked size"):
        unpack(file(b"a", b"x" * 600) * 2 + END, tmp_path / "root", limits=Limits(unpacked_bytes=1000))


def test_directory_times_survive_a_replacement(tmp_path: Path) -> None:
    """What is said late of a directory is not done to what took its place."""
    layer = [directory(b"d", mtime=100), directory(b"t", mtime=200), symlink(b"d", b"t"), END]
    unpack(b"".join(layer), tmp_path / "root")
    assert (tmp_path / "root/t").stat().st_mtime == 200
