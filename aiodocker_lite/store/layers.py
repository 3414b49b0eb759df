"""Unpacked layers by diff ID: staged out of sight, then whole, each with a record of its verification."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from aiodocker_lite.digest import Digest
from aiodocker_lite.errors import InvalidManifest
from aiodocker_lite.store import staging
from aiodocker_lite.store.aside import is_aside, set_aside
from aiodocker_lite.store.durable import cannot_read, write_durably
from aiodocker_lite.store.paths import LAYER_RECORD, Paths
from aiodocker_lite.store.staging import FILES

_NOTES = f"{FILES}.notes"
"""What unpacking noted: see `layer/notes.py`."""


@dataclass(frozen=True, slots=True)
class LayerRecord:
    """What is known of an unpacked layer."""

    diff_id: Digest
    blob: Digest
    """The blob that it was unpacked from, and that was verified with it."""
    size: int
    """Bytes of its regular files."""
    entries: int
    skipped: int
    """Entries and attributes that could not be applied."""
    owners: str
    """Whose its files are: what was unpacked by one user may mean nothing to another."""
    verified_at: str
    """When, in ISO 8601."""
    describes_root: bool
    """Whether it says what the root directory is like; else that of a lower layer counts."""
    loose_ends: int
    """What depends on the layers below it, and has to be joined to them."""
    unapplied: int
    """Owners, capabilities and devices that are noted, for whoever unpacked it could not apply them."""
    listing: Digest | None = None
    """Of the list that was made of its files, for its blob is not kept."""

    @classmethod
    def now(
        cls,
        diff_id: Digest,
        blob: Digest,
        *,
        size: int,
        entries: int,
        owners: str,
        skipped: int = 0,
        describes_root: bool = False,
        loose_ends: int = 0,
        unapplied: int = 0,
        listing: Digest | None = None,
    ) -> LayerRecord:
        """The record of a layer that was verified just now."""
        return cls(
            diff_id,
            blob,
            size,
            entries,
            skipped,
            owners,
            _now(),
            describes_root,
            loose_ends,
            unapplied,
            listing,
        )

    def renewed(self) -> LayerRecord:
        """The same, verified again just now."""
        return replace(self, verified_at=_now())

    def to_json(self) -> bytes:
        """The content of `layer.json`."""
        return json.dumps(
            {
                "diffID": str(self.diff_id),
                "blob": str(self.blob),
                "size": self.size,
                "entries": self.entries,
                "skipped": self.skipped,
                "owners": self.owners,
                "verifiedAt": self.verified_at,
                "describesRoot": self.describes_root,
                "looseEnds": self.loose_ends,
                "unapplied": self.unapplied,
                "listing": None if self.listing is None else str(self.listing),
            }
        ).encode()


class Layers:
    """The unpacked layers of a store."""

    def __init__(self, paths: Paths) -> None:
        self._paths = paths

    def find(self, diff_id: Digest, owners: str | None = None) -> LayerRecord | None:
        """The record of an unpacked layer, or None; of one that is damaged nothing is known.

        None too for one with other `owners`, if these are asked for. Raises StoreUnreadable, StoreCorrupt.
        """
        record = self._read(diff_id)
        return record if record is None or owners in (None, record.owners) else None

    def _read(self, diff_id: Digest) -> LayerRecord | None:
        path = self._paths.layer_record(diff_id)
        try:
            if not self.files(diff_id).is_dir():
                return None  # somebody has removed it
            found = json.loads(path.read_bytes())
            return LayerRecord(
                Digest.parse(found["diffID"]),
                Digest.parse(found["blob"]),
                found["size"],
                found["entries"],
                found["skipped"],
                found["owners"],
                found["verifiedAt"],
                found["describesRoot"],
                found["looseEnds"],
                found["unapplied"],
                Digest.parse(found["listing"]) if found.get("listing") else None,
            )
        except (FileNotFoundError, ValueError, KeyError, TypeError, InvalidManifest):
            return None
        except OSError as error:
            raise cannot_read(path, error) from error

    def files(self, diff_id: Digest) -> Path:
        """The directory that overlayfs takes as a lower one."""
        return self._paths.layer(diff_id) / FILES

    def stage(self, diff_id: Digest) -> Path:
        """An empty directory to unpack this layer into; the caller holds the layer's lock.

        Raises DiskFull, StoreUnwritable.
        """
        return staging.stage(self._paths.staging(diff_id), self._paths.ingests)

    def unstage(self, diff_id: Digest) -> None:
        """Throw away what was staged. Raises StoreUnwritable."""
        staging.unstage(self._paths.staging(diff_id))

    def write_record(self, record: LayerRecord) -> None:
        """Add its record to a staged layer."""
        staged = self._paths.staging(record.diff_id)
        if not record.loose_ends and not record.unapplied:
            (staged / _NOTES).unlink(missing_ok=True)
        (staged / LAYER_RECORD).write_bytes(record.to_json())

    def renew(self, record: LayerRecord) -> None:
        """Keep that a layer which is here was verified again. Raises DiskFull, StoreUnwritable."""
        path = self._paths.layer_record(record.diff_id)
        write_durably(path, record.to_json(), beside=self._paths.ingests)

    def is_set_aside(self, diff_id: Digest) -> bool:
        """It was found damaged, and is not here anew."""
        return is_aside(self._paths.layer(diff_id))

    def set_aside(self, diff_id: Digest) -> None:
        """Have a damaged layer be none any more. Raises StoreUnwritable."""
        set_aside(self._paths.layer(diff_id))

    def remove(self, diff_id: Digest) -> None:
        """Remove a layer. Raises StoreUnwritable."""
        staging.remove(self._paths.layer(diff_id), LAYER_RECORD)

    def make_room(self, diff_id: Digest) -> None:
        """Remove what is in the place of a layer, where there may be nothing. Raises StoreUnwritable."""
        staging.make_room(self._paths.layer(diff_id), LAYER_RECORD, self._paths.ingests)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
