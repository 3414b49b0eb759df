"""Numbers as Docker writes them."""

from __future__ import annotations

import pytest

from aiodocker_lite.settings import number_of
from aiodocker_lite.sizes import counted, human_size, human_time, size_above


@pytest.mark.parametrize(
    ("count", "four", "three"),
    [
        (0, "0B", "0B"),
        (999, "999B", "999B"),
        (1000, "1kB", "1kB"),
        (1024, "1.024kB", "1.02kB"),
        (999_500, "999.5kB", "1MB"),
        (999_960, "1MB", "1MB"),
        (3_600_000, "3.6MB", "3.6MB"),
        (12_345_678, "12.35MB", "12.3MB"),
        (123_456_789, "123.5MB", "123MB"),
        (2.5e12, "2.5TB", "2.5TB"),
        (7e15, "7PB", "7PB"),
    ],
)
def test_sizes_are_decimal_with_significant_digits(count: float, four: str, three: str) -> None:
    """Four digits for transfers, three for lists; what rounds up to 1000 takes the next unit."""
    assert human_size(count) == four
    assert human_size(count, 3) == three


@pytest.mark.parametrize("count", [1000, 10_001, 999_960, 1_800_001, 12_345_678, 1_999_999_999, 10**12 + 1])
def test_a_size_that_is_enough_is_read_as_enough(count: int) -> None:
    """As an option, and it is hardly more."""
    text = size_above(count)
    read = number_of(text)
    assert read is not None
    assert count <= read <= count * 1.001


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (0.44, "0.4s"),
        (2.0, "2s"),
        (9.94, "9.9s"),
        (9.96, "10s"),
        (59.4, "59s"),
        (59.7, "1m00s"),
        (73, "1m13s"),
        (3599.6, "1h00m"),
        (7500, "2h05m"),
        (360_000, "100h00m"),
    ],
)
def test_times_have_two_units_at_most(seconds: float, text: str) -> None:
    """Tenths while they matter, and never 60 seconds or 60 minutes."""
    assert human_time(seconds) == text


def test_one_is_one_and_all_else_are_many() -> None:
    """Also none."""
    assert [counted(number, "layer") for number in (0, 1, 2)] == ["0 layers", "1 layer", "2 layers"]
