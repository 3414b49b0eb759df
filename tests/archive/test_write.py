"""Archives as they are put together; what other tools make of them is in `tests/pipeline/test_save.py`."""

from __future__ import annotations

import gzip
import io
import json
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from aiodocker_lite.archive import SavedFormat, write_archive
from aiodocker_lite.archive.write import FORMATS
from aiodocker_lite.errors import InvalidLayer
from aiodocker_lite.image import Image
from aiodocker_lite.manifest import Descriptor, Manifest, parse_config, parse_manifest
from aiodocker_lite.reference import Reference
from aiodocker_lite.testing import images
from aiodocker_lite.testing.images import layer, layer_of


def stored(made: images.Image, *names: str) -> Image:
    """An image as a store has it."""
    manifest = parse_manifest(made.manifest.raw, made.manifest.descriptor)
    assert isinstance(manifest, Manifest)
    config = parse_config(made.config.raw, made.config.descriptor)
    return Image(tuple(map(Reference.parse, names)), manifest, config, manifest.digest, 0, "Yes")


def written(format: SavedFormat, chosen: list[Image], *made: images.Image) -> dict[str, bytes]:
    """The members of an archive; blobs come in small pieces."""
    blobs = {each.digest: each.raw for image in made for each in image.layers}

    def read_blob(blob: Descriptor) -> Iterator[bytes]:
        content = blobs[blob.digest]
        return (content[n : n + 100] for n in range(0, len(content), 100))

    out = io.BytesIO()
    write_archive(chosen, format, read_blob, out.write)
    out.seek(0)
    with tarfile.open(fileobj=out) as tar:
        return {m.name: file.read() for m in tar if (file := tar.extractfile(m)) is not None}


TAR = gzip.decompress(layer({"file": b"content"}).raw)


def test_an_image_that_is_packed_in_two_ways_is_one_image() -> None:
    """By its ID, with the names of both; a layout has both manifests."""
    made = [images.image(layer_of(TAR, compression)) for compression in ("gzip", "zstd")]
    chosen = [stored(made[0], "a:1"), stored(made[1], "b:1")]
    names = ["docker.io/library/a:1", "docker.io/library/b:1"]
    for format in ("docker", "docker-archive"):
        (entry,) = json.loads(written(format, chosen, *made)["manifest.json"])
        assert entry["RepoTags"] == names
    index = json.loads(written("docker", chosen, *made)["index.json"])
    assert [each["digest"] for each in index["manifests"]] == [str(each.manifest.digest) for each in made]


@pytest.mark.parametrize("format", FORMATS)
def test_no_images_and_images_without_layers(format: SavedFormat) -> None:
    """Are archives as well."""
    (first, *_) = written(format, [])
    assert first == ("manifest.json" if format == "docker-archive" else "oci-layout")
    made = images.image()
    assert (
        len(written(format, [stored(made, "empty")]))
        == {"docker": 5, "docker-archive": 2, "oci-archive": 4}[format]
    )


def test_compression_is_told_by_the_first_bytes() -> None:
    """Media types lie: in a classic archive every layer is a tar."""
    lying = images.Layer(
        "application/vnd.oci.image.layer.v1.tar+zstd", gzip.compress(TAR), layer_of(TAR).diff_id
    )
    made = images.image(lying)
    found = written("docker-archive", [stored(made)], made)
    assert found[f"{lying.diff_id.hex}/layer.tar"] == TAR


def test_a_damaged_layer_is_named() -> None:
    """Where it is inflated; where it goes as it is, whoever reads the blob checks its digest."""
    spoiled = gzip.compress(TAR)[:-9]
    made = images.image(
        images.Layer("application/vnd.oci.image.layer.v1.tar+gzip", spoiled, layer_of(TAR).diff_id)
    )
    with pytest.raises(InvalidLayer, match=f"layer {made.layers[0].digest.short} .* it is truncated"):
        written("docker-archive", [stored(made)], made)


def test_a_large_layer_is_not_inflated_into_memory(tmp_path: Path) -> None:
    """100 MiB of zeros come out of a blob of 100 kB, in a process that may have 48 MiB of data."""
    program = """
import io, resource, sys
from pathlib import Path
from tests.archive.test_write import layer_of, images, stored
from aiodocker_lite.archive import write_archive
blob = Path(sys.argv[1]).read_bytes()
diff_id = layer_of(b"").diff_id
made = images.image(images.Layer("application/vnd.oci.image.layer.v1.tar+gzip", blob, diff_id))
resource.setrlimit(resource.RLIMIT_DATA, (48 << 20, 48 << 20))
size = 0
def write(content):
    global size
    size += len(content)
write_archive([stored(made)], "docker-archive", lambda _: iter([blob]), write)
print(size)
"""
    with gzip.open(tmp_path / "blob", "wb", 1) as blob:
        for _ in range(100):
            blob.write(bytes(1 << 20))
    command = [sys.executable, "-c", program, str(tmp_path / "blob")]
    root = Path(__file__).parents[2]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=root)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) >= 100 << 20
