"""What a stack of layers means: ours as overlay and flattened, beside umoci, podman and docker."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from aiodocker_lite import Engine
from aiodocker_lite.errors import ContentError
from aiodocker_lite.image import Image
from aiodocker_lite.snapshot import flatten, plan_rootfs
from aiodocker_lite.testing import images
from tests.cases.merging import Stack, merging
from tests.fakes.archives import Parts, classic
from tests.fakes.archives import tar as pack
from tests.fakes.docker import Socket, dockerd
from tests.fakes.processes import program
from tests.fakes.tars import END, directory

STACKS = merging()
ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to mount and to give owners")
# A directory that every stack has: docker makes no container of an image without any.
BIN_TAR = directory(b"bin") + END
BIN = images.layer_of(BIN_TAR)
EXTRA = {"bin", "dev", "etc", "proc", "run", "sys", ".dockerenv"}


def describe(root: Path) -> tuple[str, ...]:
    """One line for each file: kind and mode, owner if not root, content or target, and who are the same."""
    groups: dict[int, int] = {}
    lines = []
    for path in sorted(root.rglob("*")):
        name = path.relative_to(root)
        if name.parts[0] in EXTRA:
            continue
        found = path.lstat()
        kind = {stat.S_IFDIR: "d", stat.S_IFREG: "f", stat.S_IFIFO: "p"}.get(stat.S_IFMT(found.st_mode), "?")
        line = f"{name} {kind}{stat.S_IMODE(found.st_mode):o}"
        if path.is_symlink():
            line = f"{name} ->{path.readlink()}"
        if found.st_uid:
            line += f" u{found.st_uid}"
        if kind == "f" and found.st_size:
            line += f"={path.read_text()}"
        if found.st_nlink > 1 and kind != "d":
            line += f" #{groups.setdefault(found.st_ino, len(groups) + 1)}"
        lines.append(line)
    return tuple(lines)


MADE = {each.name: images.image(BIN, *(images.layer_of(tar) for tar in each.layers)) for each in STACKS}


@pytest.fixture(scope="module")
def layout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every stack as an image."""
    return images.write_layout(tmp_path_factory.mktemp("merging") / "layout", MADE)


@contextmanager
def overlay(engine: Engine, image: Image, place: Path) -> Iterator[Path]:
    """The layers of an image, merged by the kernel."""
    layers = engine.store.directories(image.config.diff_ids)
    assert layers is not None
    place.mkdir()
    options = f"ro,lowerdir={':'.join(map(str, reversed(layers)))}"
    subprocess.run(["mount", "-t", "overlay", "overlay", "-o", options, str(place)], check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)


@ROOT
@pytest.mark.root
@pytest.mark.parametrize("stack", STACKS, ids=lambda stack: stack.name)
async def test_a_stack_means_what_the_table_says(engine: Engine, tmp_path: Path, stack: Stack) -> None:
    """As the overlay that a container gets, and as one flat tree; or refused with a reason."""
    archive = tmp_path / "image.tar"
    with tarfile.open(archive, "w") as tar:
        tar.add(images.write_layout(tmp_path / "layout", {"latest": MADE[stack.name]}), "")
    if not stack.tree:
        reason = "is a directory" if stack.name.endswith("to-a-directory") else ""
        with pytest.raises(ContentError, match=f"refusing entry .*{reason}"):
            await engine.load(archive)
        assert await engine.images() == []
        return
    (image,) = await engine.load(archive)
    with overlay(engine, image, tmp_path / "mounted") as root:
        assert describe(root) == stack.tree
    layers = engine.store.directories(image.config.diff_ids)
    (tmp_path / "flat").mkdir()
    plan = plan_rootfs(layers or [], tmp_path / "flat", overlay=False)
    flatten(plan)
    assert describe(plan.root) == stack.tree


def check(tool: str, unpack: Callable[[Stack], Path | None]) -> None:
    """Another tool sees the same, or what the table says is seen otherwise; None is a refusal."""
    wrong = []
    for stack in STACKS:
        root = unpack(stack)
        found = describe(root) if root else ()
        if (found == stack.tree) == (tool in stack.others):
            wrong.append((stack.name, found, stack.tree))
    assert wrong == []


@ROOT
@pytest.mark.root
def test_umoci_agrees(layout: Path, tmp_path: Path) -> None:
    """It applies the layers one after the other."""

    def unpack(stack: Stack) -> Path | None:
        bundle = tmp_path / stack.name
        command = [program("umoci"), "unpack", "--image", f"{layout}:{stack.name}", str(bundle)]
        done = subprocess.run(command, capture_output=True, check=False)
        return bundle / "rootfs" if done.returncode == 0 else None

    check("umoci", unpack)


@ROOT
@pytest.mark.root
@pytest.mark.timeout(120)
def test_podman_agrees(layout: Path, tmp_path: Path) -> None:
    """So does its vfs driver."""
    run = Path(tempfile.mkdtemp(prefix="p"))  # podman wants a path of at most 50 characters
    command = [program("podman"), f"--root={tmp_path / 'podman'}", f"--runroot={run}", "--storage-driver=vfs"]

    def podman(*arguments: str) -> str:
        return subprocess.run([*command, *arguments], capture_output=True, text=True, check=False).stdout

    try:
        podman("pull", "-q", *(f"oci:{layout}:{stack.name}" for stack in STACKS))  # all that it takes
        mounted = {
            each["id"]: Path(each["mountpoint"])
            for each in json.loads(podman("image", "mount", "-a", "--format=json"))
        }
        check("podman", lambda stack: mounted.get(MADE[stack.name].config.digest.hex))
    finally:
        podman("image", "unmount", "--all")
        shutil.rmtree(run)


@ROOT
@pytest.mark.root
@pytest.mark.timeout(120)
def test_docker_agrees(tmp_path: Path) -> None:
    """And its vfs driver."""
    with dockerd(tmp_path) as client, closing(Socket(client)) as docker:

        def unpack(stack: Stack) -> Path | None:
            name = f"m/{stack.name}:latest"
            archive = pack(classic((Parts(MADE[stack.name].config.raw, (BIN_TAR, *stack.layers)), [name])))
            if docker.ask("POST", "/images/load", archive, "application/x-tar") is None:
                return None
            options = json.dumps({"Image": name, "Cmd": ["/x"]}).encode()
            container = json.loads(docker.ask("POST", "/containers/create", options) or b"{}")["Id"]
            exported = docker.ask("GET", f"/containers/{container}/export")
            assert exported is not None
            root = tmp_path / stack.name
            root.mkdir()
            command = ["tar", "-xp", "--numeric-owner", "-C", str(root)]
            subprocess.run(command, input=exported, check=True)
            return root

        check("docker", unpack)
