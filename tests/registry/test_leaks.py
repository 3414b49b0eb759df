"""Four servers write down all they are ever sent: none has learned what was not for it."""

from __future__ import annotations

from pathlib import Path

import pytest

from aiodocker_lite.testing.messages import basic
from tests.cases.leak_cases import LEAKS
from tests.cases.leaks import PASSWORD, USER, Leak, play, secrets_in


@pytest.mark.parametrize("leak", LEAKS, ids=lambda leak: leak.name)
async def test_secrets_go_where_they_belong(leak: Leak, tmp_path: Path) -> None:
    """R01 to R06: each origin that may be asked is asked, and learns what it may and no more."""
    assert (await play(leak, tmp_path)).seen == leak.seen


def test_there_are_enough_ways_to_lose_a_secret() -> None:
    """All with names of their own, and in most of them somebody may learn something."""
    assert len({leak.name for leak in LEAKS}) == len(LEAKS) >= 50
    assert sum(any(leak.seen.values()) for leak in LEAKS) >= 30


@pytest.mark.parametrize(
    "text", [f"x{PASSWORD}y", basic(USER, PASSWORD), "p=s3cret%3Ap%C3%A4ssword", "czNjcmV0OnDDpHNzd29yZA=="]
)
def test_a_secret_in_a_costume_is_recognized(text: str) -> None:
    """Or the table would prove nothing."""
    assert secrets_in(text, set()) == {"password"}
