"""Where each thing lives: arithmetic, and the making of the empty store."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from aiodocker_lite.digest import Digest
from aiodocker_lite.store.durable import store_errors, write_durably

_LAYOUT = {"imageLayoutVersion": "1.0.0"}
_EMPTY_INDEX = {
    "schemaVersion": 2,
    "mediaType": "application/vnd.oci.image.index.v1+json",
    "manifests": [],
}


@dataclass(frozen=True, slots=True)
class Paths:
    """The places of one store."""

    root: Path

    @property
    def index(self) -> Path:
        return self.root / "index.json"

    @property
    def layout(self) -> Path:
        return self.root / "oci-layout"

    @property
    def blobs(self) -> Path:
        return self.root / "blobs"

    @property
    def layers(self) -> Path:
        return self.root / "layers"

    @property
    def joints(self) -> Path:
        return self.root / "joints"

    @property
    def ingests(self) -> Path:
        return self.root / "ingest"

    @property
    def containers(self) -> Path:
        return self.root / "containers"

    def blob(self, digest: Digest) -> Path:
        """A whole, verified blob."""
        return self.blobs / digest.algorithm / digest.hex

    def layer(self, diff_id: Digest) -> Path:
        """The directory of an unpacked layer: `fs/` and `layer.json`."""
        return self.layers / diff_id.algorithm / diff_id.hex

    def joint(self, chain: Digest) -> Path:
        """What joins a layer to the layers below it: `fs/` and `joint.json`."""
        return self.joints / chain.algorithm / chain.hex

    def ingest(self, digest: Digest) -> Path:
        """What has come of a blob; its length is its watermark."""
        return self.ingests / f"{digest.algorithm}-{digest.hex}"

    def staging(self, diff_id: Digest) -> Path:
        """The directory in which a layer is being unpacked."""
        return self.ingests / f"{diff_id.algorithm}-{diff_id.hex}.layer"

    def staging_joint(self, chain: Digest) -> Path:
        """The directory in which a joint is being made."""
        return self.ingests / f"{chain.algorithm}-{chain.hex}.joint.layer"

    def lock(self, name: str) -> Path:
        return self.root / "locks" / name.replace(":", "-")

    def create(self) -> None:
        """Make the directories and files of an empty store where they are missing.

        Raises DiskFull, StoreUnwritable.
        """
        with store_errors(self.root):
            self.root.mkdir(parents=True, exist_ok=True, mode=0o700)
            for directory in (
                self.blobs,
                self.layers,
                self.blobs / "sha256",
                self.blobs / "sha512",
                self.layers / "sha256",
                self.layers / "sha512",
                self.joints,
                self.joints / "sha256",
                self.joints / "sha512",
                self.ingests,
                self.containers,
                self.root / "locks",
            ):
                directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        for path, document in ((self.index, _EMPTY_INDEX), (self.layout, _LAYOUT)):
            if not path.exists():
                # Another process may make the same store at this moment, and already have an image in it.
                content = json.dumps(document).encode()
                write_durably(path, content, beside=self.ingests, replace=False)
