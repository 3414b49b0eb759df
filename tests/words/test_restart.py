"""Restart policies, and how long is waited."""

from __future__ import annotations

import pytest

from aiodocker_lite.errors import InvalidOption
from aiodocker_lite.options import RunOptions
from aiodocker_lite.restart import RestartPolicy, next_pause


@pytest.mark.parametrize(
    ("text", "after"),
    [
        (None, ""),
        ("", ""),
        ("no", ""),
        ("on-failure", "1 at 0, 1 at 2, 1 at 99"),
        ("on-failure:0", "1 at 0, 1 at 2, 1 at 99"),
        ("on-failure:2", "1 at 0"),
        ("always", "0 at 0, 1 at 0, 0 at 2, 1 at 2, 0 at 99, 1 at 99"),
        ("unless-stopped", "0 at 0, 1 at 0, 0 at 2, 1 at 2, 0 at 99, 1 at 99"),
    ],
)
def test_when_it_is_started_again(text: str | None, after: str) -> None:
    """After which exit code, and how many restarts."""
    policy = RestartPolicy.parse(text)
    found = [f"{code} at {count}" for count in (0, 2, 99) for code in (0, 1) if policy.wants(code, count)]
    assert ", ".join(found) == after
    assert policy.is_none is (after == "")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("nope", "'nope' is none of no, on-failure, always, unless-stopped"),
        ("always:3", "maximum retry count cannot be used with restart policy 'always'"),
        ("no:0", "maximum retry count cannot be used with restart policy 'no'"),
        *((f"on-failure:{n}", "maximum retry count must be an integer") for n in ("", "x", "-1", "\u0661", "9" * 5000)),
    ],
)  # fmt: skip
def test_what_is_no_policy_is_refused(text: str, sentence: str) -> None:
    """In docker's words."""
    with pytest.raises(InvalidOption, match=sentence):
        RestartPolicy.parse(text)


def test_what_shall_be_removed_is_not_started_again() -> None:
    """As with docker."""
    with pytest.raises(InvalidOption, match="Conflicting options: --restart and --rm"):
        RunOptions(restart="always", remove=True)
    assert RunOptions(restart="no", remove=True).remove


def test_each_pause_is_twice_as_long_up_to_a_minute() -> None:
    """And the first is short again for one that had run for a while."""
    pauses = [0.0]
    for _ in range(12):
        pauses.append(next_pause(pauses[-1], ran=1))
    assert pauses[1:4] == [0.1, 0.2, 0.4]
    assert pauses[-3:] == [51.2, 60, 60]
    assert next_pause(60, ran=10) == 0.1
