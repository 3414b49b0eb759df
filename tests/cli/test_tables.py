"""Tables as docker prints them, times as people say them."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from aiodocker_lite.cli.tables import age, ago, table

NOW = datetime(2030, 3, 1, 12, tzinfo=UTC)


def test_columns_are_as_wide_as_they_need_to_be() -> None:
    """At least three spaces apart, and none at the end of a line."""
    lines = table(("A", "SECOND", "C"), [("longer", "x", "last"), ("", "", "")]).split("\n")
    assert lines == ["A        SECOND   C", "longer   x        last", ""]


def test_a_table_without_rows_is_its_head() -> None:
    """So that a person sees what there is none of."""
    assert table(("IMAGE NAME", "SIZE"), []) == "IMAGE NAME   SIZE"


def test_nothing_is_cut() -> None:
    """A name is for copying, however long it is."""
    long = "registry.example:5000/" + "x" * 300
    assert table(("NAME", "SIZE"), [(long, "1B")]).split("\n")[1] == f"{long}   1B"


@pytest.mark.parametrize(
    ("moment", "said"),
    [
        ("2030-03-01T12:00:00Z", "Less than a second"),
        ("2030-03-01T12:00:30Z", "Less than a second"),
        ("2030-03-01T11:59:59Z", "1 second"),
        ("2030-03-01T11:59:01Z", "59 seconds"),
        ("2030-03-01T11:59:00Z", "1 minute"),
        ("2030-03-01T11:00:01Z", "59 minutes"),
        ("2030-03-01T11:00:00Z", "1 hour"),
        ("2030-02-27T12:00:01Z", "47 hours"),
        ("2030-02-27T12:00:00Z", "2 days"),
        ("2030-02-15T12:00:01Z", "13 days"),
        ("2030-02-15T12:00:00Z", "2 weeks"),
        ("2029-12-31T12:00:01Z", "8 weeks"),
        ("2029-12-31T12:00:00Z", "2 months"),
        ("2028-03-01T12:00:01Z", "24 months"),
        ("2028-03-01T12:00:00Z", "2 years"),
        ("1970-01-01T00:00:00Z", "60 years"),
        ("2030-03-01T13:58:59.123456789+02:00", "1 minute"),
        ("", "N/A"),
        ("yesterday", "N/A"),
        ("0001-01-01T00:00:00Z", "N/A"),
        ("0001-01-01T00:00:00+05:00", "N/A"),
        ("9999-12-31T23:59:59-05:00", "N/A"),
    ],
)
def test_a_time_is_said_with_one_unit(moment: str, said: str) -> None:
    """As docker does, which is as exact as anybody needs it."""
    assert age(moment, NOW) == said


def test_only_a_time_is_ago() -> None:
    """What is none is not."""
    assert ago("1970-01-01T00:00:00Z").endswith(" years ago")
    assert ago("") == "N/A"
