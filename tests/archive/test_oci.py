"""OCI archives: indexes, platforms, names, and blobs that are not what they should be."""

from __future__ import annotations

import gzip
import hashlib
import json
from typing import Any

import pytest

from aiodocker_lite.archive.oci import name_of
from aiodocker_lite.digest import Digest
from aiodocker_lite.errors import (
    DigestMismatch,
    EngineError,
    InvalidArchive,
    PlatformNotFound,
    SizeMismatch,
    UnsupportedMediaType,
)
from aiodocker_lite.manifest import OCI_MANIFEST, Descriptor
from aiodocker_lite.platforms import Platform
from tests.fakes.archives import OCI, Files, Layout, Open, for_platform, named, parts, sha256, tar, to_json
from tests.fakes.tars import symlink

ONE, TWO = parts("one"), parts("two", "three")
ARM64 = Platform("linux", "arm64")


def names(archive: Any) -> list[list[str]]:
    return [[name.familiar for name in image.names] for image in archive.images]


def ids(archive: Any) -> list[str]:
    return [str(image.config.digest) for image in archive.images]


def test_manifest_and_config_are_those_of_the_archive(open_archive: Open) -> None:
    """Byte for byte; layers are promised by the manifest, and found."""
    layout = Layout()
    packed = tuple(gzip.compress(layer) for layer in TWO.layers)
    entry = layout.image(TWO, packed)
    archive = open_archive(tar(layout.done(named(entry, full="docker.io/library/two:1"))))
    (image,) = archive.images

    assert archive.format == "oci-archive"
    assert str(image.manifest.digest) == entry["digest"]
    assert image.config.raw == TWO.config
    assert [image.layers[layer.digest].read_at(0, 1 << 20) for layer in image.manifest.layers] == list(packed)


def test_one_image_with_several_names_is_one_image(open_archive: Open) -> None:
    """Entries with one digest are one image, and the order of the index stays."""
    layout = Layout()
    one, two = layout.image(ONE), layout.image(TWO)
    archive = open_archive(
        tar(layout.done(named(one, "a:1"), named(two, "b:1"), named(one, "a:2"), named(one, "a:1")))
    )

    assert names(archive) == [["a:1", "a:2"], ["b:1"]]
    assert ids(archive) == [ONE.id, TWO.id]


@pytest.mark.parametrize(
    ("ref_name", "full", "expected"),
    [
        ("latest", "docker.io/library/busybox:latest", "docker.io/library/busybox:latest"),
        ("3.20", None, None),
        ("alpine", None, None),
        ("alpine:3.20", None, "docker.io/library/alpine:3.20"),
        ("localhost:5000/a/b:1", None, "localhost:5000/a/b:1"),
        ("quay.io/a/b", None, "quay.io/a/b:latest"),
        ("a:1@sha256:" + "0" * 64, None, "docker.io/library/a:1"),
        ("a@sha256:" + "0" * 64, None, None),
        ("ocidir://oci/spire@sha256:" + "0" * 64, None, None),
        ("Not/A/Name", None, None),
        ("../../etc/passwd", None, None),
        ("x", "Not/A/Name", None),
        (None, "alpine", "docker.io/library/alpine:latest"),
        (None, None, None),
        ("", "", None),
    ],
)  # fmt: skip
def test_annotations_give_names(ref_name: str | None, full: str | None, expected: str | None) -> None:
    """A bare tag is none, and what does not parse is none: the archive is loaded without it."""
    annotations = named({}, ref_name, full)["annotations"]
    name = name_of(Descriptor(OCI_MANIFEST, Digest.of(b""), 0, annotations=annotations))

    assert (str(name) if name else None) == expected


@pytest.mark.parametrize(
    ("ref_name", "full", "wrong"),
    [
        ("my tag", None, "my tag"),
        ("a/b:my tag", None, "a/b:my tag"),
        ("1", "docker.io/Not/A/Name:1", "docker.io/Not/A/Name:1"),
        ("1.0", None, None),
        ("a@sha256:" + "0" * 64, None, None),
        ("my tag", "docker.io/library/a:1", None),
        ("", "", None),
    ],
)
def test_what_nothing_can_be_called_is_kept_to_be_told(
    open_archive: Open, ref_name: str, full: str | None, wrong: str | None
) -> None:
    """A bare tag could be one, and is none for another reason."""
    layout = Layout()
    archive = open_archive(tar(layout.done(named(layout.image(ONE), ref_name, full))))
    assert [image.misnamed for image in archive.images] == [(wrong,) if wrong else ()]


def test_no_list_of_manifests_is_an_empty_one(open_archive: Open) -> None:
    """As umoci writes it; without the key it is something else."""
    files = Layout().done()
    files["index.json"] = b'{"schemaVersion":2,"manifests":null}'
    assert open_archive(tar(files)).images == ()
    files["index.json"] = b'{"schemaVersion":2}'
    with pytest.raises(InvalidArchive, match="it has no 'manifests'"):
        open_archive(tar(files))


def test_images_under_bare_tags_are_all_loaded(open_archive: Open) -> None:
    """As umoci keeps them; they have no name, and different tags are different images."""
    layout = Layout()
    archive = open_archive(tar(layout.done(named(layout.image(ONE), "v1"), named(layout.image(TWO), "v2"))))

    assert names(archive) == [[], []]
    assert ids(archive) == [ONE.id, TWO.id]


# --- platforms ---------------------------------------------------------------------------------

AMD, ARM = parts("amd"), parts("arm", architecture="arm64")


@pytest.mark.parametrize("platform", [Platform("linux", "amd64"), ARM64])
@pytest.mark.parametrize("shape", ["nested", "flat", "flat-without-name", "deep", "with-attestation"])
def test_one_image_is_taken_of_those_for_several_platforms(
    shape: str, platform: Platform, open_archive: Open
) -> None:
    """Whether they are in an index of their own (buildx, containerd) or directly in index.json."""
    layout = Layout()
    entries = [for_platform(layout.image(AMD), "amd64"), for_platform(layout.image(ARM), "arm64")]
    if shape == "with-attestation":
        entries.append(for_platform(layout.blob(b"{}", f"{OCI}.manifest.v1+json"), "unknown", "unknown"))
    if shape == "flat":
        entries = [named(entry, "a:1") for entry in entries]
    elif shape == "deep":
        entries = [layout.index(layout.index(layout.index(layout.index(*entries))))]
    elif shape == "nested":
        entries = [named(layout.index(*entries), "a:1")]
    archive = open_archive(tar(layout.done(*entries)), platform)

    assert ids(archive) == [AMD.id if platform.architecture == "amd64" else ARM.id]
    assert names(archive) == [["a:1"] if shape in ("nested", "flat") else []]


def test_a_missing_platform_says_what_there_is(open_archive: Open) -> None:
    """And which archive has only that is plain from the command."""
    layout = Layout()
    index = layout.index(for_platform(layout.image(AMD), "amd64"), for_platform(layout.image(ARM), "arm64"))
    with pytest.raises(
        PlatformNotFound, match="linux/riscv64: the image is there for linux/amd64, linux/arm64"
    ):
        open_archive(tar(layout.done(index)), Platform("linux", "riscv64"))


def test_platforms_that_were_not_saved_are_not_offered(open_archive: Open) -> None:
    """`docker save` keeps the whole index, and the blobs of the platforms it has."""
    layout = Layout()
    amd, arm = for_platform(layout.image(AMD), "amd64"), for_platform(layout.image(ARM), "arm64")
    index = layout.index(amd, arm)
    files = layout.done(index)
    del files[f"blobs/sha256/{arm['digest'][7:]}"]

    assert ids(open_archive(tar(files))) == [AMD.id]
    with pytest.raises(PlatformNotFound, match=r"linux/arm64: the image is there for linux/amd64$"):
        open_archive(tar(files), ARM64)


def test_an_image_that_is_alone_is_loaded_for_any_platform(open_archive: Open) -> None:
    """As `docker load` does: nobody saves an image by accident."""
    layout = Layout()

    assert ids(open_archive(tar(layout.done(for_platform(layout.image(ARM), "arm64"))))) == [ARM.id]


def test_two_manifests_for_one_platform(open_archive: Open) -> None:
    """Under one name the first one counts, as in any index; without a name both are images (A09)."""
    layout = Layout()
    entries = [for_platform(layout.image(image), "amd64") for image in (ONE, TWO)]

    assert ids(open_archive(tar(layout.done(*(named(entry, "a:1") for entry in entries))))) == [ONE.id]
    assert ids(open_archive(tar(layout.done(*entries)))) == [ONE.id, TWO.id]


def test_entries_without_platform_beside_some_with_one(open_archive: Open) -> None:
    """Where no platform suits, those that say none are taken."""
    layout = Layout()
    entries = [for_platform(layout.image(ARM), "arm64"), layout.image(ONE), layout.image(TWO)]

    assert ids(open_archive(tar(layout.done(*entries)))) == [ONE.id, TWO.id]
    assert ids(open_archive(tar(layout.done(*(named(entry, "a:1") for entry in entries))))) == [ONE.id]


def test_signatures_beside_an_image_are_passed_over(open_archive: Open) -> None:
    """They have no name and no layers of an image; alone they are not an image."""
    layout = Layout()
    config = layout.blob(b"{}", "application/vnd.example.config.v1+json")
    artifact = {"schemaVersion": 2, "mediaType": f"{OCI}.manifest.v1+json", "config": config, "layers": []}
    entry = layout.blob(to_json(artifact), f"{OCI}.manifest.v1+json")

    assert ids(open_archive(tar(layout.done(layout.image(ONE), entry)))) == [ONE.id]
    for alone in (entry, named(entry, "a:1")):
        with pytest.raises(
            UnsupportedMediaType, match=r"in x.tar \(an OCI archive\) has the media type 'application/vnd.ex"
        ):
            open_archive(tar(layout.done(alone)))


def test_an_index_without_entries_has_no_images(open_archive: Open) -> None:
    """An empty layout is a valid one."""
    assert open_archive(tar(Layout().done())).images == ()


# --- bad input ---------------------------------------------------------------------------------


def whole() -> Files:
    layout = Layout()
    return layout.done(layout.image(TWO))


def blob(content: bytes) -> str:
    return f"blobs/sha256/{sha256(content)}"


def manifest_of(**changes: object) -> bytes:
    """An archive whose manifest has other members."""
    layout = Layout()
    entry = layout.image(TWO)
    document = json.loads(layout.files[f"blobs/sha256/{entry['digest'][7:]}"])
    return tar(layout.done(layout.blob(to_json({**document, **changes}), f"{OCI}.manifest.v1+json")))


def entry_with(**changes: object) -> bytes:
    layout = Layout()
    return tar(layout.done({**layout.image(TWO), **changes}))


def nested(depth: int) -> bytes:
    layout = Layout()
    entry = layout.image(ONE)
    for _ in range(depth):
        entry = layout.index(entry)
    return tar(layout.done(entry))


def without(path: str) -> bytes:
    files = whole()
    del files[path]
    return tar(files)


CONFIG, LAYER = blob(TWO.config), blob(TWO.layers[0])
SAYS = "cannot load x.tar: it looks like an OCI archive, but "


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (tar({**whole(), "oci-layout": b'{"imageLayoutVersion":"2.0.0"}'}), "its image layout version is '2.0.0', not 1.x"),
        (tar({**whole(), "oci-layout": b"{}"}), "its image layout version is 'None', not 1.x"),
        (tar({**whole(), "oci-layout": b"1.0.0"}), "its oci-layout is not valid: it is not JSON"),
        (tar({**whole(), "oci-layout": b"[]"}), "its oci-layout is not valid: it is not a JSON object"),
        (tar({**whole(), "oci-layout": b" " * 5000}), "its oci-layout has 5000 bytes, which is more than 4096"),
        (tar({**whole(), "index.json": b"<html>"}), "its index.json is not valid: it is not JSON"),
        (tar({**whole(), "index.json": b"null"}), "is not valid: it is not a JSON object"),
        (tar({**whole(), "index.json": b"{}"}), "is not valid: its schemaVersion is not 2"),
        (tar({**whole(), "index.json": b'{"schemaVersion":2}'}), "is not valid: it has no 'manifests'"),
        (tar({**whole(), "index.json": b'{"schemaVersion":2,"manifests":[1]}'}), "is not an object"),
        (tar({**whole(), "index.json": b'{"a":1,"a":2}'}), "a key stands twice"),
        (tar({**whole(), "index.json": b" " * (5 << 20)}), "its index.json has 5242880 bytes, which is more than 4194304"),
        (entry_with(digest="sha256:../../etc/passwd"), "'sha256:../../etc/passwd' is not a digest"),
        (entry_with(digest="sha256:" + "A" * 64), "is not a digest"),
        (entry_with(digest="sha256:" + "a" * 63), "is not a digest"),
        (entry_with(digest="md5:" + "a" * 32), "is not a digest"),
        (entry_with(digest=None), "is not a digest"),
        (entry_with(size=-1), "its size is '-1'"),
        (entry_with(size="1"), "its size is '1'"),
        (entry_with(digest="sha256:" + "0" * 64), f"'blobs/sha256/{'0' * 64}' is missing"),
        (entry_with(digest="sha512:" + "0" * 128), f"'blobs/sha512/{'0' * 128}' is missing"),
        (entry_with(size=5 << 20), "exceeds its limit: 5242880 is more than 4194304"),
        (nested(6), "its indexes are nested more than 4 deep"),
        (manifest_of(manifests=[]), "it has both layers and manifests"),
        (manifest_of(layers=[]), "it has 0 layers, and its configuration 2 diff IDs"),
        (manifest_of(config=None), "is not valid: it has no 'config'"),
        (without(CONFIG), f"'{CONFIG}' is missing"),
        (without(LAYER), f"'{LAYER}' is missing"),
        (tar({k: v for k, v in whole().items() if k != LAYER}, symlink(LAYER.encode(), b"/etc/shadow")), "outside of it"),
        (tar({k: v for k, v in whole().items() if k != LAYER}, symlink(LAYER.encode(), b"../../../x")), "outside of it"),
    ],
)  # fmt: skip
def test_a_malformed_oci_archive_is_one_sentence(content: bytes, sentence: str, open_archive: Open) -> None:
    """It says which format was seen, and what is wrong with it (A05, A09, A12)."""
    with pytest.raises(InvalidArchive) as caught:
        open_archive(content)

    assert str(caught.value).startswith(SAYS)
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "kind", "sentence"),
    [
        (tar({**whole(), CONFIG: TWO.config.replace(b"/bin/sh", b"/bin/SH")}), DigestMismatch,
         f"image configuration {sha256(TWO.config)[:12]} in x.tar (an OCI archive) has the wrong content"),
        (tar({**whole(), CONFIG: b"{}"}), SizeMismatch,
         f"image configuration {sha256(TWO.config)[:12]} in x.tar (an OCI archive) has the wrong size"),
        (tar({**whole(), LAYER: b"short"}), SizeMismatch,
         f"layer {sha256(TWO.layers[0])[:12]} in x.tar (an OCI archive) has the wrong size"),
        (entry_with(size=7), SizeMismatch, "in x.tar (an OCI archive) has the wrong size: expected 7 bytes"),
        (manifest_of(layers=[{"mediaType": "application/x", "digest": "sha256:" + "0" * 64, "size": 1}]),
         UnsupportedMediaType, "in x.tar (an OCI archive) has the media type 'application/x'"),
    ],
)  # fmt: skip
def test_other_bytes_than_promised_are_a_mismatch(
    content: bytes, kind: type[EngineError], sentence: str, open_archive: Open
) -> None:
    """The class is the one that a pull would raise; the sentence names the archive (A10)."""
    with pytest.raises(kind) as caught:
        open_archive(content)

    assert sentence in str(caught.value)


def test_every_document_that_is_spoiled_is_noticed(open_archive: Open) -> None:
    """Each blob but the layers, which whoever unpacks them checks, with one bit flipped."""
    files = whole()
    documents = [k for k, v in files.items() if k.startswith("blobs/") and v not in TWO.layers]
    assert len(documents) == 2
    for path in documents:
        flipped = bytes([files[path][0] ^ 1]) + files[path][1:]
        with pytest.raises(DigestMismatch):
            open_archive(tar({**files, path: flipped}))


def test_blobs_may_be_links_inside(open_archive: Open) -> None:
    """As in the official busybox layout (A09)."""
    files = whole()
    content = files.pop(LAYER)
    archive = open_archive(
        tar({**files, "rootfs.tar": content}, symlink(LAYER.encode(), b"../../rootfs.tar"))
    )

    assert archive.images[0].layers[Digest("sha256", LAYER[-64:])].read_at(0, 1 << 20) == content


def test_sha512_is_a_digest_as_well(open_archive: Open) -> None:
    """The registered algorithms, in lower case (A12)."""
    layout = Layout()
    content = TWO.layers[0]
    name = hashlib.sha512(content).hexdigest()
    layer = {**layout.blob(content, f"{OCI}.layer.v1.tar"), "digest": f"sha512:{name}"}
    config = layout.blob(parts("two").config, f"{OCI}.config.v1+json")
    manifest = {
        "schemaVersion": 2,
        "mediaType": f"{OCI}.manifest.v1+json",
        "config": config,
        "layers": [layer],
    }
    entry = layout.blob(to_json(manifest), f"{OCI}.manifest.v1+json")
    files = {**layout.done(entry), f"blobs/sha512/{name}": content}

    assert list(open_archive(tar(files)).images[0].layers) == [Digest("sha512", name)]
