"""What we save, docker, podman, skopeo and umoci load, and the other way round, with equal image IDs."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import subprocess
import tarfile
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import get_args

import anyio
import pytest
from anyio import to_thread

from aiodocker_lite import Engine, Settings
from aiodocker_lite.archive import SavedFormat
from aiodocker_lite.errors import (
    BlobMissing,
    DiskFull,
    EngineError,
    InvalidArchive,
    InvalidOption,
    NoSuchImage,
    StoreCorrupt,
)  # fmt: skip
from aiodocker_lite.image import Image as StoredImage
from aiodocker_lite.platforms import Platform
from aiodocker_lite.testing.images import image, layer, noise, write_layout
from tests.fakes.archives import podman_store, run_tool, sha256
from tests.fakes.docker import containerd, dockerd
from tests.fakes.processes import program
from tests.fakes.stores import flaws
from tests.pipeline.conftest import Disk

HERE = str(Platform.here())
FORMATS: tuple[SavedFormat, ...] = get_args(SavedFormat)
BIN = layer({"bin/": b"", "bin/data": noise(60_000, "bin")})
PLAIN = image(BIN, layer({"plain": noise(3_000)}, "plain"), platform=HERE, config={"Cmd": ["plain"]})
ZSTD = image(BIN, layer({"zstd": noise(70_000)}, "zstd"), platform=HERE, config={"Cmd": ["zstd"]})
DOCKER = image(
    layer({"bin/": b"", "bin/docker": noise(90_000)}, docker=True), layer({"etc/": b""}, docker=True),
    platform=HERE, docker=True, config={"Cmd": ["docker"]},
)  # fmt: skip
TWICE = image(BIN, layer({"d/": b""}), layer({"d/": b""}), platform=HERE, config={"Cmd": ["twice"]})
FOREIGN = image(layer({"only": b"arm"}), platform="linux/arm64/v8")
NAMED = {
    "docker.io/library/plain:1": PLAIN,
    "localhost:5000/a/zstd:2": ZSTD,
    "quay.io/b/docker:3": DOCKER,
    "quay.io/b/twice:4": TWICE,
}
IDS = {name: str(each.config.digest) for name, each in NAMED.items()}
MORE = "quay.io/b/again:v1"
"""One more name of PLAIN."""


async def stock(engine: Engine, place: Path) -> Engine:
    """Bring all images into a store: four with names, one of them with two, one for another platform without."""
    layout = write_layout(place, {**NAMED, MORE: PLAIN, "bare": FOREIGN})
    await engine.load(layout)
    return engine


@pytest.fixture(scope="module")
async def stocked(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Engine]:
    """An engine whose store has all images; leave it as it is."""
    place = tmp_path_factory.mktemp("stocked")
    async with Engine(Settings(root=place / "store")) as engine:
        yield await stock(engine, place / "layout")


def members(path: Path) -> dict[str, bytes]:
    """The files of an archive."""
    found = {}
    with tarfile.open(path) as tar:
        for member in tar:
            assert member.name not in found
            content = tar.extractfile(member)
            assert content is not None
            found[member.name] = content.read()
    return found


def ids(images: list[StoredImage]) -> dict[str, str]:
    return {str(name): str(each.id) for each in images for name in each.names}


# --- the archives themselves ---------------------------------------------------------------------


@pytest.mark.parametrize("format", FORMATS)
async def test_what_we_save_we_load(
    stocked: Engine, settings: Settings, tmp_path: Path, format: SavedFormat
) -> None:
    """All names and image IDs; manifests too, but where an archive has none or must have one of another type."""
    path = tmp_path / "saved.tar"
    await stocked.save([*NAMED, MORE, FOREIGN.config.digest.short], path, format=format)
    async with Engine(replace(settings, root=tmp_path / "again")) as again:
        loaded = await again.load(path)

    assert ids(loaded) == {**IDS, MORE: IDS["docker.io/library/plain:1"]}
    assert [str(each.id) for each in loaded if not each.names] == [str(FOREIGN.config.digest)]
    kept = {each.manifest.digest for each in loaded} & {
        each.manifest.digest for each in await stocked.images()
    }
    assert len(kept) == {"docker": 5, "docker-archive": 0, "oci-archive": 4}[format]
    assert flaws(tmp_path / "again") == []


@pytest.mark.parametrize("format", ["docker", "oci-archive"])
async def test_blobs_are_what_was_pulled(stocked: Engine, tmp_path: Path, format: SavedFormat) -> None:
    """Byte for byte, compressed as they were, each once."""
    path = tmp_path / "saved.tar"
    await stocked.save(NAMED, path, format=format)
    found = members(path)

    blobs = {name: content for name, content in found.items() if name.startswith("blobs/")}
    assert {name: f"blobs/sha256/{sha256(content)}" for name, content in blobs.items()} == {
        n: n for n in blobs
    }
    wanted = {str(blob.digest) for each in NAMED.values() for blob in (*each.blobs, each.manifest)}
    if format == "oci-archive":
        wanted.remove(str(DOCKER.manifest.digest))
    assert {f"sha256:{name.rpartition('/')[2]}" for name in blobs} >= wanted
    assert list(found)[:2] == ["oci-layout", "index.json"]
    assert ("manifest.json" in found) == (format == "docker")


async def test_a_classic_archive_has_plain_layers(stocked: Engine, tmp_path: Path) -> None:
    """Each once, with the digests that the configurations name."""
    path = tmp_path / "saved.tar"
    await stocked.save(NAMED, path, format="docker-archive")
    found = members(path)

    assert next(iter(found)) == "manifest.json"
    entries = json.loads(found["manifest.json"])
    assert [entry["RepoTags"] for entry in entries] == [[name] for name in NAMED]
    for entry in entries:
        config = json.loads(found[entry["Config"]])
        assert [f"sha256:{sha256(found[name])}" for name in entry["Layers"]] == config["rootfs"]["diff_ids"]
    assert len(found) == 1 + 4 + 6


@pytest.mark.parametrize("format", FORMATS)
async def test_the_same_images_are_the_same_bytes(
    stocked: Engine, settings: Settings, tmp_path: Path, format: SavedFormat
) -> None:
    """Whenever, from whatever store, and wherever to: nothing of this machine is in an archive."""
    paths = [tmp_path / name for name in ("one.tar", "two.tar", "three.tar")]
    await stocked.save(NAMED, paths[0], format=format)
    async with Engine(replace(settings, root=tmp_path / "other")) as other:
        for name in reversed(NAMED):
            await stocked.save([name], paths[1])
            await other.load(paths[1])
        await other.save(NAMED, paths[1], format=format)
    stream = io.BytesIO()
    await stocked.save(NAMED, stream, format=format)

    assert (
        len(
            {
                hashlib.sha256(each).digest()
                for each in (paths[0].read_bytes(), paths[1].read_bytes(), stream.getvalue())
            }
        )
        == 1
    )
    with tarfile.open(paths[0]) as tar:
        assert {(m.mtime, m.uid, m.gid, m.uname, m.gname, m.mode) for m in tar} == {(0, 0, 0, "", "", 0o644)}


# --- which images --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "tags"),
    [
        (["plain:1"], [["docker.io/library/plain:1"]]),
        (["plain:1", MORE, "plain:1"], [["docker.io/library/plain:1", MORE]]),
        (["plain"], [["docker.io/library/plain:1", "docker.io/library/plain:2", "docker.io/library/plain:latest"]]),
        (["plain:latest"], [["docker.io/library/plain:latest"]]),
        ([MORE, "quay.io/b/twice"], [[MORE], ["quay.io/b/twice:4"]]),
        ([PLAIN.config.digest.short], [None]),
        ([f"plain@{PLAIN.manifest.digest}"], [None]),
        ([PLAIN.config.digest.short, MORE], [[MORE]]),
    ],
)  # fmt: skip
async def test_which_names_are_saved(
    engine: Engine, tmp_path: Path, asked: list[str], tags: list[list[str] | None]
) -> None:
    """As in docker: those that were asked for, all tags of a bare name, and none for an ID or a digest."""
    await stock(engine, tmp_path / "layout")
    for name in ("plain:2", "plain:latest"):
        await engine.tag("plain:1", name)
    await engine.save(asked, path := tmp_path / "saved.tar")
    found = members(path)

    assert [entry["RepoTags"] for entry in json.loads(found["manifest.json"])] == tags
    listed = [entry.get("annotations", {}) for entry in json.loads(found["index.json"])["manifests"]]
    names = [name for each in tags for name in each or [None]]  # type: ignore[list-item]
    assert [each.get("io.containerd.image.name") for each in listed] == names
    assert [each.get("org.opencontainers.image.ref.name") for each in listed] == names


async def test_an_image_is_saved_with_all_its_names(stocked: Engine, tmp_path: Path) -> None:
    """As a value of the library; also one that has none."""
    chosen = [await stocked.image(MORE), await stocked.image(FOREIGN.config.digest.short)]
    await stocked.save(chosen, path := tmp_path / "saved.tar")

    tags = [entry["RepoTags"] for entry in json.loads(members(path)["manifest.json"])]
    assert tags == [[MORE, "docker.io/library/plain:1"], None]


# --- other tools ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Peer:
    """A tool with images of its own."""

    load: Callable[[Path], None]
    ids: Callable[[], dict[str, str]]
    save: Callable[[Path, str, list[str]], None]
    """To a path, in a format, these names."""


@pytest.fixture(scope="module")
def docker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Peer]:
    """dockerd 20.10 or what Debian has, with the archives of its version."""
    if os.geteuid() != 0:
        pytest.skip("dockerd needs uid 0")
    with dockerd(tmp_path_factory.mktemp("docker")) as run:

        def call(*words: str) -> str:
            said = run(*words)
            assert said is not None, words
            return said

        def ids() -> dict[str, str]:
            listed = call("images", "--no-trunc", "--format", "{{.Repository}}:{{.Tag}} {{.ID}}").splitlines()
            return {full(name): identity for name, identity in map(str.split, listed)}

        yield Peer(
            lambda path: void(call("load", "-i", str(path))),
            ids,
            lambda path, format, names: void(call("save", "-o", str(path), *names)),
        )


def full(name: str) -> str:
    """Docker's short names in full."""
    return name if "/" in name else f"docker.io/library/{name}"


def void(_: object) -> None:
    """What a tool said, if it said no word of failure."""


@pytest.fixture(scope="module")
def podman() -> Iterator[Peer]:
    """podman with a store of its own."""
    with podman_store() as run:

        def ids() -> dict[str, str]:
            images = json.loads(run("images", "--format", "json"))
            return {name: f"sha256:{each['Id']}" for each in images for name in each.get("Names") or ()}

        def save(path: Path, format: str, names: list[str]) -> None:
            many = ["-m"] if len(names) > 1 else []
            run("save", "-q", "--format", format, *many, "-o", path, *names)

        yield Peer(lambda path: void(run("load", "-q", "-i", path)), ids, save)


@pytest.mark.root
@pytest.mark.parametrize("format", ["docker", "docker-archive"])
async def test_docker_and_we_load_each_others_archives(
    docker: Peer, stocked: Engine, engine: Engine, tmp_path: Path, format: SavedFormat
) -> None:
    """All images in one archive, and what docker makes of them; before version 23 it knows no zstd."""
    names = [name for name in NAMED if format == "docker-archive" or NAMED[name] is not ZSTD]
    await stocked.save([*names, MORE], path := tmp_path / "ours.tar", format=format)
    docker.load(path)
    expected = {**{name: IDS[name] for name in names}, MORE: IDS["docker.io/library/plain:1"]}
    assert docker.ids().items() >= expected.items()

    docker.save(path := tmp_path / "theirs.tar", "", [*expected])
    assert ids(await engine.load(path)) == expected


@pytest.mark.root
async def test_containerd_and_we_load_each_others_archives(
    stocked: Engine, engine: Engine, tmp_path: Path
) -> None:
    """All formats; and what it writes is an OCI layout with docker's manifest.json, with our manifests in it."""
    if os.geteuid() != 0:
        pytest.skip("containerd needs uid 0")
    with containerd(tmp_path) as ctr:
        for format in FORMATS:
            await stocked.save(NAMED, path := tmp_path / f"{format}.tar", format=format)
            assert ctr("images", "import", "--no-unpack", str(path)) is not None
            assert set((ctr("images", "ls", "-q") or "").split()) == set(NAMED)
            assert ctr("images", "export", str(path), *NAMED) is not None
            found = await engine.load(path)
            assert ids(found) == IDS
            if format == "docker":
                kept = {name: each.manifest.digest for each in found for name in map(str, each.names)}
                assert kept == {name: each.manifest.digest for name, each in NAMED.items()}
            assert ctr("images", "rm", *NAMED) is not None


@pytest.mark.parametrize("format", FORMATS)
async def test_podman_and_we_load_each_others_archives(
    podman: Peer, stocked: Engine, engine: Engine, tmp_path: Path, format: SavedFormat
) -> None:
    """All images in one archive, but for OCI, where podman wants one; and all that podman saves, but `dir:`."""
    chosen = [[name] for name in NAMED] if format == "oci-archive" else [[*NAMED]]
    for number, names in enumerate(chosen):
        await stocked.save(names, path := tmp_path / f"{number}.tar", format=format)
        podman.load(path)
    assert podman.ids().items() >= IDS.items()

    # Into a docker archive podman puts no zstd, and of OCI images it makes others, with IDs of their own.
    back = [name for name in NAMED if format != "oci-archive" or NAMED[name] is not ZSTD]
    podman.save(path := tmp_path / "theirs.tar", "docker-archive", back)
    theirs = {name: image_id(f"docker-archive:{path}:{name}") for name in back}
    assert ids(await engine.load(path)) == theirs
    assert format == "oci-archive" or theirs == IDS
    for name in NAMED:
        podman.save(path := tmp_path / "oci.tar", "oci-archive", [name])
        (found,) = await engine.load(path)
        assert ids([found]) == {name: image_id(f"oci-archive:{path}")}
        path.unlink()
        podman.save(path := tmp_path / "oci", "oci-dir", [name])
        assert [each.id for each in await engine.load(path)] == [found.id]
        shutil.rmtree(path)
    podman.save(path := tmp_path / "dir", "docker-dir", [*NAMED][:1])
    with pytest.raises(
        InvalidArchive, match="one image's manifest, as skopeo's dir: and podman's docker-dir"
    ):
        await engine.load(path)


@pytest.mark.parametrize(
    ("format", "kind"),
    [
        ("docker", "docker-archive"),
        ("docker", "oci-archive"),
        ("docker-archive", "docker-archive"),
        ("oci-archive", "oci-archive"),
    ],
)
async def test_skopeo_and_we_load_each_others_archives(
    stocked: Engine, engine: Engine, tmp_path: Path, format: SavedFormat, kind: str
) -> None:
    """By each name of one archive, as either kind that it is; and an OCI layout that is a directory.

    Where skopeo makes one kind of the other it writes a new configuration, and then the ID is its own.
    """
    await stocked.save([*NAMED], path := tmp_path / "ours.tar", format=format)
    for name, identity in IDS.items():
        if (format, kind) == ("docker", "oci-archive") and NAMED[name] is DOCKER:
            continue  # skopeo before 1.14 looks for manifests of OCI's own type only
        source = f"{kind}:{path}:{name}"
        assert image_id(source) == identity
        for to, of in (("theirs.tar", kind), ("theirs", "oci")):
            target = f"{of}:{tmp_path / to}"
            run_tool("skopeo", "--insecure-policy", "copy", "-q", source, f"{target}:{name}")
            (found,) = await engine.load(tmp_path / to)
            converts = (of == "oci" and kind == "docker-archive") or (
                kind == "oci-archive" and NAMED[name] is DOCKER
            )
            assert ids([found]) == {name: image_id(f"{target}:{name}") if converts else identity}
        (tmp_path / "theirs.tar").unlink()
        shutil.rmtree(tmp_path / "theirs")


def image_id(source: str) -> str:
    """What skopeo finds."""
    return f"sha256:{sha256(run_tool('skopeo', 'inspect', '--raw', '--config', source))}"


async def test_umoci_unpacks_what_we_save(stocked: Engine, tmp_path: Path) -> None:
    """It reads a layout that is a directory, and media types of OCI only: from an OCI archive, every image."""
    await stocked.save([*NAMED], path := tmp_path / "ours.tar", format="oci-archive")
    (layout := tmp_path / "layout").mkdir()
    run_tool("tar", "-C", layout, "-xf", path)
    assert set(run_tool(program("umoci"), "list", "--layout", layout).decode().split()) == set(NAMED)
    for number, (name, each) in enumerate(NAMED.items()):
        if each is ZSTD:  # umoci before 0.5 knows no zstd
            continue
        bundle = tmp_path / str(number)
        rootless = [] if os.geteuid() == 0 else ["--rootless"]
        run_tool(program("umoci"), "unpack", *rootless, "--image", f"{layout}:{name}", bundle)
        assert {"bin", "etc"} & {entry.name for entry in (bundle / "rootfs").iterdir()}


# --- what may go wrong ---------------------------------------------------------------------------


async def refuses(engine: Engine, path: Path, kind: type[EngineError], sentence: str, **how: str) -> None:
    """It raises this, and a file that was there is still there, and alone."""
    path.write_bytes(b"old")
    with pytest.raises(kind, match=sentence) as caught:
        await engine.save(NAMED, path, **how)  # type: ignore[arg-type]
    assert str(caught.value).isprintable()
    assert path.read_bytes() == b"old"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("format", FORMATS)
async def test_a_damaged_store_makes_no_archive(engine: Engine, tmp_path: Path, format: SavedFormat) -> None:
    """A blob that is other bytes is noticed while it is written; one that is not there before that."""
    await stock(engine, tmp_path / "layout")
    (place := tmp_path / "place").mkdir()
    blob = engine.store.paths.blob(ZSTD.layers[1].digest)
    content = bytearray(blob.read_bytes())
    content[len(content) // 2] ^= 1
    blob.write_bytes(content)
    sentence = (
        r"^the store is damaged: .*/blobs: (the blob sha256:\w+ has the wrong content|layer \w{12} cannot be)"
    )
    await refuses(engine, place / "x.tar", StoreCorrupt, sentence, format=format)
    blob.write_bytes(content[:-1])
    short = ZSTD.layers[1].digest.short
    missing = f"^cannot save localhost:5000/a/zstd:2: the blob of its layer {short} is not in the store$"
    await refuses(engine, place / "x.tar", BlobMissing, missing, format=format)
    blob.unlink()
    await refuses(engine, place / "x.tar", BlobMissing, missing, format=format)
    engine.store.paths.blob(PLAIN.config.digest).write_bytes(b"{}")
    unreadable = "^the store is damaged: .*: plain:1 or its configuration cannot be read$"
    await refuses(engine, place / "x.tar", StoreCorrupt, unreadable, format=format)
    assert {each.name for each in await engine.images() if each.verified == "No"} == {
        "localhost:5000/a/zstd:2"
    }


async def test_what_is_not_here_is_not_saved(engine: Engine, tmp_path: Path) -> None:
    """Also from a store that is not there at all, which stays so."""
    with pytest.raises(NoSuchImage, match="No such image: nothing"):
        await engine.save(["nothing"], tmp_path / "x.tar")
    async with Engine(Settings(root=tmp_path / "none")) as none:
        with pytest.raises(NoSuchImage):
            await none.save(["nothing"], tmp_path / "x.tar")
    assert not (tmp_path / "none").exists()
    assert not (tmp_path / "x.tar").exists()


@pytest.mark.parametrize(
    ("images", "archive", "how", "sentence"),
    [
        ("plain", "x.tar", {}, "images: 'plain' is not a list of images"),
        ([7], "x.tar", {}, "image: 7 is not a string"),
        (["plain"], 7, {}, "archive: 7 is neither a path nor an open file"),
        (["plain"], "x.tar", {"format": "zip"}, "format: 'zip' is none of docker, docker-archive, oci-archive"),
    ],
)  # fmt: skip
async def test_a_wrong_call_is_said_so(
    engine: Engine, images: list[str], archive: str, how: dict[str, str], sentence: str
) -> None:
    """Before anything is done."""
    with pytest.raises(InvalidOption, match=f"^invalid value for {sentence}"):
        await engine.save(images, archive, **how)  # type: ignore[arg-type]


@pytest.mark.root
async def test_a_disk_that_is_full_keeps_nothing_of_it(disk: Disk, stocked: Engine) -> None:
    """The sentence names the file."""
    disk.leave_free(20)
    path = disk.place / "saved.tar"
    with pytest.raises(DiskFull, match=f"^no space left while writing {path}: No space left on device$"):
        await stocked.save(NAMED, path)
    assert list(disk.place.iterdir()) == []
    disk.leave_free(2000)
    await stocked.save(NAMED, path)
    assert len(members(path)) > 10


async def test_whoever_waits_for_a_full_pipe_can_leave(stocked: Engine) -> None:
    """At once, or nearly."""
    reading, writing = os.pipe()
    with os.fdopen(reading), os.fdopen(writing, "wb") as stream, anyio.fail_after(10):
        with anyio.move_on_after(0.2) as scope:
            await stocked.save(NAMED, stream)
        assert scope.cancelled_caught


async def test_an_image_that_is_removed_meanwhile_is_saved(engine: Engine, tmp_path: Path) -> None:
    """Its blobs stay until the archive is whole."""
    await stock(engine, tmp_path / "layout")
    reading, writing = os.pipe()
    path = tmp_path / "saved.tar"

    async def save() -> None:
        with os.fdopen(writing, "wb") as stream:
            await engine.save(NAMED, stream)

    with os.fdopen(reading, "rb") as stream:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(save)
            first = await to_thread.run_sync(stream.read, 10_000)
            for name in NAMED:
                await engine.remove(name)
            path.write_bytes(first + await to_thread.run_sync(stream.read))
    assert ids(await engine.load(path)).items() >= IDS.items()


@pytest.mark.root
async def test_a_store_that_cannot_be_written_can_be_saved_from(stocked: Engine, tmp_path: Path) -> None:
    """Nothing is changed in a store for it."""
    (place := tmp_path / "store").mkdir()
    subprocess.run(["mount", "--bind", str(stocked.settings.root), str(place)], check=True)
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", str(place)], check=True)
        async with Engine(Settings(root=place)) as engine:
            await engine.save(NAMED, tmp_path / "saved.tar")
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)
    assert len(members(tmp_path / "saved.tar")) > 10
