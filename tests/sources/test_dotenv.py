"""Environment files, as Compose reads them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiodocker_lite.errors import InvalidSource
from aiodocker_lite.sources.dotenv import variables

OUTSIDE = {"OUT": "o", "A": "outside"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", {}), ("# c\n\n  # d\n", {}),
        ("V=1", {"V": "1"}), ("V=1\r\nW=2\r\n", {"V": "1", "W": "2"}), ("export V=1\n  W = 2 \n", {"V": "1", "W": "2"}),
        ("V=", {"V": ""}), ("V=\nW=1", {"V": "", "W": "1"}), ("V: 1", {"V": "1"}),
        ("V=a b  # c", {"V": "a b"}), ("V=a#b", {"V": "a#b"}), ("V= # c", {"V": ""}),
        ("V='a b' # c", {"V": "a b"}), ("V='$OUT \\n'", {"V": "$OUT \\n"}), ("V='it\\'s'", {"V": "it's"}),
        ('V="a\\nb"', {"V": "a\nb"}), ('V="$OUT"', {"V": "o"}), ('V="a\\$OUT"', {"V": "a$OUT"}), ('V="a\nb"\nW=1', {"V": "a\nb", "W": "1"}),
        ("V=$OUT-${NO:-d}", {"V": "o-d"}), ("V=1\nW=$V", {"V": "1", "W": "1"}), ("A=1\nW=$A", {"A": "1", "W": "outside"}),
        ("OUT\nNO\n", {"OUT": "o"}), ("V=1\nV=2", {"V": "2"}), ("a.b-c=1", {"a.b-c": "1"}),
    ],
)  # fmt: skip
def test_a_line_is_a_name_and_a_value(text: str, expected: dict[str, str]) -> None:
    """Quotes, comments, variables of the lines before; the environment outside counts first."""
    assert variables(text, ".env", OUTSIDE) == expected


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("V=1\n\n!x=1", 3),
        ("V='a", 1),
        ('V="a\n\nb', 1),
        ("V='a' b", 1),
        ("A B=1", 1),
        ("W=1\nV=${X:?no}", 2),
        ("=1", 1),
    ],
)
def test_what_is_wrong_is_said_with_its_line(text: str, line: int) -> None:
    """One sentence."""
    with pytest.raises(InvalidSource) as caught:
        variables(text, ".env", OUTSIDE)
    assert str(caught.value).startswith(f".env: line {line}: ")


@given(
    st.dictionaries(st.from_regex(r"[A-Z_]{1,5}", fullmatch=True), st.text().filter(lambda t: "\\" not in t))
)
def test_what_stands_in_single_quotes_is_read_as_it_is(values: dict[str, str]) -> None:
    """Nothing means anything there but the quote itself."""
    text = "\n".join(
        f"{name}='{value.replace(chr(39), chr(92) + chr(39))}'" for name, value in values.items()
    )
    assert variables(text, ".env", {}) == values


@given(st.text(st.sampled_from("A=:'\"\\#$ {}\n\r")))
def test_no_text_is_a_traceback(text: str) -> None:
    """Variables, or InvalidSource."""
    try:
        variables(text, ".env", OUTSIDE)
    except InvalidSource as error:
        assert str(error).startswith(".env: line ")


def test_a_large_file_takes_no_time() -> None:
    """Each byte is looked at a few times, however the lines are."""
    assert (
        variables("V=" + " " * 500_000 + "x\n" + "".join(f"V{n}=1\n" for n in range(30_000)), "e", {})[
            "V29999"
        ]
        == "1"
    )
