"""What a user sees of a pull, from real registries."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import anyio
import pytest

from aiodocker_lite import Engine, Settings
from aiodocker_lite import Image as StoredImage
from aiodocker_lite.errors import AccessDenied, NoSuchImage, PlatformNotFound
from aiodocker_lite.events import Event, LayerDownloaded, LayerExists, LayerReady, Notice, Resolved
from aiodocker_lite.manifest import DOCKER_MANIFEST
from aiodocker_lite.testing.images import Compression, Image, image, index, layer, noise, write_layout
from aiodocker_lite.testing.registry import FakeRegistry
from tests.fakes.processes import PASSWORD, USER, RealRegistry

FILES = {"etc/": b"", "etc/name": b"value", "big": noise(3_000_000)}


def files_of(engine: Engine, found: StoredImage) -> dict[str, bytes]:
    """The regular files of all layers of an image, by name."""
    result: dict[str, bytes] = {}
    for diff_id in found.config.diff_ids:
        root = engine.store.layers.files(diff_id)
        result |= {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}
    return result


def push(registry: RealRegistry, tmp_path: Path, name: str, what: Image) -> str:
    return registry.push(write_layout(tmp_path / name, {"latest": what}), name)


def push_in_dockers_format(registry: RealRegistry, tmp_path: Path, name: str, what: Image) -> str:
    """As `docker push` would have it: skopeo rewrites manifest and media types."""
    layout = write_layout(tmp_path / name, {"latest": what})
    full = f"{registry.address}/{name}"
    run(
        "skopeo",
        "copy",
        "-q",
        "--dest-tls-verify=false",
        "--format=v2s2",
        f"oci:{layout}:latest",
        f"docker://{full}",
    )
    return full


@pytest.mark.parametrize("compression", ["gzip", "zstd", "plain"])
async def test_an_image_is_pulled_whole_and_verified(
    engine: Engine, open_registry: RealRegistry, tmp_path: Path, compression: Compression
) -> None:
    """Whatever the compression, the files are those of the image."""
    what = image(layer(FILES, compression))
    found = await engine.pull(push(open_registry, tmp_path, f"whole-{compression}", what))

    assert (found.id, found.manifest.digest) == (what.config.digest, what.manifest.digest)
    assert (found.verified, found.size) == ("Yes", sum(map(len, FILES.values())))
    assert files_of(engine, found) == {k: v for k, v in FILES.items() if not k.endswith("/")}


@pytest.mark.parametrize("pushed", [push, push_in_dockers_format], ids=["oci", "docker"])
async def test_other_tools_read_the_store_as_it_is(
    engine: Engine, open_registry: RealRegistry, tmp_path: Path, pushed: Callable[..., str]
) -> None:
    """To skopeo and umoci the store is an OCI image layout, also with an image in Docker's format."""
    what = image(layer({"a": b"b"}))
    name = pushed(open_registry, tmp_path, f"layout-{pushed.__name__.replace('_', '-')}", what)
    found = await engine.pull(name)
    assert (found.manifest.media_type == DOCKER_MANIFEST) == (pushed is not push)
    assert files_of(engine, found) == {"a": b"b"}

    root = engine.settings.root
    seen = json.loads(run("skopeo", "inspect", f"oci:{root}:{name}:latest"))
    assert seen["Layers"] == [str(what.layers[0].digest)]
    assert run("umoci", "ls", "--layout", str(root)).split() == [f"{name}:latest"]
    run("umoci", "unpack", "--image", f"{root}:{name}:latest", str(tmp_path / "bundle"))
    assert (tmp_path / "bundle/rootfs/a").read_bytes() == b"b"


async def test_the_platform_that_was_asked_for_is_pulled(
    engine: Engine, open_registry: RealRegistry, tmp_path: Path
) -> None:
    """Of an index with an attestation, and the error for others lists what there is."""
    images = {
        p: image(layer({"name": p.encode()}), platform=p)
        for p in ("linux/amd64", "linux/arm64", "linux/arm/v6")
    }
    layout = write_layout(tmp_path, {"latest": index(*images.values(), attestation=True)})
    name = open_registry.push(layout, "platforms")

    for platform, expected in (("linux/arm64/v8", "linux/arm64"), ("linux/arm/v7", "linux/arm/v6")):
        found = await engine.pull(name, platform=platform)
        assert files_of(engine, found) == {"name": expected.encode()}
    with pytest.raises(PlatformNotFound, match="linux/amd64, linux/arm64, linux/arm/v6"):
        await engine.pull(name, platform="linux/s390x")


async def test_layers_are_shared_over_images(
    engine: Engine, open_registry: RealRegistry, tmp_path: Path
) -> None:
    """A second image brings only what the first did not have."""
    base, ours, theirs = layer({"base": b"1"}), layer({"ours": b"2"}), layer({"theirs": b"3"})
    first = push(open_registry, tmp_path, "shared-first", image(base, ours))
    second = push(open_registry, tmp_path, "shared-second", image(base, theirs, base))
    await engine.pull(first)
    events: list[Event] = []
    found = await engine.pull(second, progress=events.append)

    assert [e.layer for e in events if isinstance(e, LayerExists)] == [base.digest]
    assert [e.layer for e in events if isinstance(e, LayerReady)] == [theirs.digest]
    assert files_of(engine, found) == {"base": b"1", "theirs": b"3"}


async def test_an_image_that_is_up_to_date_costs_one_head(engine: Engine) -> None:
    """No manifest and no blob is fetched again, and a moved tag is noticed."""
    async with FakeRegistry() as registry:
        registry.add("app", "latest", image(layer({"a": b"1"})))
        name = f"{registry.address}/app"
        await engine.pull(name)
        registry.requests.clear()
        await engine.pull(name)
        assert [seen.method for seen in registry.requests] == ["HEAD"]

        registry.add("app", "latest", image(layer({"a": b"2"})))
        found = await engine.pull(name)
        assert files_of(engine, found) == {"a": b"2"}
        assert [len(each.names) for each in await engine.images()] == [0, 1]


async def test_a_digest_decides_over_a_tag(
    engine: Engine, open_registry: RealRegistry, tmp_path: Path
) -> None:
    """`name:tag@digest` is the digest, by which it is also found again."""
    what = image(layer({"pinned": b"yes"}))
    name = push(open_registry, tmp_path, "pinned", what)
    push(open_registry, tmp_path / "newer", "pinned", image(layer({"pinned": b"no"})))
    pinned = f"{name}:latest@{what.manifest.digest}"

    found = await engine.pull(pinned)
    assert files_of(engine, found) == {"pinned": b"yes"}
    assert str(found.names[0]) == f"{name}@{what.manifest.digest}"
    assert (await engine.image(pinned)).id == found.id
    with pytest.raises(NoSuchImage):
        await engine.image(name)


@pytest.mark.parametrize("kind", ["basic", "token"])
async def test_a_private_registry_wants_a_login(
    engine: Engine,
    basic_registry: RealRegistry,
    token_registry: RealRegistry,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
) -> None:
    """Denied without, with the source named; granted after; denied again after logout."""
    registry = basic_registry if kind == "basic" else token_registry
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    name = push(
        registry, tmp_path, "private", image(layer({"secret": b"s"}), layer({"more": noise(100_000)}))
    )
    with pytest.raises(AccessDenied, match="anonymous"):
        await engine.pull(name)

    await engine.login(registry.address, USER, PASSWORD)
    if registry.tokens is not None:
        registry.tokens.requests.clear()
    found = await engine.pull(name)
    assert files_of(engine, found)["secret"] == b"s"
    if registry.tokens is not None:
        assert len(registry.tokens.requests) == 1, "one token serves the manifest and every layer"

    assert await engine.logout(registry.address)
    async with Engine(replace(engine.settings, root=tmp_path / "other")) as other:
        with pytest.raises(AccessDenied, match="anonymous"):
            await other.pull(name)


async def test_many_pulls_at_once_fetch_each_blob_once(settings: Settings, tmp_path: Path) -> None:
    """Over names, over engines in one store; layers more than downloads and workers."""
    layers = [layer({f"f{n}": noise(50_000, str(n))}) for n in range(9)]
    small = replace(settings, downloads=2, workers=2)
    async with FakeRegistry() as registry, Engine(small) as one, Engine(small) as other:
        for n in range(3):
            registry.add(f"app{n}", "latest", image(*layers[n : n + 7]))
        async with anyio.create_task_group() as tasks:
            for n in range(3):
                for engine in (one, other):
                    tasks.start_soon(engine.pull, f"{registry.address}/app{n}")
        blobs = [seen.path.rpartition("/")[2] for seen in registry.asked("GET", "/blobs/")]
        for each in layers:
            assert blobs.count(str(each.digest)) == 1
        assert [found.verified for found in await one.images()] == ["Yes"] * 3


async def test_progress_says_what_happens(
    engine: Engine, open_registry: RealRegistry, tmp_path: Path
) -> None:
    """From the layers that are wanted to the image that is ready, in an order that makes sense."""
    name = push(open_registry, tmp_path, "progress", image(layer(FILES)))
    events: list[Event] = []
    await engine.pull(name, progress=events.append)

    kinds = [type(event).__name__ for event in events]
    assert kinds[:2] == ["Resolved", "LayerStarted"]
    assert kinds[-2:] == ["LayerReady", "ImageReady"]
    resolved = events[0]
    assert isinstance(resolved, Resolved)
    downloaded = [event.received for event in events if isinstance(event, LayerDownloaded)]
    assert downloaded == sorted(downloaded)
    assert downloaded[-1] == resolved.layers[0].size


def run(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


async def test_a_single_image_for_another_platform_is_announced_or_refused(
    engine: Engine, open_registry: RealRegistry, tmp_path: Path
) -> None:
    """A warning where the platform is only the default, an error where it was asked for."""
    other = "linux/s390x"
    name = push(open_registry, tmp_path, "foreign", image(layer({"a": b"b"}), platform=other))
    with pytest.raises(
        PlatformNotFound, match=f"no matching manifest for linux/arm64: the image is there for {other}"
    ):
        await engine.pull(name, platform="linux/arm64")

    events: list[Event] = []
    assert str((await engine.pull(name, progress=events.append)).config.platform) == other
    (notice,) = [event.text for event in events if isinstance(event, Notice)]
    assert notice.startswith(f"Warning: {name}:latest is an image for {other}, and ")
    events.clear()
    await engine.pull(name, progress=events.append)
    assert [type(event).__name__ for event in events] == ["ImageReady"]
