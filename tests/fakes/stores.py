"""A store looked at from outside: what must hold at every instant, whatever happened to whoever used it."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from stat import S_ISREG

_INGEST = re.compile(r"sha256-[0-9a-f]{64}(\.written)?")


def flaws(root: Path) -> list[str]:
    """What is not as it must be, as sentences: half a blob or layer in sight, a name that leads nowhere,
    something staged that nobody works on."""
    return [*_staged(root), *_half_layers(root), *layout_flaws(root)]


def layout_flaws(root: Path) -> list[str]:
    """What makes it no valid OCI image layout: a blob that is not what its name says, a name that leads nowhere."""
    try:
        return [*half_blobs(root), *_dead_names(root)]
    except (OSError, ValueError) as error:
        return [f"it cannot be read: {error}"]


def visible(root: Path) -> dict[str, tuple[int, int]]:
    """Everything that others may count on, with its size and the time of its last change."""
    found = {}
    for top in ("index.json", "oci-layout", "blobs", "layers"):
        for path in (root / top, *(root / top).rglob("*")):
            if not path.is_dir():
                how = path.lstat()
                found[str(path.relative_to(root))] = (how.st_size, how.st_mtime_ns)
    return found


def layer_files(root: Path) -> dict[str, bytes]:
    """The regular files of all layers in sight, by name."""
    tops = (root / "layers/sha256").glob("*/fs")
    return {str(p.relative_to(top)): p.read_bytes() for top in tops for p in top.rglob("*") if p.is_file()}


def _staged(root: Path) -> Iterator[str]:
    for path in (root / "ingest").iterdir():
        if path.is_dir() or not _INGEST.fullmatch(path.name):
            yield f"{path.name} was left in ingest/"


def half_blobs(root: Path) -> Iterator[str]:
    """Blobs that are not whole."""
    for path in root.glob("blobs/sha256/*"):
        if hashlib.sha256(path.read_bytes()).hexdigest() != path.name:
            yield f"the blob {path.name} is not what its name says"


def half_records(root: Path) -> Iterator[str]:
    """Layers with a record that says something else than what is there, or is torn.

    What has no record counts for nothing: a removal that was killed leaves it.
    """
    for path in root.glob("layers/sha256/*"):
        if not (path / "layer.json").exists():
            continue
        try:
            record = json.loads((path / "layer.json").read_bytes())
        except ValueError:
            yield f"the record of the layer {path.name} is torn"
            continue
        files = map(Path.lstat, (path / "fs").rglob("*"))
        size = sum({found.st_ino: found.st_size for found in files if S_ISREG(found.st_mode)}.values())
        if record["size"] != size:
            yield f"the layer {path.name} has {size} bytes, and its record {record}"


def _half_layers(root: Path) -> Iterator[str]:
    """For layers that have an entry for each of their files, and perhaps one for their root."""
    for path in (root / "layers/sha256").iterdir():
        record = json.loads((path / "layer.json").read_bytes())
        files = list((path / "fs").rglob("*"))
        sizes = {found.st_ino: found.st_size for found in map(Path.lstat, files) if S_ISREG(found.st_mode)}
        size = sum(sizes.values())
        if record["entries"] - len(files) not in (0, 1) or record["size"] != size:
            yield f"the layer {path.name} has {len(files)} files of {size} bytes, and its record {record}"


def _dead_names(root: Path) -> Iterator[str]:
    for entry in json.loads((root / "index.json").read_bytes())["manifests"]:
        manifest = root / "blobs/sha256" / entry["digest"].removeprefix("sha256:")
        if not manifest.exists():
            yield f"index.json leads to {entry['digest']}, which is not here"
            continue
        document = json.loads(manifest.read_bytes())
        for blob in (document["config"], *document["layers"]):
            path = root / "blobs/sha256" / blob["digest"].removeprefix("sha256:")
            if not path.exists() or path.stat().st_size != blob["size"]:
                yield f"the image {entry['digest']} needs {blob['digest']}, which is not here"
        config = root / "blobs/sha256" / document["config"]["digest"].removeprefix("sha256:")
        for diff_id in json.loads(config.read_bytes())["rootfs"]["diff_ids"] if config.exists() else ():
            if not (root / "layers/sha256" / diff_id.removeprefix("sha256:") / "layer.json").exists():
                yield f"the image {entry['digest']} needs the layer {diff_id}, which is not here"
