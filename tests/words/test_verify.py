"""Bytes against their promise."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiodocker_lite.digest import Digest
from aiodocker_lite.errors import DigestMismatch, SizeMismatch
from aiodocker_lite.verify import Verifier, verify


@given(st.lists(st.binary(max_size=100)))
def test_the_right_bytes_pass_in_silence(chunks: list[bytes]) -> None:
    """However they are cut."""
    content = b"".join(chunks)
    verifier = Verifier("it", Digest.of(content), len(content))
    for chunk in chunks:
        verifier.update(chunk)
    verifier.finish()
    assert verifier.received == len(content)


def test_too_many_bytes_are_refused_at_once() -> None:
    """A stream without end is not read to its end (R14)."""
    verifier = Verifier("it", Digest.of(b"abc"), 3)
    with pytest.raises(SizeMismatch, match="expected 3 bytes, got 4"):
        verifier.update(b"abcd")


def test_other_bytes_and_fewer_bytes_are_told_apart() -> None:
    """Each has its own error."""
    with pytest.raises(DigestMismatch, match="it has the wrong content"):
        verify("it", b"abd", Digest.of(b"abc"), 3)
    with pytest.raises(SizeMismatch, match="expected 3 bytes, got 2"):
        verify("it", b"ab", Digest.of(b"abc"), 3)
