"""Whiteout names and what they mean."""

from __future__ import annotations

import pytest

from aiodocker_lite.layer.whiteout import Bookkeeping, Opaque, Remove, whiteout_of


@pytest.mark.parametrize(
    ("name", "meaning"),
    [
        (b"file", None),
        (b".whale", None),
        (b".wh", None),
        (b".wh.file", Remove(b"file")),
        (b".wh..hidden", Remove(b".hidden")),
        (b".wh..wh..opq", Opaque()),
        (b".wh..wh.plnk", Bookkeeping()),
        (b".wh..wh.aufs", Bookkeeping()),
    ],
)
def test_names_say_what_is_hidden(name: bytes, meaning: object) -> None:
    """A prefix removes, one name is opaque, aufs' own names mean nothing."""
    assert whiteout_of(name) == meaning


@pytest.mark.parametrize("name", [b".wh.", b".wh..", b".wh..."])
def test_a_whiteout_of_nothing_is_refused(name: bytes) -> None:
    """A layer cannot remove its own directory, or the one above (W01)."""
    with pytest.raises(ValueError, match="not a valid whiteout"):
        whiteout_of(name)
