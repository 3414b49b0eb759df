"""A second process swaps the parents of what is being unpacked (L21); `scripts.swaps` does it a million times."""

from __future__ import annotations

import time

import pytest

from tests.fakes.swaps import UNPACKERS, attack, naive


@pytest.mark.parametrize("name", UNPACKERS)
def test_swapped_parents_lead_nowhere_outside(name: str) -> None:
    """Each wall alone and the real worker: entries are led astray or refused, and none gets out."""
    began = time.monotonic()
    with UNPACKERS[name]() as unpack:
        met = attack(
            unpack,
            lambda met: time.monotonic() - began > 1.5 and met.elsewhere > 0 and met.refused.total() > 0,
        )
    assert met.escapes == []
    assert met.swaps > 0


def test_the_attack_is_one() -> None:
    """Whoever looks where a path leads, and then uses it, is led out by the same swaps."""
    met = attack(naive, lambda met: met.layers >= 5)  # one may get through unharmed
    assert met.escapes
