"""Manifests, indexes and configurations: what is read, and what is refused in a sentence."""

from __future__ import annotations

import json
from typing import Any

import pytest

from aiodocker_lite.digest import Digest
from aiodocker_lite.errors import (
    DigestMismatch,
    EngineError,
    InvalidManifest,
    LimitExceeded,
    PlatformNotFound,
    SizeMismatch,
    UnsupportedMediaType,
)
from aiodocker_lite.manifest import (
    DOCKER_CONFIG,
    DOCKER_LIST,
    DOCKER_MANIFEST,
    DOCUMENT_MAX,
    OCI_CONFIG,
    OCI_INDEX,
    OCI_LAYER,
    OCI_MANIFEST,
    Descriptor,
    ImageConfig,
    Index,
    Manifest,
    check_pairs,
    choose_platform,
    parse_config,
    parse_manifest,
)
from aiodocker_lite.platforms import Platform

A = "sha256:" + "a" * 64


def entry(media_type: str, **more: object) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": A, "size": 7, **more}


def manifest(**change: object) -> dict[str, Any]:
    document = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": entry(OCI_CONFIG),
        "layers": [entry(OCI_LAYER + "+gzip")],
    }
    return {k: v for k, v in {**document, **change}.items() if v is not ...}


def promised(raw: bytes, media_type: str = OCI_MANIFEST) -> Descriptor:
    return Descriptor(media_type, Digest.of(raw), len(raw))


def read(document: object, media_type: str = OCI_MANIFEST) -> Manifest | Index:
    raw = document if isinstance(document, bytes) else json.dumps(document).encode()
    return parse_manifest(raw, promised(raw, media_type))


def test_oci_and_docker_manifests_are_read() -> None:
    """Both spell the same things; an OCI manifest may leave out its own media type."""
    docker = manifest(
        mediaType=DOCKER_MANIFEST,
        config=entry(DOCKER_CONFIG),
        layers=[entry("application/vnd.docker.image.rootfs.diff.tar.gzip")],
    )
    for found in (read(manifest()), read(docker, DOCKER_MANIFEST), read(manifest(mediaType=...))):
        assert isinstance(found, Manifest)
        assert [layer.size for layer in found.layers] == [7]
        assert found.digest == Digest.of(found.raw)


@pytest.mark.parametrize(
    ("document", "error", "reason"),
    [
        (b"<html>", InvalidManifest, "not JSON"),
        (b"[1]", InvalidManifest, "not a JSON object"),
        (b"[" * 100_000, InvalidManifest, "not JSON"),
        (b'{"schemaVersion":2,"schemaVersion":2}', InvalidManifest, "stands twice"),
        (b"x" * (DOCUMENT_MAX + 1), LimitExceeded, "exceeds"),
        (manifest(schemaVersion=1), UnsupportedMediaType, "schema 1"),
        (manifest(schemaVersion=3), InvalidManifest, "schemaVersion"),
        (manifest(mediaType=DOCKER_MANIFEST), InvalidManifest, "was sent as"),
        (manifest(mediaType=7), InvalidManifest, "not a string"),
        (manifest(manifests=[]), InvalidManifest, "both layers and manifests"),
        (manifest(config=...), InvalidManifest, "no 'config'"),
        (manifest(layers=...), InvalidManifest, "no 'layers'"),
        (manifest(layers={}), InvalidManifest, "'layers' is a dict"),
        (manifest(layers=[7]), InvalidManifest, "not an object"),
        (manifest(layers=[entry("application/vnd.cncf.helm.chart.content.v1.tar+gzip")]), UnsupportedMediaType, "helm"),
        (manifest(config=entry("application/vnd.oci.empty.v1+json")), UnsupportedMediaType, "not a container image"),
        (manifest(layers=[entry(OCI_LAYER, size=-1)]), InvalidManifest, "size is '-1'"),
        (manifest(layers=[entry(OCI_LAYER, size=2**63)]), InvalidManifest, "size is"),
        (manifest(layers=[entry(OCI_LAYER, size=True)]), InvalidManifest, "size is 'True'"),
        (manifest(layers=[entry(OCI_LAYER, size="7")]), InvalidManifest, "size is '7'"),
        (manifest(layers=[entry(OCI_LAYER, digest="sha256:../x")]), InvalidManifest, "layers\\[0\\]"),
        (manifest(layers=[entry(OCI_LAYER)] * 10_001), LimitExceeded, "10000"),
        (manifest(layers=[entry(OCI_LAYER, annotations={"a": 1})]), InvalidManifest, "map of strings"),
    ],
)  # fmt: skip
def test_a_broken_manifest_is_refused(document: object, error: type[EngineError], reason: str) -> None:
    """Each says what is wrong with it (R11-R14)."""
    with pytest.raises(error, match=reason):
        read(document)


def test_other_media_types_are_named() -> None:
    """What is neither manifest nor index is refused by its type."""
    with pytest.raises(UnsupportedMediaType, match="application/json"):
        read(manifest(mediaType=...), "application/json")


def test_content_that_is_said_inline_is_never_taken() -> None:
    """R12: `data` may disagree with the digest; only bytes that have the digest count."""
    said = entry(OCI_LAYER, data="ZXZpbA==")
    assert Descriptor.from_json(said, "it") == Descriptor.from_json(entry(OCI_LAYER), "it")


def test_no_more_than_ten_thousand_entries_of_an_index_are_read() -> None:
    """R25: as of layers."""
    many = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [entry(OCI_MANIFEST)] * 10_001}
    with pytest.raises(LimitExceeded, match=r"the number of manifests in .* exceeds its limit: 10001"):
        read(many, OCI_INDEX)


def test_bytes_are_checked_against_their_promise() -> None:
    """Digest and size, for manifests as for configurations."""
    raw = json.dumps(manifest()).encode()
    with pytest.raises(DigestMismatch):
        parse_manifest(raw, Descriptor(OCI_MANIFEST, Digest.parse(A), len(raw)))
    with pytest.raises(SizeMismatch):
        parse_manifest(raw, Descriptor(OCI_MANIFEST, Digest.of(raw), len(raw) + 1))
    with pytest.raises(DigestMismatch):
        parse_config(b"{}", Descriptor(OCI_CONFIG, Digest.parse(A), 2))


def index(*platforms: str, media_type: str = OCI_INDEX) -> Index:
    entries = []
    for number, text in enumerate(platforms):
        system, machine, *variant = text.split("/")
        platform = {"os": system, "architecture": machine, **({"variant": variant[0]} if variant else {})}
        entries.append({**entry(OCI_MANIFEST, platform=platform), "digest": f"sha256:{number:064x}"})
    found = read({"schemaVersion": 2, "mediaType": media_type, "manifests": entries}, media_type)
    assert isinstance(found, Index)
    return found


@pytest.mark.parametrize("media_type", [OCI_INDEX, DOCKER_LIST])
def test_the_entry_for_a_platform_is_chosen(media_type: str) -> None:
    """Attestations are no images, variants fall back, and the error lists what there is."""
    found = index("unknown/unknown", "linux/arm/v6", "linux/amd64", "linux/arm64/v8", media_type=media_type)
    chosen = choose_platform(found, Platform.parse("linux/arm64"))
    assert chosen.digest.hex == f"{3:064x}"
    assert choose_platform(found, Platform.parse("linux/arm/v7")).digest.hex == f"{1:064x}"
    with pytest.raises(PlatformNotFound) as caught:
        choose_platform(found, Platform.parse("linux/s390x"))
    assert str(caught.value) == (
        "no matching manifest for linux/s390x: the image is there for linux/arm/v6, linux/amd64, linux/arm64/v8"
    )


def test_an_index_of_ten_thousand_platforms_is_looked_through_and_not_listed() -> None:
    """R25: at most; the sentence has the first twenty."""
    found = index(*[f"linux/a{number}" for number in range(10_000)])
    with pytest.raises(PlatformNotFound) as caught:
        choose_platform(found, Platform.parse("linux/s390x"))
    assert len(caught.value.available) == 10_000
    assert str(caught.value).endswith("linux/a18, linux/a19 and 9980 more")


def config(**change: object) -> bytes:
    document = {
        "os": "linux",
        "architecture": "amd64",
        "rootfs": {"type": "layers", "diff_ids": [A]},
        "config": {"Cmd": ["sh"], "Entrypoint": None, "Env": ["A=b"], "Volumes": {"/v": {}}, "Labels": None},
        **change,
    }
    return json.dumps(document).encode()


def read_config(raw: bytes) -> ImageConfig:
    return parse_config(raw, promised(raw, OCI_CONFIG))


def test_a_configuration_is_read_with_its_nulls() -> None:
    """Go writes null for what is empty; very old images have a string for a command."""
    found = read_config(config())
    assert (found.defaults.command, found.defaults.entrypoint) == (("sh",), ())
    assert (found.defaults.env, found.defaults.volumes, found.defaults.labels) == (("A=b",), ("/v",), {})
    assert read_config(config(config={"Cmd": "sh -c x"})).defaults.command == ("sh -c x",)
    assert read_config(config(config=None)).defaults.command == ()


@pytest.mark.parametrize(
    "change",
    [
        {"rootfs": None},
        {"rootfs": {"diff_ids": None}},
        {"rootfs": {"diff_ids": ["sha256:1"]}},
        {"os": 7},
        {"config": []},
        {"config": {"Env": [1]}},
        {"config": {"Env": "A=b"}},
        {"config": {"User": 0}},
        {"config": {"Labels": {"a": 1}}},
    ],
)
def test_a_broken_configuration_is_refused(change: dict[str, object]) -> None:
    """Wrong types do not get further than here."""
    with pytest.raises(InvalidManifest, match="image configuration"):
        read_config(config(**change))


def test_layers_and_diff_ids_must_pair() -> None:
    """One diff ID for each layer, or none of them (T12)."""
    found = read(manifest(layers=[entry(OCI_LAYER)] * 2))
    assert isinstance(found, Manifest)
    with pytest.raises(InvalidManifest, match="2 layers, and its configuration 1 diff IDs"):
        check_pairs(found, read_config(config()))
