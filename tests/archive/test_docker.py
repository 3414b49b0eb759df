"""What `docker save` writes, classic and since version 25, and what may be wrong with it."""

from __future__ import annotations

import gzip
import json
import lzma
from collections.abc import Callable
from typing import Any

import pytest

from aiodocker_lite.errors import DigestMismatch, EngineError, InvalidArchive, UnsupportedMediaType
from aiodocker_lite.manifest import OCI_LAYER, OCI_MANIFEST
from tests.fakes.archives import (
    Files,
    Layout,
    Open,
    Parts,
    classic,
    named,
    parts,
    run_tool,
    sha256,
    tar,
    to_json,
)
from tests.fakes.tars import directory, hard_link, header, symlink

ONE, TWO = parts("one"), parts("two", "three")


def edited(files: Files, **changes: object) -> Files:
    """The archive with other members in the first entry of its manifest.json."""
    entries: list[dict[str, Any]] = json.loads(files["manifest.json"])
    entries[0].update(changes)
    return {**files, "manifest.json": to_json(entries)}


def test_several_images_with_several_names(open_archive: Open) -> None:
    """In the order of manifest.json; an image without a name has only its ID."""
    archive = open_archive(tar(classic((ONE, ["one:1", "localhost:5000/a/one:2"]), (TWO, []))))

    assert archive.format == "docker-archive"
    assert [[str(name) for name in image.names] for image in archive.images] == [
        ["docker.io/library/one:1", "localhost:5000/a/one:2"],
        [],
    ]
    assert [str(image.config.digest) for image in archive.images] == [ONE.id, TWO.id]


def test_layers_are_sections_of_the_archive(open_archive: Open) -> None:
    """Their digests are their diff IDs, and they can be read from anywhere."""
    (image,) = open_archive(tar(classic((TWO, [])))).images

    assert tuple(layer.digest for layer in image.manifest.layers) == image.config.diff_ids
    for layer, content in zip(image.manifest.layers, TWO.layers, strict=True):
        assert layer.media_type == OCI_LAYER
        assert layer.size == len(content)
        assert image.layers[layer.digest].read_at(0, 1 << 20) == content
        assert image.layers[layer.digest].read_at(512, 5) == content[512:517]


def test_the_manifest_is_the_same_for_the_same_image(open_archive: Open) -> None:
    """However the archive was packed: loading twice makes one image, not two."""
    files = classic((TWO, ["a:1"]))
    turned = dict(reversed(files.items()))
    first, second = (open_archive(tar(f)).images[0].manifest for f in (files, turned))

    assert first == second
    assert first.media_type == OCI_MANIFEST
    assert list(json.loads(first.raw)) == ["schemaVersion", "mediaType", "config", "layers"]


@pytest.mark.parametrize(("compress", "suffix"), [(gzip.compress, "gzip"), ("zstd", "zstd")])
def test_compressed_layers_keep_their_bytes(
    compress: Callable[[bytes], bytes] | str, suffix: str, open_archive: Open
) -> None:
    """crane and kaniko write them so; the media type says how they are compressed, by their magic."""
    pack = compress if callable(compress) else lambda b: run_tool("zstd", "-q", "-c", stdin=b)
    packed = pack(ONE.layers[0])
    files = edited({**classic((ONE, [])), "layer.tar.gz": packed}, Layers=["layer.tar.gz"])
    (image,) = open_archive(tar(files)).images
    (layer,) = image.manifest.layers

    assert layer.media_type == f"{OCI_LAYER}+{suffix}"
    assert layer.digest.hex == sha256(packed)
    assert image.layers[layer.digest].read_at(0, 1 << 20) == packed


def test_equal_layers_are_links_in_old_archives(open_archive: Open) -> None:
    """One hop inside of the archive, symbolic or hard (A03, A04)."""
    image = parts("same", "same2")
    files = classic((image, []))
    first, second = json.loads(files["manifest.json"])[0]["Layers"]
    for link in (
        symlink(b"link/layer.tar", b"../" + second.encode()),
        hard_link(b"link/layer.tar", second.encode()),
    ):
        linked = edited(files, Layers=[first, "link/layer.tar"])
        (loaded,) = open_archive(tar(linked, link)).images
        assert [layer.digest.hex for layer in loaded.manifest.layers] == [sha256(x) for x in image.layers]


def test_a_layer_may_stand_twice(open_archive: Open) -> None:
    """Empty layers do, with one digest."""
    layer = parts("same").layers[0]
    twice = Parts(
        to_json(
            {"os": "linux", "architecture": "amd64", "rootfs": {"diff_ids": [f"sha256:{sha256(layer)}"] * 2}}
        ),
        (layer, layer),
    )
    (image,) = open_archive(tar(classic((twice, [])))).images

    assert len(image.manifest.layers) == 2
    assert len(image.layers) == 1


def test_the_image_id_is_of_the_bytes_and_not_of_the_name(open_archive: Open) -> None:
    """A config may be called anything (A01)."""
    files = edited({**classic((ONE, [])), "0" * 64 + ".json": ONE.config}, Config="0" * 64 + ".json")

    assert str(open_archive(tar(files)).images[0].config.digest) == ONE.id


def test_an_empty_list_is_an_archive_without_images(open_archive: Open) -> None:
    """As Docker has it (A05)."""
    assert open_archive(tar({"manifest.json": b"[]"})).images == ()


def test_a_digest_in_a_name_is_dropped(open_archive: Open) -> None:
    """It is of a registry's manifest, which no classic archive has."""
    (image,) = open_archive(tar(classic((ONE, ["a:1@sha256:" + "0" * 64, "b@sha256:" + "0" * 64])))).images

    assert [name.familiar for name in image.names] == ["a:1", "b:latest"]


def test_an_image_without_layers_is_an_image(open_archive: Open) -> None:
    """FROM scratch, and only a label."""
    (image,) = open_archive(tar(classic((parts(), ["empty:1"])))).images

    assert image.layers == {}


# --- bad input ---------------------------------------------------------------------------------


def manifest(raw: bytes) -> bytes:
    return tar({**classic((ONE, [])), "manifest.json": raw})


GOOD = classic((ONE, []))
LAYER = json.loads(GOOD["manifest.json"])[0]["Layers"][0]
SAYS = "cannot load x.tar: it looks like a docker archive, but "


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (manifest(b"null"), "its manifest.json is null"),
        (manifest(b'{"schemaVersion":2}'), "its manifest.json is not a list of objects"),
        (manifest(b"[null]"), "its manifest.json is not a list of objects"),
        (manifest(b"<html>"), "its manifest.json is not JSON (Expecting value"),
        (manifest(b""), "its manifest.json is not JSON (Expecting value"),
        (manifest(b"\xef\xbb\xbf[]"), "its manifest.json is not JSON (Unexpected UTF-8 BOM"),
        (manifest("[]".encode("utf-16")), "its manifest.json is not JSON ('utf-8' codec"),
        (manifest(b"[" * 500_000), "its manifest.json is not JSON (nested too deep)"),
        (manifest(b'[{"Config":"a","Config":"b"}]'), "its manifest.json is not JSON (a key stands twice)"),
        (manifest(b"[" + b" " * (1 << 20) + b"]"), "its manifest.json has 1048578 bytes, which is more than 1048576"),
        (manifest(b'[{"Layers":[]}]'), "its manifest.json has an image without a Config"),
        (manifest(b'[{"Config":7}]'), "its manifest.json has an image without a Config"),
        (tar(edited(GOOD, Layers="a")), "its manifest.json has Layers that are not a list of strings"),
        (tar(edited(GOOD, RepoTags=[1])), "its manifest.json has RepoTags that are not a list of strings"),
        (tar(edited(GOOD, RepoTags=["Upper"])), "its manifest.json has the tag 'Upper': the repository name 'Upper' must"),
        (tar(edited(GOOD, RepoTags=["../../etc"])), "its manifest.json has the tag '../../etc': "),
        (tar(edited(GOOD, RepoTags=["<none>:<none>"])), "its manifest.json has the tag '<none>:<none>': "),
        (tar(edited(GOOD, Config="../../etc/passwd")), "the path '../../etc/passwd' in it leads outside of it"),
        (tar(edited(GOOD, Config="/etc/passwd")), "the path '/etc/passwd' in it leads outside of it"),
        (tar(edited(GOOD, Config="gone.json")), "'gone.json' is missing"),
        (tar(edited(GOOD, Config="d"), directory(b"d/")), "'d' is a directory, not a file"),
        (tar(edited(GOOD, Config="p"), header(b"p", b"6")), "'p' is a FIFO, not a file"),
        (tar(edited(GOOD, Config="big"), header(b"big", size=5 << 20) + bytes(5 << 20)), "its big has 5242880 bytes"),
        (tar(edited({**GOOD, "c": b"{}"}, Config="c")), "image configuration 44136fa355b3 is not valid: it has no 'rootfs'"),
        (tar(edited({**GOOD, "c": b"nonsense"}, Config="c")), "is not valid: it is not JSON"),
        (tar(edited(GOOD, Layers=["../x"])), "the path '../x' in it leads outside of it"),
        (tar(edited(GOOD, Layers=["gone/layer.tar"])), "'gone/layer.tar' is missing"),
        (tar(edited(GOOD, Layers=["gone/layer.tar"]), end=b""), "is missing; it has no end mark, so it may be incomplete"),
        (tar(edited(GOOD, Layers=["l"]), symlink(b"l", b"/etc/shadow")), "'l' is a link to '/etc/shadow', outside of it"),
        (tar(edited(GOOD, Layers=["l"]), symlink(b"l", b"../out")), "'l' is a link to '../out', outside of it"),
        (tar(edited(GOOD, Layers=["l"]), header(b"l", b"4")), "'l' is a device, not a file"),
        (tar(edited(GOOD, Layers=[])), "its manifest.json names 0 layers for "),
        (tar(edited(GOOD, Layers=[LAYER, LAYER])), "its manifest.json names 2 layers for "),
        (tar(edited(GOOD, Layers=["blobs/sha256/../../x"])), "'blobs/sha256/../../x' is missing"),
        (tar(edited({**GOOD, "blobs/sha256/AB": ONE.config}, Config="blobs/sha256/AB")),
         "the path 'blobs/sha256/AB' is not valid: 'sha256:AB' is not a digest"),
        (manifest(b"[]") + manifest(b"[]"), None),
        (tar(GOOD, header(b"manifest.json", size=2) + b"[]".ljust(512, b"\0")), "it has 'manifest.json' more than once"),
    ],
)  # fmt: skip
def test_a_malformed_docker_archive_is_one_sentence(
    content: bytes, sentence: str | None, open_archive: Open
) -> None:
    """It says which format was seen, and what is wrong with it (A01, A02, A05, A08, A12)."""
    if sentence is None:
        assert open_archive(content).images == ()
        return
    with pytest.raises(InvalidArchive) as caught:
        open_archive(content)

    assert str(caught.value).startswith(SAYS) or "more than once" in sentence
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "kind", "sentence"),
    [
        (tar({**GOOD, LAYER: ONE.layers[0].replace(b"one", b"ONE")}), DigestMismatch,
         f"layer {LAYER} in x.tar (a docker archive) has the wrong content"),
        (tar({**GOOD, LAYER: b""}), DigestMismatch, f"layer {LAYER} in x.tar (a docker archive) has the wrong content"),
        (tar({**GOOD, LAYER: lzma.compress(ONE.layers[0])}), UnsupportedMediaType,
         f"layer {LAYER} in x.tar (a docker archive) is compressed with xz, which"),
        (tar({**GOOD, LAYER: b"\x04\x22\x4d\x18" + bytes(600)}), UnsupportedMediaType,
         f"layer {LAYER} in x.tar (a docker archive) is compressed with lz4, which"),
        (tar(edited({**GOOD, f"blobs/sha256/{'0' * 64}": ONE.config}, Config=f"blobs/sha256/{'0' * 64}")), DigestMismatch,
         f"blobs/sha256/{'0' * 64} in x.tar (a docker archive) has the wrong content"),
        (tar(edited({**GOOD, f"blobs/sha256/{'0' * 64}": ONE.layers[0]}, Layers=[f"blobs/sha256/{'0' * 64}"])),
         DigestMismatch, f"blobs/sha256/{'0' * 64} in x.tar (a docker archive) has the wrong content"),
    ],
)  # fmt: skip
def test_other_bytes_than_promised_are_a_mismatch(
    content: bytes, kind: type[EngineError], sentence: str, open_archive: Open
) -> None:
    """Of a layer against its diff ID, of a blob against its path (A08, A10)."""
    with pytest.raises(kind) as caught:
        open_archive(content)

    assert sentence in str(caught.value)


# --- since version 25 --------------------------------------------------------------------------


def since_25(image: Parts, names: list[str], *, layers_in_oci: bool = True, annotated: bool = True) -> Files:
    """An OCI layout, and a manifest.json whose paths lead to its blobs."""
    layout = Layout()
    entry = layout.image(image if layers_in_oci else Parts(image.config, ()))
    for layer in image.layers:
        layout.blob(layer, "")
    entries = [
        named(entry, name.rpartition(":")[2], f"docker.io/library/{name}") for name in names if annotated
    ]
    files = layout.done(*entries or [entry])
    saved = {
        "Config": f"blobs/sha256/{sha256(image.config)}",
        "RepoTags": names,
        "Layers": [f"blobs/sha256/{sha256(layer)}" for layer in image.layers],
        "LayerSources": {},
    }
    return {**files, "manifest.json": to_json([saved])}


@pytest.mark.parametrize("annotated", [True, False])
def test_an_archive_with_both_forms_is_read_by_its_index(annotated: bool, open_archive: Open) -> None:
    """So that the manifest is the one that was saved; its names are those of both forms."""
    files = since_25(TWO, ["two:1", "two:2"], annotated=annotated)
    archive = open_archive(tar(files))
    (image,) = archive.images

    assert archive.format == "docker-archive"
    assert image.manifest.raw in files.values()
    assert [name.familiar for name in image.names] == ["two:1", "two:2"]
    assert str(image.config.digest) == TWO.id


def test_an_index_whose_manifest_has_no_layers_is_passed_over(open_archive: Open) -> None:
    """Docker 25.0.0 wrote such; its manifest.json has them."""
    files = since_25(TWO, ["two:1"], layers_in_oci=False)
    (image,) = open_archive(tar(files)).images

    assert [layer.digest.hex for layer in image.manifest.layers] == [sha256(layer) for layer in TWO.layers]
    assert [name.familiar for name in image.names] == ["two:1"]


def test_an_index_without_entries_is_passed_over(open_archive: Open) -> None:
    """What manifest.json lists is what the archive has."""
    files = {**since_25(TWO, ["two:1"]), "index.json": Layout().done()["index.json"]}

    assert len(open_archive(tar(files)).images) == 1
