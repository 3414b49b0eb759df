"""An ordinary user with subordinate ids: layers have their owners, and none of it stays behind."""

from __future__ import annotations

import io
import json
import os
import signal
import stat
import struct
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import anyio
import pytest

from aiodocker_lite.testing.faults import cut
from aiodocker_lite.testing.images import Image, image, layer, layer_of, noise, write_layout
from aiodocker_lite.testing.registry import FakeRegistry
from tests.fakes.commands import Done, environment, polite, run_command
from tests.fakes.forks import Forks, forks
from tests.fakes.processes import program
from tests.fakes.trees import differences, read_tree

pytestmark = pytest.mark.root
CAGE = Path(__file__).parents[1] / "runtime" / "cage.py"
NOBODY = 65534
NONE = "ordinary-user"
RANGE, OTHER_RANGE = "ordinary-user:nobody:200000:65536", "ordinary-user:nobody:300000:65536"
NET_RAW = struct.pack("<5I", 0x02000001, 1 << 13, 0, 0, 0)
PASSWD = b"root:x:0:0::/root:/bin/sh\n_apt:x:42:65534::/nonexistent:/bin/sh\nbob:x:1000:1001::/:/bin/sh\n"
GROUP = b"root:x:0:\nbob:x:1001:\naudio:x:29:bob\n"


def base(*, devices: bool = True, root: bool = True) -> bytes:
    """Busybox, files of several owners, and what an ordinary user cannot have."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:

        def add(name: str, content: bytes = b"", kind: bytes = tarfile.REGTYPE, **more: object) -> None:
            info = tarfile.TarInfo(name)
            info.type, info.size, info.mtime = kind, len(content), 1_600_000_000
            for key, value in more.items():
                setattr(info, key, value)
            tar.addfile(info, io.BytesIO(content))

        def directory(name: str, mode: int = 0o755, owner: tuple[int, int] = (0, 0)) -> None:
            add(name, kind=tarfile.DIRTYPE, mode=mode, uid=owner[0], gid=owner[1])

        busybox = Path(program("busybox")).read_bytes()
        for name in (*(["."] if root else []), "bin", "etc", "home"):
            directory(name)
        directory("tmp", 0o1777)
        directory("home/bob", 0o2750, (1000, 1001))
        add("home/bob/mine", b"mine", uid=1000, gid=1001, mode=0o600)
        directory("home/bob/shut", 0o000, (33, 33))
        add("home/bob/shut/in", b"in", uid=34, gid=34, mode=0o400)
        add("bin/busybox", busybox, mode=0o755)
        for name in ("sh", "id", "stat", "cat", "chown", "su", "mkdir", "touch", "ls"):
            add(f"bin/{name}", kind=tarfile.SYMTYPE, linkname="busybox", mode=0o777)
        add("bin/suid", b"#!", mode=0o6755, uid=1000, gid=1001)
        add("bin/linked", kind=tarfile.LNKTYPE, linkname="bin/suid", mode=0o6755, uid=1000, gid=1001)
        add("bin/fifo", kind=tarfile.FIFOTYPE, mode=0o640, uid=5, gid=6)
        add("bin/link", kind=tarfile.SYMTYPE, linkname="x", mode=0o777, uid=7, gid=8)
        add("etc/passwd", PASSWD, mode=0o644)
        add("etc/group", GROUP, mode=0o644)
        if devices:
            add("bin/device", kind=tarfile.CHRTYPE, devmajor=1, devminor=7)
            add("bin/beyond", b"x", mode=0o644, uid=3_000_000, gid=3_000_000)
            capability = {"SCHILY.xattr.security.capability": NET_RAW.decode("latin-1")}
            add("bin/capable", b"x", mode=0o755, pax_headers=capability)
    return out.getvalue()


def changes() -> bytes:
    """A whiteout, an opaque directory, and a hard link to a lower layer, with owners."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, kind in (("bin/.wh.fifo", tarfile.REGTYPE), ("home/bob", tarfile.DIRTYPE)):
            info = tarfile.TarInfo(name)
            info.type, info.mode, info.uid, info.gid = kind, 0o750, 1000, 1001
            tar.addfile(info)
        tar.addfile(tarfile.TarInfo("home/bob/.wh..wh..opq"))
        tar.addfile(tarfile.TarInfo("home/bob/new"))
        info = tarfile.TarInfo("etc/joined")
        info.type, info.linkname, info.mode, info.uid, info.gid = (
            tarfile.LNKTYPE,
            "bin/suid",
            0o6755,
            1000,
            1001,
        )
        tar.addfile(info)
    return out.getvalue()


@dataclass(frozen=True)
class User:
    """Somebody with a store of his own."""

    store: Path
    forks: Callable[[str], Forks]

    def command(self, rights: str, *words: str) -> list[str]:
        """The command line, of a user with these rights."""
        adl = [sys.executable, "-m", "aiodocker_lite", "--root", str(self.store), *words]
        return [sys.executable, str(CAGE), rights, *adl]

    def adl(self, rights: str, *words: str) -> Done:
        forked = self.forks(rights)
        return polite(*forked.run(["--root", str(self.store), *words], environment(self.store.parent)))

    def sh(self, rights: str, name: str, script: str, *options: str) -> list[str]:
        """What a shell in a container says."""
        done = self.adl(rights, "run", "--rm", *options, name, "/bin/sh", "-c", script)
        assert done.code == 0, done.err
        return done.out.splitlines()

    def load(self, rights: str, what: Image) -> str:
        """The ID of a new image."""
        with tempfile.TemporaryDirectory() as work:
            write_layout(Path(work) / "layout", {"latest": what})
            archive = self.store.parent / "archive.tar"
            with tarfile.open(archive, "w") as tar:
                tar.add(Path(work) / "layout", ".")
        done = self.adl(rights, "load", "-q", "-i", str(archive))
        assert done.code == 0, done.err
        return what.config.digest.hex[:12]

    def owners(self) -> set[str]:
        """What the records of the layers say."""
        records = (self.store / "layers/sha256").glob("*/layer.json")
        return {json.loads(record.read_bytes())["owners"].split()[0] for record in records}

    def staged(self) -> set[int]:
        """Who owns files of layers that are being unpacked."""
        with suppress(FileNotFoundError):  # moved away at this moment
            return {path.lstat().st_uid for path in (self.store / "ingest").glob("*.layer/fs/*/*")}
        return set()

    def left(self) -> list[str]:
        """Everything in the store that an empty one does not have."""
        places = ("layers/sha256", "blobs/sha256", "containers", "ingest")
        found = (path for place in places for path in (self.store / place).iterdir())
        return [str(path.relative_to(self.store)) for path in found]


@pytest.fixture(scope="module")
def forks_of() -> Iterator[Callable[[str], Forks]]:
    """What the commands of a user with these rights are forks of, started when it is first asked for."""
    with tempfile.TemporaryDirectory() as home, ExitStack() as stack:
        env = environment(Path(home))
        yield cache(lambda rights: stack.enter_context(forks(env, sys.executable, str(CAGE), rights)))


@pytest.fixture
def user(forks_of: Callable[[str], Forks]) -> Iterator[User]:
    """In a directory that everybody can enter."""
    program("newuidmap")
    with tempfile.TemporaryDirectory() as home:
        os.chown(home, NOBODY, NOBODY)
        yield User(Path(home) / "store", forks_of)


def test_a_layer_is_what_umoci_makes_with_the_same_map(user: User, tmp_path: Path) -> None:
    """Owners, modes, times and attributes, seen from outside."""
    what = image(layer_of(base(devices=False)))
    user.load(RANGE, what)
    layout = write_layout(tmp_path / "layout", {"latest": what})
    maps = [f"--{kind}-map={rows}" for kind in ("uid", "gid") for rows in ("0:65534:1", "1:200000:65536")]
    umoci = [program("umoci"), "unpack", *maps, "--image", f"{layout}:latest", str(tmp_path / "bundle")]
    subprocess.run(umoci, check=True)
    (ours,) = (user.store / "layers/sha256").glob("*/fs")
    assert differences(read_tree(ours), read_tree(tmp_path / "bundle/rootfs")) == []
    assert user.owners() == {"mapped"}


def test_what_even_root_of_a_namespace_cannot_do_is_left_out(user: User) -> None:
    """No device, no owner beyond the map (M09); a capability is for this namespace only."""
    name = user.load(RANGE, image(layer_of(base()), layer_of(changes())))
    (bin,) = (user.store / "layers/sha256").glob("*/fs/bin/busybox")
    tree = read_tree(bin.parent)
    assert b"device" not in tree
    assert (tree[b"beyond"].uid, tree[b"beyond"].gid) == (NOBODY, NOBODY)
    capability = struct.pack("<6I", 0x03000001, 1 << 13, 0, 0, 0, NOBODY)
    assert tree[b"capable"].xattrs == (("security.capability", capability),)
    fifos = [path.stat() for path in (user.store / "layers/sha256").glob("*/fs/bin/fifo")]
    assert sorted((stat.S_IFMT(found.st_mode), found.st_rdev) for found in fifos) == [
        (stat.S_IFIFO, 0),
        (stat.S_IFCHR, 0),
    ]
    assert user.sh(
        RANGE, name, "stat -c %u:%g:%a /bin/suid /etc/joined; ls -A /home/bob; ls /bin/fifo 2>&- || echo gone"
    ) == [
        "1000:1001:6755",
        "1000:1001:6755",
        "new",
        "gone",
    ]


def test_a_container_has_every_user(user: User) -> None:
    """As root's: nobody, dropping to _apt as apt does, chown, and what is closed is closed."""
    name = user.load(RANGE, image(layer_of(base())))
    text = "su _apt -s /bin/sh -c 'id -u; touch /tmp/apt'; chown bob:audio /tmp/apt; stat -c %u:%g /tmp/apt"
    assert user.sh(RANGE, name, text) == ["42", "1000:29"]
    text = "id -u; id -g; cat /home/bob/mine 2>&- || echo refused; touch /tmp/x; stat -c %u /tmp/x"
    assert user.sh(RANGE, name, text, "-u", "65534:65534") == ["65534", "65534", "refused", "65534"]
    assert user.sh(RANGE, name, "id -u; cat /home/bob/mine", "-u", "bob") == ["1000", "mine"]


def test_a_root_that_its_owner_has_shut_is_his(user: User) -> None:
    """The mark on it that hides what is below is found all the same."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        shut = tarfile.TarInfo(".")
        shut.type, shut.mode, shut.uid, shut.gid = tarfile.DIRTYPE, 0o700, 33, 34
        tar.addfile(shut)
        tar.addfile(tarfile.TarInfo(".wh..wh..opq"))
    hidden = layer({"hidden": b"x"})
    name = user.load(RANGE, image(hidden, layer_of(out.getvalue()), layer_of(base(root=False))))
    assert user.sh(RANGE, name, "stat -c %u:%g:%a /; ls /hidden 2>&- || echo gone") == ["33:34:700", "gone"]


def test_removing_leaves_nothing(user: User) -> None:
    """Neither of an image nor of a container, also what its own users have shut."""
    name = user.load(RANGE, image(layer_of(base())))
    script = "mkdir -p /w/d; touch /w/d/f; chown -R 33:33 /w; busybox chmod 0 /w/d /w"
    assert user.adl(RANGE, "run", "--name", "shut", name, "/bin/sh", "-c", script).code == 0
    (shut,) = (user.store / "containers").glob("*/upper/w")
    assert shut.stat().st_uid == 200_032
    assert user.adl(RANGE, "rm", "shut").code == 0
    assert list((user.store / "containers").iterdir()) == []
    done = user.adl(RANGE, "rmi", name)
    assert (done.code, done.err) == (0, "")
    assert user.left() == []


def test_the_whole_store_can_be_removed(user: User) -> None:
    """By the user, with `unshare`; without it he cannot."""
    user.load(RANGE, image(layer_of(base())))
    assert user.adl(NONE, "unshare", "rm", "-rf", str(user.store / "layers")).code == 1
    assert user.adl(RANGE, "unshare", "sh", "-c", f"id -u; rm -rf {user.store}").out == "0\n"
    assert not user.store.exists()


def test_layers_are_unpacked_again_when_the_ids_are_others(user: User) -> None:
    """They come, they change and they go: always right, without a word or a registry."""
    name = user.load(NONE, image(layer_of(base()), layer_of(changes())))
    assert user.owners() == {"user"}
    text = "stat -c %u /bin/suid; stat -c %u /etc/joined; ls -A /home/bob"
    for rights, owner in ((RANGE, "1000"), (OTHER_RANGE, "1000"), (NONE, "0")):
        assert user.sh(rights, name, text) == [owner, owner, "new"]
        assert user.owners() == {"mapped" if owner == "1000" else "user"}
    # What he may not be any more he cannot remove, until he may again.
    assert list((user.store / "ingest").iterdir()) != []
    assert user.adl(RANGE, "rmi", name).code == 0
    assert user.adl(OTHER_RANGE, "rmi", user.load(OTHER_RANGE, image(layer_of(base())))).code == 0
    assert user.left() == []


def test_a_layer_in_use_is_not_unpacked_again(user: User) -> None:
    """The container that runs on it goes on, and the sentence says whose it is."""
    name = user.load(NONE, image(layer_of(base())))
    command = user.command(NONE, "run", "-i", "--rm", "--name", "busy", name, "/bin/cat")
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as running:
        assert running.stdin is not None
        assert running.stdout is not None
        running.stdin.write(b"!")
        running.stdin.flush()
        assert running.stdout.read(1) == b"!"
        done = user.adl(RANGE, "run", "--rm", name, "/bin/id")
        running.stdin.close()
        assert running.wait() == 0
    assert done.code == 125
    assert "was unpacked for other user ids, and container busy runs on it" in done.sentence


async def test_a_killed_pull_goes_on(user: User) -> None:
    """What it has unpacked for others is no obstacle, whether the ids are there or not."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for number in range(200):
            info = tarfile.TarInfo(f"d{number}")
            info.type, info.mode, info.uid, info.gid = tarfile.DIRTYPE, 0o700, 33, 33
            tar.addfile(info)
            info = tarfile.TarInfo(f"d{number}/f")
            info.size, info.uid, info.mode = 10_000, 34, 0o600
            tar.addfile(info, io.BytesIO(noise(10_000, str(number))))
    what = image(layer_of(out.getvalue()))
    async with FakeRegistry() as registry:
        registry.add("app", "latest", what)
        name = f"{registry.address}/app"
        for rights, owner in ((OTHER_RANGE, 300_033), (RANGE, 200_033)):
            registry.script("GET", f"/blobs/{what.layers[0].digest}", cut(at=1_500_000, ending="stall"))
            async with await anyio.open_process(user.command(rights, "pull", "-q", name)) as process:
                with anyio.fail_after(30):
                    while owner not in user.staged():
                        await anyio.sleep(0.01)
                process.send_signal(signal.SIGKILL)
                assert await process.wait() == -signal.SIGKILL
        done = await anyio.to_thread.run_sync(user.adl, RANGE, "pull", "-q", name)
        assert (done.code, done.err) == (0, "")
    assert {path.stat().st_uid for path in (user.store / "layers").glob("*/*/fs/*")} == {200_032}
    assert user.adl(RANGE, "rmi", name).code == 0
    # What belongs to the other ids waits for them.
    assert [path.split("/")[0] for path in user.left()] == ["ingest"]


def test_flattened_layers_have_their_owners(user: User) -> None:
    """Where overlays cannot be had, the tree is made inside of the namespace too."""
    what = image(layer_of(base()), layer_of(changes()))
    user.load(RANGE, what)
    container = user.store / "containers" / "c"
    layers = [str(user.store / "layers/sha256" / layer.diff_id.hex / "fs") for layer in what.layers]
    script = (
        "import sys; from pathlib import Path; from aiodocker_lite import subids;"
        "from aiodocker_lite.snapshot import flatten, plan_rootfs; container, *layers = map(Path, sys.argv[1:]);"
        "container.mkdir(); plan = plan_rootfs(layers, container, overlay=False);"
        "subids.call(subids.granted(), flatten, plan)"
    )
    argv = [sys.executable, str(CAGE), RANGE, sys.executable, "-c", script]
    done = run_command([*argv, str(container), *layers], environment(user.store.parent))
    assert (done.code, done.err) == (0, "")
    tree = read_tree(container / "rootfs")
    assert (tree[b"bin/suid"].uid, tree[b"bin/suid"].mode & 0o7777) == (200_999, 0o6755)
    assert (tree[b"home/bob"].uid, tree[b"home/bob"].mode & 0o7777) == (200_999, 0o750)
    assert b"home/bob/new" in tree
    assert b"home/bob/mine" not in tree


def test_root_of_one_id_sees_what_was_unpacked(user: User) -> None:
    """Marks are user.* ones in any user namespace, also where it is not this program that made it."""
    os.chown(user.store.parent, 0, 0)
    name = user.load("one-id", image(layer_of(base()), layer_of(changes())))
    assert user.sh("one-id", name, "ls -A /home/bob; stat -c %u /bin/suid") == ["new", "0"]
    assert user.owners() == {"user"}


@pytest.mark.parametrize(
    ("rights", "owners"), [(RANGE, ["1000:1001 2750", "1000:1001 600"]), (NONE, ["0:0 2750", "0:0 600"])]
)
def test_a_volume_has_the_owners_of_the_image(user: User, rights: str, owners: list[str]) -> None:
    """And the container's root can do in it what he likes; with options that need no root outside."""
    name = user.load(rights, image(layer_of(base(devices=False))))
    script = "stat -c '%u:%g %a' /home/bob /home/bob/mine; chown 0 /home/bob/mine; touch /home/bob/new"
    options = (
        "-v",
        "data:/home/bob",
        "--init",
        "--read-only",
        "--ulimit",
        "nofile=50",
        "--device",
        "/dev/full",
    )
    assert user.sh(rights, name, script, *options) == owners
    assert user.sh(rights, name, "ls /data", "-v", "data:/data") == ["mine", "new", "shut"]
    assert user.adl(rights, "volume", "rm", "data").out == "data\n"
    assert list((user.store / "volumes").iterdir()) == []
