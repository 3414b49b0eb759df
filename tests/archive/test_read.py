"""Whole archives: as other tools write them, as strangers spoil them, and what else people give us."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aiodocker_lite.archive import read_archive
from aiodocker_lite.errors import EngineError, InvalidArchive
from aiodocker_lite.platforms import Platform
from tests.fakes.archives import (
    Files,
    Layout,
    Open,
    classic,
    named,
    parts,
    podman_store,
    run_tool,
    sha256,
    tar,
    write_tree,
)
from tests.fakes.tars import directory, file

AMD64 = Platform("linux", "amd64")
ONE, TWO = parts("one"), parts("two", "three", "two")
FIXTURES = Path(__file__).parents[3] / "shared" / "fixtures"


def layout_of(*names: str) -> Files:
    layout = Layout()
    return layout.done(
        named(layout.image(TWO), names[0]), *(named(layout.image(ONE), name) for name in names[1:])
    )


# --- other tools -------------------------------------------------------------------------------


@pytest.fixture
def layout(tmp_path: Path) -> Path:
    """An OCI layout for other tools to copy from."""
    return write_tree(tmp_path / "layout", layout_of("two"))


def image_id(source: str) -> str:
    return f"sha256:{sha256(run_tool('skopeo', 'inspect', '--raw', '--config', source))}"


@pytest.mark.parametrize("transport", ["docker-archive", "oci-archive"])
def test_what_skopeo_writes_is_what_we_read(
    transport: str, layout: Path, tmp_path: Path, open_archive: Open
) -> None:
    """With the image ID that skopeo finds in it, and with all bytes of all layers."""
    path = tmp_path / "it.tar"
    run_tool("skopeo", "copy", "-q", f"oci:{layout}:two", f"{transport}:{path}:localhost:5000/a/two:1")
    (image,) = open_archive(path).images

    assert [str(name) for name in image.names] == ["localhost:5000/a/two:1"]
    assert str(image.config.digest) == image_id(f"{transport}:{path}")
    assert len(image.manifest.layers) == 3
    for layer in image.manifest.layers:
        assert sha256(image.layers[layer.digest].read_at(0, layer.size)) == layer.digest.hex


def test_what_podman_writes_is_what_we_read(tmp_path: Path, open_archive: Open) -> None:
    """Several images in one docker archive, one in an OCI archive, with podman's own image IDs."""
    given_to_podman = tmp_path / "given.tar"
    given_to_podman.write_bytes(
        tar(classic((ONE, ["localhost/one:1", "localhost/one:2"]), (TWO, ["quay.io/a/two:1"])))
    )
    with podman_store() as podman:
        podman("load", "-i", given_to_podman)
        ids = {
            name: f"sha256:{podman('image', 'inspect', '--format', '{{.Id}}', name).decode().strip()}"
            for name in ("localhost/one:1", "quay.io/a/two:1")
        }
        podman(
            "save",
            "-q",
            "-m",
            "-o",
            tmp_path / "docker.tar",
            "localhost/one:1",
            "localhost/one:2",
            "quay.io/a/two:1",
        )
        podman("save", "-q", "--format", "oci-archive", "-o", tmp_path / "oci.tar", "quay.io/a/two:1")
    docker, oci = open_archive(tmp_path / "docker.tar"), open_archive(tmp_path / "oci.tar")

    found = {str(name): str(image.config.digest) for image in docker.images for name in image.names}
    assert found == {**ids, "localhost/one:2": ids["localhost/one:1"]}
    assert [str(name) for name in oci.images[0].names] == ["quay.io/a/two:1"]
    assert str(oci.images[0].config.digest) == image_id(f"oci-archive:{tmp_path / 'oci.tar'}")
    assert found["quay.io/a/two:1"] == TWO.id


def test_an_unpacked_layout_is_read_where_it_is(layout: Path, open_archive: Open) -> None:
    """A directory will do: an OCI layout, or an archive that somebody unpacked."""
    assert str(open_archive(layout).images[0].config.digest) == TWO.id
    unpacked = write_tree(layout.parent / "unpacked", classic((TWO, ["a:1"])))
    assert str(open_archive(unpacked).images[0].config.digest) == TWO.id


def test_members_below_a_dot_are_the_same_members(open_archive: Open) -> None:
    """`tar -C directory -c .` is how people pack one."""
    packed = {f"./{name}": content for name, content in classic((ONE, ["a:1"])).items()}

    assert str(open_archive(tar(packed)).images[0].config.digest) == ONE.id


# --- real images -------------------------------------------------------------------------------


def fixture(name: str) -> Path:
    path = FIXTURES / name
    if not path.exists():
        pytest.skip(f"the real image {name} is not on this machine")
    return path


@pytest.mark.parametrize(
    ("file_name", "name", "layers", "platform"),
    [
        ("alpine-3.10-docker-save.tar.gz", "alpine:3.10", 1, "linux/amd64"),
        ("multilayer-whiteouts-docker-save.tar", "dive-test:latest", 14, "linux/amd64"),
        ("busybox-multiarch-oci.tar", "busybox:latest", 1, "linux/amd64"),
        ("busybox-multiarch-oci.tar", "busybox:latest", 1, "linux/arm64"),
        ("small-zstd-oci.tar", None, 1, "linux/arm64"),
    ],
)
def test_real_images_have_the_ids_that_skopeo_finds(
    file_name: str, name: str | None, layers: int, platform: str, tmp_path: Path, open_archive: Open
) -> None:
    """Written by Docker, buildx and others, long ago and lately."""
    wanted = Platform.parse(platform)
    path = fixture(file_name)
    archive = open_archive(path, wanted)
    (image,) = archive.images
    plain = path
    if path.suffix == ".gz":
        plain = tmp_path / "plain.tar"
        plain.write_bytes(gzip.decompress(path.read_bytes()))

    assert [n.familiar for n in image.names] == ([name] if name else [])
    assert len(image.manifest.layers) == layers
    inspect = ["skopeo", "--override-arch", wanted.architecture, "inspect", "--raw", "--config"]
    config = run_tool(*inspect, f"{archive.format}:{plain}")
    assert str(image.config.digest) == f"sha256:{sha256(config)}"


# --- what is no image --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (tar({"etc/passwd": b"", "usr/bin/env": b"", "bin/sh": b""}),
         "this looks like a root file system (docker export); an image has a manifest.json or index.json"),
        (tar({"repositories": b"{}", "abc/json": b"{}", "abc/layer.tar": b""}),
         "it was saved by Docker before 1.10 (it has 'repositories' and no manifest.json)"),
        (tar({"it/manifest.json": b"[]", "it/a": b""}), "the image is inside of its directory 'it'; make it with tar -C it"),
        (tar({"README.md": b"", "setup.py": b""}), "it has neither manifest.json nor index.json, so it is no archive of images"),
        (tar({"README.md": b""}, end=b""), "no archive of images; it has no end mark, so it may be incomplete"),
        (bytes(1024), "it is an empty archive"),
        (bytes(512), "it is an empty archive"),
        (tar({}, directory(b"manifest.json/")), "'manifest.json' is a directory, not a file"),
        (tar({"oci-layout": b"{}"}), "it has neither manifest.json nor index.json"),
    ],
)  # fmt: skip
def test_a_tar_file_that_is_no_image_is_recognised(content: bytes, sentence: str, open_archive: Open) -> None:
    """With a guess at what it is, for somebody who took the wrong file."""
    with pytest.raises(InvalidArchive) as caught:
        open_archive(content)

    assert sentence in str(caught.value)


def test_a_directory_that_is_no_image_is_recognised(tmp_path: Path, open_archive: Open) -> None:
    """In the same words."""
    for name in ("etc", "usr", "bin"):
        (tmp_path / "root" / name).mkdir(parents=True)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InvalidArchive, match="this looks like a root file system"):
        open_archive(tmp_path / "root")
    with pytest.raises(InvalidArchive, match="it is an empty archive"):
        open_archive(tmp_path / "empty")


# --- damage ------------------------------------------------------------------------------------

WHOLE = {
    "docker": tar(classic((ONE, ["one:1"]), (TWO, ["two:1"]))),
    "oci": tar(layout_of("a/two:1", "one:1")),
    "both": tar({**layout_of("a/two:1"), **classic((TWO, ["two:1"]))}),
    "gzip": gzip.compress(tar(classic((TWO, ["two:1"]))), mtime=0),
}


def _pax() -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as out:
        for name, content in classic((ONE, ["one:1"])).items():
            info = tarfile.TarInfo(name)
            info.size, info.pax_headers = len(content), {"mtime": "1.5", "comment": "x" * 300}
            out.addfile(info, io.BytesIO(content))
    return packed.getvalue()


WHOLE["pax"] = _pax()


def try_to_read(content: bytes) -> None:
    """Either all that was promised can be read, or one error of ours says why not."""
    try:
        with read_archive(
            io.BytesIO(content), name="x", spool=tempfile.TemporaryFile, platform=AMD64
        ) as archive:
            for image in archive.images:
                for layer in image.manifest.layers:
                    assert len(image.layers[layer.digest].read_at(0, layer.size)) == layer.size
    except EngineError as error:
        assert str(error)


@pytest.mark.parametrize("kind", WHOLE)
@settings(max_examples=150, deadline=2000, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damage_ends_in_an_error_of_ours(kind: str, data: st.DataObject) -> None:
    """Cut anywhere, with bytes changed anywhere: no foreign error, no hang."""
    content = bytearray(WHOLE[kind])
    for _ in range(data.draw(st.integers(0, 4))):
        position = data.draw(st.integers(0, len(content) - 1))
        content[position] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(content)))
    try_to_read(bytes(content[:cut] if data.draw(st.booleans()) else content))


@pytest.mark.parametrize("kind", ["docker", "oci", "pax"])
@settings(max_examples=100, deadline=2000)
@given(data=st.data())
def test_damaged_headers_with_right_checksums_end_in_an_error_of_ours(kind: str, data: st.DataObject) -> None:
    """The same where the damage is behind the checksum: sizes, types and names that lie."""
    content = bytearray(WHOLE[kind])
    headers = [n for n in range(0, len(content) - 512, 512) if content[n + 257 : n + 262] == b"ustar"]
    start = data.draw(st.sampled_from(headers))
    field = data.draw(st.sampled_from([slice(124, 136), slice(156, 157), slice(0, 100), slice(157, 257)]))
    width = field.stop - field.start
    content[start + field.start : start + field.stop] = data.draw(st.binary(min_size=width, max_size=width))
    content[start + 148 : start + 156] = b" " * 8
    content[start + 148 : start + 156] = b"%06o\0 " % sum(content[start : start + 512])
    try_to_read(bytes(content))


@settings(max_examples=200, deadline=2000)
@given(st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5)
    | st.sampled_from(["manifest.json", "a.json", "../x", "/x", "sha256:" + "0" * 64, "blobs/sha256/" + "0" * 64]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["Config", "Layers", "RepoTags", "manifests", "schemaVersion", "digest", "size", "annotations"]),
        inner, max_size=4,
    ),
    max_leaves=12,
), st.sampled_from(["manifest.json", "index.json"]))  # fmt: skip
def test_any_json_ends_in_an_error_of_ours(document: object, path: str) -> None:
    """Whatever stands where in the documents of an archive."""
    try_to_read(tar({path: json.dumps(document).encode()}, file(b"a.json", b"{}")))


def test_one_large_file_that_is_named_often_is_read_once(open_archive: Open) -> None:
    """A small archive with ten thousand images of one large configuration takes no hours (A05)."""
    image = parts("one", comment="x" * (3 << 20))
    files = classic((image, []))
    (entry,) = json.loads(files["manifest.json"])
    layout = Layout()
    described = layout.image(image)
    many = layout.done(*(named(described, f"a:{number}") for number in range(5_000)))
    files["manifest.json"] = json.dumps([{**entry, "RepoTags": []}] * 5_000).encode()

    assert len(open_archive(tar(files)).images) == 5_000
    (merged,) = open_archive(tar(many)).images
    assert len(merged.names) == 5_000
    both = {**many, **files, "index.json": many["index.json"]}
    assert len(open_archive(tar(both)).images) == 1
