"""Blobs by digest: a blob is whole or absent."""

from __future__ import annotations

from pathlib import Path

from aiodocker_lite.digest import Digest
from aiodocker_lite.errors import StoreCorrupt
from aiodocker_lite.store.durable import write_durably
from aiodocker_lite.store.paths import Paths


class Blobs:
    """The verified blobs of a store."""

    def __init__(self, paths: Paths) -> None:
        self._paths = paths

    def has(self, digest: Digest, size: int) -> bool:
        """The blob is here, as long as it should be."""
        try:
            return self._paths.blob(digest).stat().st_size == size
        except OSError:
            return False

    def path(self, digest: Digest) -> Path | None:
        """The file of a blob, or None."""
        path = self._paths.blob(digest)
        return path if path.is_file() else None

    def read(self, digest: Digest) -> bytes:
        """A small blob's bytes. Raises StoreCorrupt where it cannot be read."""
        path = self._paths.blob(digest)
        try:
            return path.read_bytes()
        except OSError as error:
            raise StoreCorrupt(str(path), error.strerror or str(error)) from error

    def put(self, digest: Digest, content: bytes) -> None:
        """Keep a small blob that was verified. Raises DiskFull, StoreUnwritable."""
        if not self.has(digest, len(content)):
            write_durably(self._paths.blob(digest), content, beside=self._paths.ingests)
