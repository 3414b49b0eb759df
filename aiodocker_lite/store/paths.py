"""Where each thing lives: arithmetic, what is no store, and the making of an empty one."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path

from aiodocker_lite.digest import Digest
from aiodocker_lite.errors import NotAStore, StoreUnreadable, StoreUnwritable
from aiodocker_lite.store.durable import store_errors, write_durably

_ENTRIES = {
    "oci-layout",
    "index.json",
    "index.copy.json",
    "blobs",
    "layers",
    "joints",
    "ingest",
    "containers",
    "locks",
    "volumes",
}
_MARKS = {"oci-layout", "layers", "ingest"}
"""What every store has that was made to its end, and nothing else."""
_LAYOUT = {"imageLayoutVersion": "1.0.0"}
LAYER_RECORD, JOINT_RECORD = "layer.json", "joint.json"
"""What is known of the directory they are in; without one, it is nothing."""
_EMPTY_INDEX = {
    "schemaVersion": 2,
    "mediaType": "application/vnd.oci.image.index.v1+json",
    "manifests": [],
}


@dataclass(frozen=True, slots=True)
class Paths:
    """The places of one store."""

    root: Path
    mine: str = field(default_factory=lambda: os.urandom(6).hex(), compare=False)
    """In the names of what is staged here: the worker of a process that was killed knows others."""

    @property
    def index(self) -> Path:
        return self.root / "index.json"

    @property
    def index_copy(self) -> Path:
        """Its content once more, for the day on which it is damaged."""
        return self.root / "index.copy.json"

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

    @property
    def volumes(self) -> Path:
        return self.root / "volumes"

    def blob(self, digest: Digest) -> Path:
        """A whole, verified blob."""
        return self.blobs / digest.algorithm / digest.hex

    def layer(self, diff_id: Digest) -> Path:
        """The directory of an unpacked layer: `fs/` and `layer.json`."""
        return self.layers / diff_id.algorithm / diff_id.hex

    def layer_record(self, diff_id: Digest) -> Path:
        return self.layer(diff_id) / LAYER_RECORD

    def joint(self, chain: Digest) -> Path:
        """What joins a layer to the layers below it: `fs/` and `joint.json`."""
        return self.joints / chain.algorithm / chain.hex

    def joint_record(self, chain: Digest) -> Path:
        return self.joint(chain) / JOINT_RECORD

    def ingest(self, digest: Digest) -> Path:
        """What has come of a blob."""
        return self.ingests / f"{digest.algorithm}-{digest.hex}"

    def staging(self, diff_id: Digest) -> Path:
        """The directory in which a layer is being unpacked."""
        return self.ingests / f"{diff_id.algorithm}-{diff_id.hex}.{self.mine}.layer"

    def staging_joint(self, chain: Digest) -> Path:
        """The directory in which a joint is being made."""
        return self.ingests / f"joint-{chain.algorithm}-{chain.hex}.{self.mine}.layer"

    def lock(self, name: str) -> Path:
        return self.root / "locks" / name.replace(":", "-")

    def check(self) -> None:
        """See that here is a store, or part of one whose making was interrupted, or nothing at all.

        Raises NotAStore, StoreUnreadable.
        """
        try:
            # A file system of its own has this from the beginning.
            found = set(os.listdir(self.root)) - {"lost+found"}  # noqa: PTH208 (names)
        except FileNotFoundError:
            return
        except NotADirectoryError as error:
            file = next(path for path in (self.root, *self.root.parents) if path.exists())
            what = "it" if file == self.root else str(file)
            raise NotAStore(str(self.root), f"{what} is a file") from error
        except OSError as error:
            raise StoreUnreadable(str(self.root), error.strerror or str(error)) from error
        if not (found <= _ENTRIES or found >= _MARKS):
            raise NotAStore(str(self.root), "it is a directory with other things in it")

    def create(self) -> None:
        """Make the directories and files of an empty store where they are missing.

        Raises DiskFull, StoreUnwritable.
        """
        if os.access(self.root, os.F_OK) and not os.access(self.root, os.W_OK):
            raise StoreUnwritable(
                str(self.root), "it can only be read, and that is enough for images, inspect, ps, df and save"
            )
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
                # An index that is gone is no empty one where there is something that it listed.
                if not path.exists() and not (path == self.index and any(self.blobs.glob("*/*"))):
                    # Another process may make the same store at this moment, and already have an image in it.
                    content = json.dumps(document).encode()
                    write_durably(path, content, beside=self.ingests, replace=False)
