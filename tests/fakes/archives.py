"""Archives of images as the files that are in them: made honest, then spoiled by a test, then packed."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiodocker_lite.archive import Archive
from tests.fakes.tars import END, file, gnu_long

Files = dict[str, bytes]
Open = Callable[..., Archive]
"""Bytes or a path, and perhaps a platform and a name, to an open archive."""
OCI = "application/vnd.oci.image"
_PACKAGES = {
    "skopeo": "skopeo",
    "podman": "podman",
    "xz": "xz-utils",
    "zstd": "zstd",
    "bzip2": "bzip2",
    "curl": "curl",
}


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def to_json(value: object) -> bytes:
    return json.dumps(value).encode()


@dataclass(frozen=True)
class Parts:
    """One image in pieces: plain layers and the configuration that names them."""

    config: bytes
    layers: tuple[bytes, ...]

    @property
    def id(self) -> str:
        return f"sha256:{sha256(self.config)}"


def parts(*texts: str, architecture: str = "amd64", **more: object) -> Parts:
    """An image with one layer for each text, which lies in a file of that layer."""
    layers = tuple(file(f"file{number}".encode(), text.encode()) + END for number, text in enumerate(texts))
    config = {
        "architecture": architecture,
        "os": "linux",
        "config": {"Cmd": ["/bin/sh"]},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{sha256(layer)}" for layer in layers]},
        **more,
    }
    return Parts(to_json(config), layers)


def classic(*images: tuple[Parts, list[str]]) -> Files:
    """What `docker save` wrote until version 24: manifest.json last, a directory for each layer."""
    files: Files = {}
    entries = []
    for image, names in images:
        config = f"{sha256(image.config)}.json"
        files[config] = image.config
        layers = [f"{sha256(layer)}/layer.tar" for layer in image.layers]
        files.update(zip(layers, image.layers, strict=True))
        entries.append({"Config": config, "RepoTags": names or None, "Layers": layers})
    files["manifest.json"] = to_json(entries)
    return files


@dataclass
class Layout:
    """An OCI image layout that grows blob by blob."""

    files: Files = field(default_factory=dict)

    def blob(self, content: bytes, media_type: str) -> dict[str, Any]:
        digest = sha256(content)
        self.files[f"blobs/sha256/{digest}"] = content
        return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(content)}

    def image(self, image: Parts, layers: tuple[bytes, ...] | None = None) -> dict[str, Any]:
        """The descriptor of a manifest; `layers` are the compressed forms of the image's own."""
        manifest = {
            "schemaVersion": 2,
            "mediaType": f"{OCI}.manifest.v1+json",
            "config": self.blob(image.config, f"{OCI}.config.v1+json"),
            "layers": [self.blob(layer, f"{OCI}.layer.v1.tar") for layer in layers or image.layers],
        }
        return self.blob(to_json(manifest), f"{OCI}.manifest.v1+json")

    def index(self, *entries: dict[str, Any]) -> dict[str, Any]:
        """The descriptor of an index of these entries."""
        return self.blob(_index(entries), f"{OCI}.index.v1+json")

    def done(self, *entries: dict[str, Any]) -> Files:
        """The whole layout, with these entries in index.json."""
        return {
            "oci-layout": b'{"imageLayoutVersion":"1.0.0"}',
            "index.json": _index(entries),
            **self.files,
        }


def _index(entries: tuple[dict[str, Any], ...]) -> bytes:
    return to_json({"schemaVersion": 2, "mediaType": f"{OCI}.index.v1+json", "manifests": list(entries)})


def named(entry: dict[str, Any], ref_name: str | None = None, full: str | None = None) -> dict[str, Any]:
    """A descriptor with the annotations that give its image a name."""
    annotations = {}
    if ref_name is not None:
        annotations["org.opencontainers.image.ref.name"] = ref_name
    if full is not None:
        annotations["io.containerd.image.name"] = full
    return {**entry, "annotations": annotations}


def for_platform(entry: dict[str, Any], architecture: str, system: str = "linux") -> dict[str, Any]:
    """A descriptor that says for which platform its image is."""
    return {**entry, "platform": {"os": system, "architecture": architecture}}


def tar(files: Mapping[str, bytes], *more: bytes, end: bytes = END) -> bytes:
    """A tar file of these files, and of other members that were packed by hand."""
    packed = (_named_file(name.encode(), content) for name, content in files.items())
    return b"".join((*packed, *more, end))


def _named_file(name: bytes, content: bytes) -> bytes:
    return (gnu_long(name) if len(name) > 100 else b"") + file(name, content)


def write_tree(directory: Path, files: Mapping[str, bytes]) -> Path:
    """The files below a directory."""
    for name, content in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return directory


def run_tool(*command: object, stdin: bytes | None = None) -> bytes:
    """What another tool writes; it fails loudly where the tool is missing or unhappy."""
    words = [str(word) for word in command]
    if shutil.which(words[0]) is None:
        raise AssertionError(f"'{words[0]}' is missing: apt-get install {_PACKAGES.get(words[0], words[0])}")
    done = subprocess.run(words, input=stdin, capture_output=True, timeout=50, check=False)
    assert done.returncode == 0, f"{' '.join(words)}: {done.stderr.decode(errors='replace')}"
    return done.stdout


@contextmanager
def podman_store() -> Iterator[Callable[..., bytes]]:
    """podman with a store of its own; its paths must be short."""
    with tempfile.TemporaryDirectory(prefix="p-") as directory:
        where = ["--root", f"{directory}/root", "--runroot", f"{directory}/run", "--storage-driver", "vfs"]
        yield lambda *command: run_tool("podman", *where, *command)
