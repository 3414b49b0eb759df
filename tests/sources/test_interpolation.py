"""Variables of Compose: the specification's table."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiodocker_lite.errors import InvalidSource
from aiodocker_lite.sources.interpolation import interpolated

SET = {"A": "a", "B": "b", "EMPTY": "", "_u1": "u", "D": "$A"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ""), ("plain", "plain"), ("$A", "a"), ("${A}", "a"), ("x$A-y${B}z", "xa-ybz"), ("$A$B", "ab"),
        ("$_u1", "u"), ("$Ab", ""), ("${A}b", "ab"),
        ("$$A", "$A"), ("$$$A", "$a"), ("$$$$", "$$"), ("a$$", "a$"),
        ("$1", "$1"), ("$ A", "$ A"), ("$", "$"), ("a$", "a$"), ("$-", "$-"),
        ("${NO:-d}", "d"), ("${EMPTY:-d}", "d"), ("${A:-d}", "a"), ("${NO:-}", ""),
        ("${NO-d}", "d"), ("${EMPTY-d}", ""), ("${A-d}", "a"),
        ("${A:?e}", "a"), ("${A?e}", "a"), ("${EMPTY?e}", ""),
        ("${A:+x}", "x"), ("${EMPTY:+x}", ""), ("${NO:+x}", ""),
        ("${A+x}", "x"), ("${EMPTY+x}", "x"), ("${NO+x}", ""),
        ("${NO:-${B}}", "b"), ("${NO:-$B}", "b"), ("${NO:-${NO2:-${EMPTY:-deep}}}", "deep"), ("${NO:-$$A}", "$A"),
        ("${NO:-{\"a\":1}}", "{\"a\":1}"), ("${NO:-a:?b}", "a:?b"), ("${NO-a}${NO:-b}", "ab"), ("${A:?${NO:-e}}", "a"),
        ("${NO:-a-b:1.2_3}", "a-b:1.2_3"), ("${D}", "$A"), ("}{", "}{"), ("${A}}", "a}"),
        ("nginx:${NO:-1.27}-alpine", "nginx:1.27-alpine"),
    ],
)  # fmt: skip
def test_variables_are_what_the_specification_says(text: str, expected: str) -> None:
    """Both spellings, defaults, alternatives, nesting, and dollar signs that are none of these."""
    assert interpolated(text, SET, "f", lambda _: None) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("${NO:?give it}", "f: the variable NO is needed and not set: give it"),
        ("${NO?give ${A}}", "f: the variable NO is needed and not set: give a"),
        ("${EMPTY:?}", "f: the variable EMPTY is needed and not set"),
        ("${A", "f: '${A' has a variable that is not"),
        ("${}", "is not ${NAME}"), ("${1}", "is not ${NAME}"), ("${A B}", "is not ${NAME}"), ("${A/a/b}", "is not ${NAME}"),
        ("${NO:-" * 60 + "x" + "}" * 60, "nested deeper than 50"),
        ("${" * 100_000, "is not ${NAME}"),
    ],
)  # fmt: skip
def test_what_is_needed_or_wrong_is_an_error(text: str, message: str) -> None:
    """With the message that the file has for it."""
    with pytest.raises(InvalidSource) as caught:
        interpolated(text, SET, "f", lambda _: None)
    assert message in str(caught.value)


def test_who_asks_hears_of_what_is_not_set() -> None:
    """Only where nothing stands for it."""
    heard: list[str] = []
    interpolated("$NO ${NO2} ${NO3:-d} ${NO4:+d} $A $EMPTY", SET, "f", heard.append)
    assert heard == ["NO", "NO2"]


@given(st.text(st.sampled_from("$AN{}:-+?x")))
def test_no_text_is_a_traceback(text: str) -> None:
    """A text, or InvalidSource."""
    try:
        interpolated(text, SET, "f", lambda _: None)
    except InvalidSource:
        assert "$" in text


@given(st.text())
def test_a_text_with_its_dollars_doubled_is_itself(text: str) -> None:
    """That is how a file says a dollar sign."""
    assert interpolated(text.replace("$", "$$"), SET, "f", lambda _: None) == text
