"""Blobs are whole or absent."""

from __future__ import annotations

from pathlib import Path

import pytest

from aiodocker_lite.digest import Digest
from aiodocker_lite.errors import DiskFull, StoreCorrupt
from aiodocker_lite.store import Store

CONTENT = b"some document"
DIGEST = Digest.of(CONTENT)


def test_a_blob_is_kept_under_its_digest(store: Store) -> None:
    """Where other tools look for it, too."""
    assert not store.blobs.has(DIGEST, len(CONTENT))
    assert store.blobs.path(DIGEST) is None
    store.blobs.put(DIGEST, CONTENT)
    assert store.blobs.has(DIGEST, len(CONTENT))
    assert store.blobs.path(DIGEST) == store.paths.root / "blobs" / "sha256" / DIGEST.hex
    assert store.blobs.read(DIGEST) == CONTENT


def test_a_blob_that_is_here_is_not_written_again(store: Store) -> None:
    """It stays the same file, which others may be reading."""
    store.blobs.put(DIGEST, CONTENT)
    before = store.paths.blob(DIGEST).stat()
    store.blobs.put(DIGEST, CONTENT)
    after = store.paths.blob(DIGEST).stat()
    assert (after.st_ino, after.st_mtime_ns, after.st_ctime_ns) == (
        before.st_ino,
        before.st_mtime_ns,
        before.st_ctime_ns,
    )  # it has been read, though


@pytest.mark.parametrize("damaged", [b"", CONTENT[:-1], CONTENT[:-1] + b"x", CONTENT + b"x"])
def test_a_damaged_blob_is_replaced(store: Store, damaged: bytes) -> None:
    """Its length is not enough to be trusted (S10)."""
    store.paths.blob(DIGEST).write_bytes(damaged)
    store.blobs.put(DIGEST, CONTENT)
    assert store.blobs.read(DIGEST) == CONTENT


def test_a_blob_of_another_length_is_not_here(store: Store) -> None:
    """A cut file is fetched again."""
    store.paths.blob(DIGEST).write_bytes(CONTENT[:-1])
    assert not store.blobs.has(DIGEST, len(CONTENT))


def test_a_missing_blob_is_damage_where_it_is_read(store: Store) -> None:
    """Somebody relied on it."""
    with pytest.raises(StoreCorrupt, match=f"{DIGEST.hex}: No such file"):
        store.blobs.read(DIGEST)


def test_a_full_disk_leaves_no_half_blob(small_disk: Path) -> None:
    """The error says so, and nothing is in sight (S05)."""
    store = Store(small_disk / "store").create()
    content = bytes(2 << 20)
    digest = Digest.of(content)
    with pytest.raises(DiskFull):
        store.blobs.put(digest, content)
    assert store.blobs.path(digest) is None
    assert list(store.paths.ingests.iterdir()) == []
