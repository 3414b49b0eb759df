"""Blobs by digest: a blob is whole or absent."""

from __future__ import annotations

from pathlib import Path

from aiodocker_lite.digest import Digest
from aiodocker_lite.errors import StoreCorrupt
from aiodocker_lite.store.aside import is_aside, set_aside
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

    def is_damaged(self, digest: Digest) -> bool:
        """It is here with another size, or was found damaged."""
        path = self._paths.blob(digest)
        return path.exists() or is_aside(path)

    def set_aside(self, digest: Digest) -> None:
        """Have a damaged blob be none any more. Raises StoreUnwritable."""
        set_aside(self._paths.blob(digest))

    def read(self, digest: Digest) -> bytes:
        """A small blob's bytes. Raises StoreCorrupt where it cannot be read."""
        path = self._paths.blob(digest)
        try:
            return path.read_bytes()
        except OSError as error:
            raise StoreCorrupt(str(path), error.strerror or str(error)) from error

    def put(self, digest: Digest, content: bytes) -> None:
        """Keep a small blob that was verified; one that is there but damaged is replaced.

        Raises DiskFull, StoreUnwritable.
        """
        path = self._paths.blob(digest)
        if not _holds(path, content):
            write_durably(path, content, beside=self._paths.ingests)


def _holds(path: Path, content: bytes) -> bool:
    try:
        return path.stat().st_size == len(content) and path.read_bytes() == content
    except OSError:
        return False
