"""What other tools saved, loaded: the same images as everywhere else, or one sentence and nothing to see."""

from __future__ import annotations

import gzip
import io
import json
import lzma
import os
import re
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from stat import S_ISCHR
from typing import BinaryIO

import anyio
import pytest

from aiodocker_lite import Engine, Settings
from aiodocker_lite.errors import (
    ContentError,
    DigestMismatch,
    DiskFull,
    EngineError,
    InvalidArchive,
    InvalidLayer,
    PlatformNotFound,
    UnsafeEntry,
    UnsupportedMediaType,
)
from aiodocker_lite.events import Event, ImageReady, LayerExists, Notice
from aiodocker_lite.image import Image as StoredImage
from aiodocker_lite.platforms import Platform
from aiodocker_lite.testing.images import (
    Image,
    Index,
    Layer,
    image,
    index,
    layer,
    layer_of,
    noise,
    write_layout,
)
from aiodocker_lite.testing.registry import FakeRegistry
from tests.fakes.archives import podman_store, run_tool, sha256, tar
from tests.fakes.stores import flaws, layer_files, visible
from tests.fakes.tars import END, directory, file, hard_link, pax, symlink
from tests.fakes.trees import Node, differences, read_tree
from tests.pipeline.conftest import Disk

FIXTURES = Path(__file__).parents[3] / "shared" / "fixtures"
HERE = str(Platform.here())
ODD = b"".join(
    [
        directory(b"./"),
        directory(b"etc/", 0o750, uid=3, gid=4),
        file(b"etc/su", b"#!/bin/sh", mode=0o6755, mtime=1_234_567_890),
        hard_link(b"etc/doas", b"etc/su"),
        symlink(b"etc/link", b"../etc/su"),
        pax({b"mtime": b"1600000000.123456789", b"SCHILY.xattr.user.note": b"said"}),
        file(b"etc/exact", b"to the nanosecond"),
        file(b"etc/.wh.gone"),
        END,
    ]
)
FILES = {"base/data": noise(60_000, "base"), "top": noise(200_000, "top")}
BASE = layer({"base/": b"", "base/data": FILES["base/data"]})
TOP = layer({"top": FILES["top"]})
ONE = image(BASE, TOP, platform=HERE)
TWO = image(BASE, layer_of(ODD), platform=HERE, config={"Cmd": ["two"]})
ZSTD = image(BASE, layer_of(ODD, "zstd"), platform=HERE, config={"Cmd": ["zstd"]})


@pytest.fixture(scope="module")
def layout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two images for other tools to copy from; they share a layer."""
    return write_layout(tmp_path_factory.mktemp("layout"), {"one": ONE, "two": TWO})


def image_id(source: str) -> str:
    """What skopeo finds."""
    return f"sha256:{sha256(run_tool('skopeo', 'inspect', '--raw', '--config', source))}"


@contextmanager
def piped(path: Path) -> Iterator[BinaryIO]:
    """The file as somebody else's standard output: it comes once, and cannot be gone back in."""
    with subprocess.Popen(["cat", str(path)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert not process.stdout.seekable()
        yield process.stdout  # type: ignore[misc]


def trees(engine: Engine, found: StoredImage) -> list[dict[bytes, Node]]:
    """The layers of an image as values, without times that no entry says: of roots and of whiteouts."""
    roots = [read_tree(engine.store.layers.files(diff_id)) for diff_id in found.config.diff_ids]
    return [
        {path: replace(node, mtime_ns=0) if S_ISCHR(node.mode) else node for path, node in root.items()}
        for root in ({path: node for path, node in root.items() if path != b"."} for root in roots)
    ]


# --- other tools ---------------------------------------------------------------------------------

COMPRESSORS = {"": "cat", ".gz": "gzip", ".zst": "zstd -q", ".xz": "xz -0", ".bz2": "bzip2"}


@pytest.fixture(scope="module")
def saved(layout: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What skopeo makes of both images, compressed in all ways."""
    place = tmp_path_factory.mktemp("saved")
    for kind in ("docker-archive", "oci-archive"):
        for name in ("one", "two"):
            target = f"{kind}:{place}/{kind}-{name}.tar:localhost:5000/a/{name}:1"
            run_tool("skopeo", "copy", "-q", f"oci:{layout}:{name}", target)
    for suffix, command in COMPRESSORS.items():
        plain = place / "docker-archive-one.tar"
        if suffix:
            Path(f"{plain}{suffix}").write_bytes(run_tool(*command.split(), stdin=plain.read_bytes()))
    return place


@pytest.mark.parametrize("name", ["one", "two"])
@pytest.mark.parametrize("kind", ["docker-archive", "oci-archive"])
async def test_what_skopeo_saved_is_loaded(engine: Engine, saved: Path, kind: str, name: str) -> None:
    """Under the name it has there, with the ID that skopeo finds, whole and verified."""
    path = saved / f"{kind}-{name}.tar"
    (found,) = await engine.load(path)

    assert [str(each) for each in found.names] == [f"localhost:5000/a/{name}:1"]
    assert str(found.id) == image_id(f"{kind}:{path}")
    assert found.config.diff_ids == tuple(each.diff_id for each in (ONE if name == "one" else TWO).layers)
    assert found.verified == "Yes"
    assert flaws(engine.settings.root) == []
    assert list((engine.settings.root / "ingest").iterdir()) == []


@pytest.mark.parametrize("source", ["file", "pipe"])
@pytest.mark.parametrize("suffix", COMPRESSORS)
async def test_compressed_archives_are_loaded(engine: Engine, saved: Path, suffix: str, source: str) -> None:
    """From a file, and from a pipe; nothing is left of a copy that was needed."""
    path = saved / f"docker-archive-one.tar{suffix}"
    if source == "file":
        (found,) = await engine.load(path)
    else:
        with piped(path) as stream:
            (found,) = await engine.load(stream)

    assert layer_files(engine.settings.root) == FILES
    assert str(found.id) == image_id(f"docker-archive:{saved / 'docker-archive-one.tar'}")
    assert list((engine.settings.root / "ingest").iterdir()) == []


async def test_what_podman_saved_is_loaded(engine: Engine, saved: Path, tmp_path: Path) -> None:
    """Several images in one, with podman's own IDs; a layer that two of them have is kept once."""
    path = tmp_path / "saved.tar"
    names = ["localhost:5000/a/one:1", "localhost/a/first:2", "localhost:5000/a/two:1"]
    with podman_store() as podman:
        for name in ("one", "two"):
            podman("load", "-q", "-i", saved / f"oci-archive-{name}.tar")
        podman("tag", names[0], names[1])
        ids = [podman("image", "inspect", "--format", "{{.Id}}", name).decode().strip() for name in names]
        podman("save", "-q", "-m", "-o", path, *names)
    found = await engine.load(path)

    assert {str(name): each.id.hex for each in found for name in each.names} == dict(
        zip(names, ids, strict=True)
    )
    assert [each.verified for each in await engine.images()] == ["Yes", "Yes"]
    assert len(list((engine.settings.root / "layers/sha256").iterdir())) == 3
    assert flaws(engine.settings.root) == []


def saved_by_docker(place: Path, images: Mapping[str, Image], *, with_layers: bool = True) -> Path:
    """Since version 25: an OCI layout and manifest.json with paths into it (25.0.0 forgot the layers)."""
    entries = [
        {
            "Config": blob_path(each.config.digest.hex),
            "RepoTags": [name] if ":" in name else None,
            "Layers": [blob_path(one.digest.hex) for one in each.layers],
        }
        for name, each in images.items()
    ]
    if not with_layers:
        images = {name: without_layers(each) for name, each in images.items()}
    write_layout(place, images)
    (place / "manifest.json").write_text(json.dumps(entries))
    for each in images.values():
        for one in (*ONE.layers, *TWO.layers, *ZSTD.layers):
            (place / blob_path(one.digest.hex)).write_bytes(one.raw)
        assert (place / blob_path(each.config.digest.hex)).exists()
    path = place.with_suffix(".tar")
    run_tool("tar", "-C", place, "-cf", path, ".")
    return path


def blob_path(hexadecimal: str) -> str:
    return f"blobs/sha256/{hexadecimal}"


def without_layers(each: Image) -> Image:
    document = {**json.loads(each.manifest.raw), "layers": []}
    return replace(each, manifest=replace(each.manifest, raw=json.dumps(document).encode()), layers=())


@pytest.mark.parametrize("with_layers", [True, False], ids=["25", "25.0.0"])
async def test_what_docker_saved_since_25_is_loaded(
    engine: Engine, tmp_path: Path, with_layers: bool
) -> None:
    """Both images of it, with all their layers, one of them without a name."""
    path = saved_by_docker(
        tmp_path / "docker", {"quay.io/a/one:1": ONE, "unnamed": ZSTD}, with_layers=with_layers
    )
    found = await engine.load(path)

    assert [each.id for each in found] == [ONE.config.digest, ZSTD.config.digest]
    assert [len(each.manifest.layers) for each in found] == [2, 2]
    assert [str(name) for name in found[0].names] == ["quay.io/a/one:1"]
    assert [each.verified for each in found] == ["Yes", "Yes"]
    assert flaws(engine.settings.root) == []


def by_buildkit(place: Path) -> Path:
    """An index with an attestation, under a full name and a bare tag."""
    write_layout(place, {"1": index(ONE, image(BASE, platform="linux/riscv64"), attestation=True)})
    listed = json.loads((place / "index.json").read_bytes())
    listed["manifests"][0]["annotations"]["io.containerd.image.name"] = "quay.io/a/one:1"
    (place / "index.json").write_text(json.dumps(listed))
    return place


def by_kaniko(place: Path) -> Path:
    """A configuration that is called by its digest, and layers as they are pushed."""
    place.mkdir()
    config = f"sha256:{ONE.config.digest.hex}"
    layers = [f"{each.digest.hex}.tar.gz" for each in ONE.layers]
    (place / config).write_bytes(ONE.config.raw)
    for name, each in zip(layers, ONE.layers, strict=True):
        (place / name).write_bytes(each.raw)
    entry = {"Config": config, "RepoTags": ["quay.io/a/one:1"], "Layers": layers}
    (place / "manifest.json").write_text(json.dumps([entry]))
    return place


@pytest.mark.parametrize("write", [by_buildkit, by_kaniko])
async def test_what_builders_wrote_is_loaded(
    engine: Engine, tmp_path: Path, write: Callable[[Path], Path]
) -> None:
    """As a tar file, and unpacked in a directory; compressed layers keep their bytes."""
    place = write(tmp_path / "built")
    run_tool("tar", "-C", place, "-cf", path := tmp_path / "built.tar", ".")
    for source in (path, place):
        (found,) = await engine.load(source)
        assert found.id == ONE.config.digest
        assert [str(name) for name in found.names] == ["quay.io/a/one:1"]
        assert [each.digest for each in found.manifest.layers] == [each.digest for each in ONE.layers]
        assert found.verified == "Yes"
        await engine.remove("quay.io/a/one:1")


# --- the same image ------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["docker-archive", "oci-archive"])
async def test_a_loaded_image_is_the_image_that_is_pulled(
    engine: Engine, settings: Settings, saved: Path, tmp_path: Path, kind: str
) -> None:
    """The same diff IDs, and trees that are the same to the nanosecond."""
    async with FakeRegistry() as registry, Engine(replace(settings, root=tmp_path / "pulled")) as other:
        registry.add("two", "latest", TWO)
        pulled = await other.pull(f"{registry.address}/two")
        (loaded,) = await engine.load(saved / f"{kind}-two.tar")

        assert loaded.config.diff_ids == pulled.config.diff_ids
        assert loaded.size == pulled.size
        for ours, theirs in zip(trees(engine, loaded), trees(other, pulled), strict=True):
            assert differences(ours, theirs) == []
        if kind == "oci-archive":
            assert loaded.manifest.digest == pulled.manifest.digest


async def test_what_was_loaded_is_not_pulled_again(engine: Engine, saved: Path) -> None:
    """And the other way round: a layer is a layer, wherever it came from."""
    async with FakeRegistry() as registry:
        registry.add("one", "latest", ONE)
        registry.add("two", "latest", TWO)
        await engine.load(saved / "oci-archive-one.tar")
        await engine.pull(f"{registry.address}/one")
        assert [seen.path.rpartition(":")[2] for seen in registry.asked("GET", "/blobs/")] == [
            ONE.config.digest.hex
        ]
        await engine.pull(f"{registry.address}/two")
    events: list[Event] = []
    await engine.load(saved / "oci-archive-two.tar", progress=events.append)
    assert len([event for event in events if isinstance(event, LayerExists)]) == 2


async def test_loading_and_pulling_at_the_same_time(engine: Engine, saved: Path) -> None:
    """They share what they bring, and neither waits for ever."""
    async with FakeRegistry() as registry:
        registry.add("one", "latest", ONE)
        with anyio.fail_after(20):
            async with anyio.create_task_group() as tasks:
                for path in sorted(saved.glob("*.tar")):
                    tasks.start_soon(engine.load, path)
                    tasks.start_soon(engine.pull, f"{registry.address}/one")
    assert {each.verified for each in await engine.images()} == {"Yes"}
    assert flaws(engine.settings.root) == []


async def test_loading_twice_changes_nothing(engine: Engine, tmp_path: Path) -> None:
    """Also for an image without a name, which is there once and found by its ID."""
    path = saved_by_docker(tmp_path / "docker", {"one:1": ONE, "unnamed": TWO})
    first = await engine.load(path)
    before = visible(engine.settings.root)
    second = await engine.load(path)

    assert [each.id for each in first] == [each.id for each in second]
    assert visible(engine.settings.root).keys() == before.keys()
    assert len(json.loads((engine.settings.root / "index.json").read_bytes())["manifests"]) == 2
    assert (await engine.image(TWO.config.digest.short)).id == TWO.config.digest


async def test_a_name_that_led_elsewhere_leads_here(engine: Engine, saved: Path, tmp_path: Path) -> None:
    """A07: as with docker; the image that had it stays, without a name, and whoever watches hears it.

    Whoever loads an archive may also leave out its names.
    """
    name = "localhost:5000/a/one:1"
    await engine.load(saved_by_docker(tmp_path / "docker", {name: TWO}))
    (found,) = await engine.load(saved / "oci-archive-one.tar", tags=False)
    assert (found.id, found.names) == (ONE.config.digest, ())
    assert (await engine.image(name)).id == TWO.config.digest

    events: list[Event] = []
    await engine.load(saved / "oci-archive-one.tar", progress=events.append)
    assert (await engine.image(name)).id == ONE.config.digest
    assert [len(each.names) for each in await engine.images()] == [0, 1]
    assert [event.name for event in events if isinstance(event, ImageReady)] == [name]
    said = f"The image {name} already exists; the old one, {TWO.config.digest.short}, loses this name"
    assert [event.text for event in events if isinstance(event, Notice)] == [said]
    await engine.load(saved / "oci-archive-one.tar", progress=events.append)
    assert len([event for event in events if isinstance(event, Notice)]) == 1


async def test_a_tag_that_is_none_is_told_once(engine: Engine, tmp_path: Path) -> None:
    """The image is loaded, and found by its ID."""
    layout = write_layout(tmp_path / "layout", {"my tag": ONE, "another one": TWO, "1.0": ONE})
    events: list[Event] = []
    found = await engine.load(layout, progress=events.append)
    assert [(image.names, image.id) for image in found] == [((), ONE.config.digest), ((), TWO.config.digest)]
    assert [event.text for event in events if isinstance(event, Notice)] == [
        "No image can be called 'my tag', 'another one': what the archive calls so is loaded without that name"
    ]
    events.clear()
    await engine.load(layout, tags=False, progress=events.append)
    assert not [event for event in events if isinstance(event, Notice)]


async def test_an_empty_layout_of_umoci_has_no_image(engine: Engine, tmp_path: Path) -> None:
    """Its list is null."""
    subprocess.run(["umoci", "init", "--layout", tmp_path / "empty"], check=True)
    assert await engine.load(tmp_path / "empty") == []


# --- real images ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("file_name", "name", "platform"),
    [
        ("alpine-3.10-docker-save.tar.gz", "alpine:3.10", "linux/amd64"),
        ("multilayer-whiteouts-docker-save.tar", "dive-test:latest", "linux/amd64"),
        ("busybox-multiarch-oci.tar", "busybox:latest", "linux/amd64"),
        ("busybox-multiarch-oci.tar", "busybox:latest", "linux/arm64"),
        ("small-zstd-oci.tar", None, "linux/arm64"),
    ],
)
async def test_real_images_are_loaded(
    engine: Engine, file_name: str, name: str | None, platform: str
) -> None:
    """Written by Docker, buildx and others, long ago and lately; from a pipe too."""
    path = FIXTURES / file_name
    if not path.exists():
        pytest.skip(f"the real image {file_name} is not on this machine")
    (found,) = await engine.load(path, platform=platform)
    with piped(path) as stream:
        (again,) = await engine.load(stream, platform=platform)

    assert [each.familiar for each in found.names] == ([name] if name else [])
    assert (found.verified, again.id) == ("Yes", found.id)
    assert str(found.config.platform.normal()) == str(Platform.parse(platform).normal())
    assert list((engine.settings.root / "ingest").iterdir()) == []


# --- what cannot be loaded -----------------------------------------------------------------------

PLAIN = file(b"a", noise(3000)) + END


def of_oci(each: Image | Index) -> bytes:
    """An OCI archive with one image."""
    blobs = {blob_path(blob.digest.hex): blob.raw for blob in (*each.blobs, *each.documents)}
    entry = {**each.top.descriptor.to_json(), "annotations": {"org.opencontainers.image.ref.name": "a:1"}}
    listed = {"schemaVersion": 2, "manifests": [entry]}
    documents = {"oci-layout": {"imageLayoutVersion": "1.0.0"}, "index.json": listed}
    return tar({**{name: json.dumps(value).encode() for name, value in documents.items()}, **blobs})


def of_docker(*layers: bytes, each: Image = ONE) -> bytes:
    """A classic archive with the configuration of an image, and these layers."""
    entry = {
        "Config": "config.json",
        "RepoTags": ["a:1"],
        "Layers": [f"{n}/layer.tar" for n in range(len(layers))],
    }
    files = {"config.json": each.config.raw, "manifest.json": json.dumps([entry]).encode()}
    return tar({**files, **{f"{n}/layer.tar": content for n, content in enumerate(layers)}})


def plain(each: Layer) -> bytes:
    return gzip.decompress(each.raw)


def damaged(content: bytes, inside: bytes) -> bytes:
    """One bit of one part of it is another one."""
    position = content.index(inside) + len(inside) // 2
    return content[:position] + bytes([content[position] ^ 1]) + content[position + 1 :]


GOOD = {"docker": of_docker(*map(plain, ONE.layers)), "oci": of_oci(ONE)}
IN_THE_ARCHIVE = r" in .*(archive\.tar|standard input) \(an? (docker|OCI) archive\)"
WRONG = r" has the wrong content: expected sha256:\w{64}, got sha256:\w{64}; nothing was stored$"
BAD: dict[str, tuple[bytes, type[EngineError], str]] = {
    "nothing": (b"", InvalidArchive, "is empty$"),
    "a text": (b"FROM scratch\n" * 100, InvalidArchive, "it is not a tar archive, it looks like "),
    "a program": (b"\x7fELF" + noise(5000), InvalidArchive, "it is not a tar archive, it looks like "),
    "a compressed text": (
        gzip.compress(b"text" * 500),
        InvalidArchive,
        "gzip data, but not of a tar archive",
    ),
    "half a gzip": (gzip.compress(GOOD["docker"])[:-5000], InvalidArchive, "gzip"),
    "half an xz": (lzma.compress(GOOD["docker"])[:-5000], InvalidArchive, "xz"),
    "a root file system": (
        tar({"etc/passwd": b"", "usr/bin/env": b"", "bin/sh": b""}),
        InvalidArchive,
        r"this looks like a root file system \(docker export\)",
    ),
    "somebody else's tar": (
        tar({"README.md": b"", "setup.py": b""}),
        InvalidArchive,
        "it is no archive of images$",
    ),
    "half a docker archive": (
        GOOD["docker"][: len(GOOD["docker"]) // 2],
        InvalidArchive,
        "it is truncated: ",
    ),
    "half an OCI archive": (GOOD["oci"][: len(GOOD["oci"]) // 2], InvalidArchive, "it is truncated: "),
    "a docker archive without its first block": (GOOD["docker"][512:], InvalidArchive, "not a tar archive"),
    "a changed layer of docker": (
        damaged(GOOD["docker"], plain(BASE)),
        DigestMismatch,
        r"^layer 0/layer\.tar" + IN_THE_ARCHIVE + WRONG,
    ),
    "a changed layer of OCI": (
        damaged(GOOD["oci"], TOP.raw),
        InvalidLayer,
        r"^layer \w{12} cannot be unpacked",
    ),
    "a changed end of a layer of OCI": (
        damaged(GOOD["oci"], TOP.raw[-8:]),
        ContentError,
        r"^layer \w{12} (cannot be unpacked|has the wrong content)",
    ),
    "a changed configuration": (
        damaged(GOOD["oci"], ONE.config.raw),
        DigestMismatch,
        r"^image configuration \w{12}" + IN_THE_ARCHIVE + WRONG,
    ),
    "a changed manifest": (
        damaged(GOOD["oci"], ONE.manifest.raw),
        DigestMismatch,
        r"^manifest \w{12}" + IN_THE_ARCHIVE + WRONG,
    ),
    "layers in the wrong order": (of_docker(*map(plain, ONE.layers[::-1])), DigestMismatch, WRONG),
    "a layer too few": (
        of_docker(plain(BASE)),
        InvalidArchive,
        "names 1 layers for config.json, which has 2",
    ),
    "a compressed layer that is another one": (
        of_docker(BASE.raw, BASE.raw),
        DigestMismatch,
        r"^the uncompressed layer \w{12}" + WRONG,
    ),
    "a layer in xz": (
        of_docker(lzma.compress(PLAIN), b""),
        UnsupportedMediaType,
        "is compressed with xz, which is not supported$",
    ),
    "a layer that leads out": (
        of_oci(image(layer_of(file(b"../x") + END), platform=HERE)),
        UnsafeEntry,
        r"^layer \w{12}: refusing entry '\.\./x': ",
    ),
    "another platform": (
        of_oci(index(image(BASE, platform="linux/riscv64"), image(BASE, platform="linux/s390x"))),
        PlatformNotFound,
        f"^no matching manifest for {HERE}: the image is there for linux/riscv64, linux/s390x$",
    ),
}


@pytest.mark.parametrize(("content", "kind", "sentence"), BAD.values(), ids=BAD)
async def test_what_is_no_good_image_is_one_sentence(
    engine: Engine, tmp_path: Path, content: bytes, kind: type[EngineError], sentence: str
) -> None:
    """From a file and from a stream; nothing of it can be seen or is left behind."""
    path = tmp_path / "archive.tar"
    path.write_bytes(content)
    await refuses(engine, path, kind, sentence)
    await refuses(engine, io.BytesIO(content), kind, sentence)


async def refuses(engine: Engine, source: Path | BinaryIO, kind: type[EngineError], sentence: str) -> None:
    before = visible(engine.settings.root)
    with pytest.raises(kind) as caught:
        await engine.load(source)
    text = str(caught.value)
    assert re.search(sentence, text), text
    assert text.isprintable()
    assert len(text) < 400
    assert caught.value.exit_code == 1
    assert await engine.images() == []
    assert (visible(engine.settings.root)["index.json"]) == before["index.json"]
    assert flaws(engine.settings.root) == []


@pytest.mark.parametrize("kind", GOOD)
async def test_a_good_archive_is_loaded_after_a_bad_one(engine: Engine, tmp_path: Path, kind: str) -> None:
    """What the bad one left does no harm, cut wherever it was."""
    good = GOOD[kind]
    path = tmp_path / "archive.tar"
    for part in range(1, 12):
        path.write_bytes(good[: len(good) * part // 12])
        await refuses(
            engine, path, ContentError, "cannot load|wrong size|has the wrong content|cannot be unpacked"
        )
    path.write_bytes(damaged(good, TOP.raw if kind == "oci" else plain(TOP)))
    await refuses(engine, path, ContentError, "wrong content|cannot be unpacked")
    (found,) = await engine.load(io.BytesIO(good))
    assert layer_files(engine.settings.root) == FILES
    assert (found.id, found.verified) == (ONE.config.digest, "Yes")
    assert list((engine.settings.root / "ingest").iterdir()) == []


@pytest.mark.parametrize("kind", GOOD)
async def test_an_image_for_another_platform_only(engine: Engine, tmp_path: Path, kind: str) -> None:
    """As in a pull: refused where a platform was named, else loaded with a warning."""
    other = image(BASE, TOP, platform="linux/riscv64")
    path = tmp_path / "archive.tar"
    path.write_bytes(of_oci(other) if kind == "oci" else of_docker(*map(plain, other.layers), each=other))
    sentence = f"^no matching manifest for {HERE}: the image is there for linux/riscv64$"
    with pytest.raises(PlatformNotFound, match=sentence):
        await engine.load(path, platform=HERE)
    assert await engine.images() == []

    events: list[Event] = []
    (found,) = await engine.load(path, progress=events.append)
    assert found.verified == "Yes"
    warning = f"Warning: a:1 is an image for linux/riscv64, and {HERE} was expected."
    assert [event.text for event in events if isinstance(event, Notice)] == [warning]
    (found,) = await engine.load(path, platform="linux/riscv64", progress=events.append)
    assert len([event for event in events if isinstance(event, Notice)]) == 1


async def test_what_is_good_of_several_images_stays(engine: Engine, tmp_path: Path) -> None:
    """Each image is whole or absent, for itself."""
    place = write_layout(tmp_path / "both", {"one:1": ONE, "two:1": TWO})
    wrong = place / blob_path(TWO.layers[1].digest.hex)
    wrong.write_bytes(damaged(wrong.read_bytes(), wrong.read_bytes()))
    with pytest.raises(ContentError, match=f"layer {TWO.layers[1].digest.short}"):
        await engine.load(place)

    assert [each.name for each in await engine.images()] == ["one:1"]
    assert flaws(engine.settings.root) == []


@pytest.mark.parametrize("what", ["absent", "a directory", "a socket"])
async def test_a_path_that_leads_to_no_archive(engine: Engine, tmp_path: Path, what: str) -> None:
    """One sentence with the path in it."""
    path = tmp_path / "it"
    with socket.socket(socket.AF_UNIX) as server:
        if what == "a directory":
            path.mkdir()
        elif what == "a socket":
            server.bind(str(path))
        await refuses(engine, path, InvalidArchive, f"^cannot load {path}: ")


# --- disks, and whoever has enough of waiting ----------------------------------------------------


@pytest.mark.root
async def test_a_disk_that_is_too_small_for_an_archive(disk: Disk, engine: Engine, tmp_path: Path) -> None:
    """A pipe must be copied first, and half of what is free is for others; then its layers must find room.

    Nothing is left of what does not fit: its source is still there.
    """
    path = tmp_path / "archive.tar"
    path.write_bytes(of_oci(image(layer({"large": noise(3_000_000)}), platform=HERE)))
    with piped(path) as stream:
        await refuses(
            engine, stream, DiskFull, "^no space left while writing a temporary copy of standard input"
        )
        stream.read()
    unforeseen = tmp_path / "unforeseen.tar"
    unforeseen.write_bytes(of_oci(image(layer({"large": bytes(3_000_000)}), platform=HERE)))
    assert (await hint_of(engine, unforeseen)) == "free some space and run the same command again"
    assert list((disk.place / "ingest").iterdir()) == []
    disk.remount("size=20m")
    with piped(path) as stream:
        (found,) = await engine.load(stream)
    assert found.verified == "Yes"
    assert list((disk.place / "ingest").iterdir()) == []


async def hint_of(engine: Engine, source: Path) -> str:
    with pytest.raises(DiskFull, match=r"^no space left while writing ") as caught:
        await engine.load(source)
    assert not [note for note in getattr(caught.value, "__notes__", []) if "kept" in note]
    return caught.value.hint


@pytest.mark.parametrize("source", ["cat /dev/zero", "gzip -1 < /dev/zero", "zstd -q -1 < /dev/zero"])
async def test_a_stream_without_an_end_is_refused_at_once(engine: Engine, source: str) -> None:
    """Zeros are the end of an archive, and this one would fill the disk."""
    with subprocess.Popen(["sh", "-c", f"exec {source}"], stdout=subprocess.PIPE) as endless:
        assert endless.stdout is not None
        with anyio.fail_after(10):
            await refuses(engine, endless.stdout, InvalidArchive, "it is an empty archive$")  # type: ignore[arg-type]
        endless.kill()


async def test_whoever_waits_for_a_silent_pipe_can_leave(engine: Engine) -> None:
    """At once, or nearly; and nothing is left of what had come."""
    read, write = os.pipe()
    with os.fdopen(read, "rb") as stream, os.fdopen(write, "wb") as other:
        other.write(gzip.compress(GOOD["docker"])[:20_000])
        other.flush()
        last_resort = threading.Timer(5, other.close)
        last_resort.start()
        with anyio.move_on_after(0.2) as scope:
            await engine.load(stream)
        assert last_resort.is_alive(), "it left when the pipe ended, and not when it was told to"
        last_resort.cancel()
    assert scope.cancelled_caught
    assert list((engine.settings.root / "ingest").iterdir()) == []
    assert await engine.images() == []


async def test_what_a_pull_has_begun_outlives_a_load_that_is_cancelled(
    engine: Engine, tmp_path: Path
) -> None:
    """It was downloaded, and the next pull counts on it."""
    path = tmp_path / "archive.tar"
    path.write_bytes(GOOD["oci"])
    (kept := engine.store.paths.ingest(TOP.digest)).write_bytes(TOP.raw[:1000])
    with anyio.CancelScope() as scope:
        await engine.load(path, progress=lambda event: scope.cancel())
    assert list((engine.settings.root / "ingest").iterdir()) == [kept]
    assert TOP.raw.startswith(kept.read_bytes())


@pytest.mark.parametrize("kind", GOOD)
async def test_a_cancelled_load_leaves_nothing_half_done(
    settings: Settings, tmp_path: Path, kind: str
) -> None:
    """Whatever it had come to, layers are whole or absent, and the next load goes on."""
    path = tmp_path / "archive.tar"
    path.write_bytes(GOOD[kind])
    for events in (1, 2, 3, 5, 8, 12):
        seen = 0

        def stop(event: Event) -> None:
            nonlocal seen
            seen += 1
            if seen >= events:  # noqa: B023 (called in this turn of the loop only)
                scope.cancel()

        async with Engine(replace(settings, root=tmp_path / str(events), workers=1)) as engine:
            with anyio.CancelScope() as scope:
                await engine.load(path, progress=stop)
            assert flaws(engine.settings.root) == []
            assert list((engine.settings.root / "ingest").iterdir()) == []
            (found,) = await engine.load(path)
            assert found.verified == "Yes"
            assert list((engine.settings.root / "ingest").iterdir()) == []
