"""Words of a Dockerfile: the reference's table of modifiers, quotes and escapes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiodocker_lite.errors import InvalidSource
from aiodocker_lite.sources.words import expanded, unquoted

SET = {"A": "a", "EMPTY": "", "V": "v1.22.3", "P": "foobarbaz"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("alpine:3", "alpine:3"), ("$A", "a"), ("${A}x", "ax"), ("$Ax", ""), ("x$A.$A", "xa.a"), ("$", "$"), ("$1", "$1"),
        ("${NO:-d}", "d"), ("${EMPTY:-d}", "d"), ("${EMPTY-d}", ""), ("${NO-d}", "d"), ("${A:-d}", "a"),
        ("${A:+x}", "x"), ("${EMPTY:+x}", ""), ("${EMPTY+x}", "x"), ("${NO+x}", ""), ("${A:?e}", "a"),
        ("${NO:-${A}}", "a"), ("${NO:-$A-${V}}", "a-v1.22.3"),
        ("${V#v}", "1.22.3"), ("${V%.*}", "v1.22"), ("${V%%.*}", "v1"), ("${P#f*b}", "arbaz"), ("${P##f*b}", "az"),
        ("${V#x}", "v1.22.3"), ("${V%x}", "v1.22.3"), ("${V#[v]}", "v1.22.3"), ("${V#?}", "1.22.3"),
        ("'$A'", "$A"), ('"$A"', "a"), ("\\$A", "$A"), ('"\\$A\\x"', "$A\\x"), ('"it\'s"', "it's"), ("a\\ b", "a b"),
    ],
)  # fmt: skip
def test_a_word_is_what_the_reference_says(text: str, expected: str) -> None:
    """Variables, defaults, patterns; single quotes and escapes take their meaning away."""
    assert expanded(text, SET, "\\", "f") == expected


def test_the_escape_may_be_another() -> None:
    """As the directive says."""
    assert expanded("`$A\\$A", SET, "`", "f") == "$A\\a"
    assert unquoted("\"type=bind,from=a`\"b\"", "`") == 'type=bind,from=a"b'  # fmt: skip


@pytest.mark.parametrize(
    "text", ["${A", "${}", "${A/a/b}", "'a", '"a', "${NO:?e}", "${NO:-" * 60 + "}" * 60, "${L#x}"]
)
def test_what_is_wrong_is_one_sentence(text: str) -> None:
    """With the place that was given."""
    with pytest.raises(InvalidSource, match=r"^f: "):
        expanded(text, SET | {"L": "x" * 300}, "\\", "f")


@given(st.text(st.sampled_from("$A{}:-+?#%*\\'\"x")))
def test_no_text_is_a_traceback(text: str) -> None:
    """A word, or InvalidSource."""
    try:
        expanded(text, SET, "\\", "f")
    except InvalidSource:
        assert set(text) & set("${'\"")
