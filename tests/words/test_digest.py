"""Digests: one form and no other."""

from __future__ import annotations

import pytest

from aiodocker_lite.digest import Digest
from aiodocker_lite.errors import InvalidManifest


def test_a_digest_reads_and_writes_the_same() -> None:
    """Parsed and printed it is the same text."""
    text = str(Digest.of(b"bytes"))
    assert str(Digest.parse(text)) == text
    assert Digest.parse(text).short == text[7:19]
    assert Digest.parse("sha512:" + "a" * 128).algorithm == "sha512"


@pytest.mark.parametrize(
    "text",
    ["", "sha256:", "sha256:" + "a" * 63, "sha256:" + "A" * 64, "sha256:../../" + "x" * 57, "md5:" + "a" * 32,
     "sha256:" + "a" * 64 + "\n", None, 7],
)  # fmt: skip
def test_nothing_else_is_a_digest(text: object) -> None:
    """What could become part of a path is refused (A12, CVE-2024-3727)."""
    with pytest.raises(InvalidManifest, match="is not a digest"):
        Digest.parse(text)
