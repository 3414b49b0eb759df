"""YAML: plain values, and nothing that unfolds to more than anybody writes."""

from __future__ import annotations

import time

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from aiodocker_lite.errors import InvalidSource
from aiodocker_lite.sources.yamls import Tagged, documents

TEXT = st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc")), max_size=20)
VALUES = st.recursive(
    TEXT | st.none(),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(TEXT.filter(lambda t: t != "<<"), inner, max_size=4)
    ),
    max_leaves=20,
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("---\n---\n# only a comment\n", []),
        ("a: 1\n---\nb: 2\n...\n", [{"a": "1"}, {"b": "2"}]),
        ("a: 1.20\nb: 2024-13-45\nc: yes\nd: 0o9\ne: 1:60", [{"a": "1.20", "b": "2024-13-45", "c": "yes", "d": "0o9", "e": "1:60"}]),
        ("a: ~\nb:\nc: null\nd: 'null'\ne: ''", [{"a": None, "b": None, "c": None, "d": "null", "e": ""}]),
        ("a: &x [1, {b: 2}]\nc: *x", [{"a": ["1", {"b": "2"}], "c": ["1", {"b": "2"}]}]),
        ("x: &x {a: 1, b: 2}\ny: {b: 3, <<: *x}", [{"x": {"a": "1", "b": "2"}, "y": {"a": "1", "b": "3"}}]),
        ("- &x {a: 1}\n- &y {a: 2, b: 2}\n- {<<: [*x, *y]}", [[{"a": "1"}, {"a": "2", "b": "2"}, {"a": "1", "b": "2"}]]),
        ("a: !!int x\nb: !!python/object:os.system y\nc: !Ref z", [{"a": "x", "b": "y", "c": "z"}]),
        ("a: !reset []\nb: !override {c: 1}", [{"a": Tagged("!reset", []), "b": Tagged("!override", {"c": "1"})}]),
        ("a: &x 1\n---\na: &x 2\nb: *x", [{"a": "1"}, {"a": "2", "b": "2"}]),
        ("%YAML 1.1\n---\na: |\n  one\n  two\n", [{"a": "one\ntwo\n"}]),
    ],
)  # fmt: skip
def test_every_scalar_is_text_or_nothing(text: str, expected: list[object]) -> None:
    """No dates, no octal numbers, no objects: a tag is as `1.20` as it stands."""
    assert list(documents(text, "a.yaml")) == expected


LAUGHS = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{chr(98 + n)}: &{chr(98 + n)} [{','.join([f'*{chr(97 + n)}'] * 9)}]\n" for n in range(12)
)
DEEP = "a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}]\n" for n in range(1, 1000))
MERGES = (
    "a: &a {"
    + ",".join(f"k{n}: 1" for n in range(2000))
    + "}\n"
    + "".join(f"b{n}: {{<<: *a}}\n" for n in range(2000))
)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [\n  b\nc: d", "line 3: is no YAML"),
        ("a: 'b", "is no YAML"),
        ("\x01", "is no YAML"),
        ("a: *b", "line 1: there is no anchor &b"),
        ("a: &a [*a]", "is inside of &a"),
        ("a: &a {<<: *a}", "is inside of &a"),
        ("[a]: b", "a key is no text"),
        ("? {a: b}\n: c", "a key is no text"),
        ("a: {<<: b}", "<< takes a mapping"),
        (f"? {'k' * 2000}\n: v", "a key is longer than 1024"),
        ("image: {{ .Values.image }}\nb: {{", "rendered first"),
        ("[" * 100_000, "nest"),
        ("- " * 100_000, "nest"),
        ("{a: " * 900 + "1" + "}" * 900, "nested deeper than 200"),
        (DEEP, "nested deeper than 200"),
        (LAUGHS, "more than 1000000 values"),
        (MERGES, "more than 1000000 values"),
    ],
)  # fmt: skip
def test_what_is_wrong_or_hostile_is_one_sentence_soon(text: str, message: str) -> None:
    """Refused while it is read: no memory and no time for what it would unfold to."""
    began = time.monotonic()
    with pytest.raises(InvalidSource) as caught:
        list(documents(text, "a.yaml"))
    assert message in str(caught.value)
    assert str(caught.value).startswith("a.yaml: ")
    assert time.monotonic() - began < 20


def test_a_key_that_is_there_twice_is_refused_where_that_is_asked() -> None:
    """As Compose does; others take the last."""
    assert list(documents("a: 1\na: 2", "a")) == [{"a": "2"}]
    with pytest.raises(InvalidSource, match="a: line 2: the key 'a' is there twice"):
        list(documents("a: 1\na: 2", "a", unique_keys=True))


@given(VALUES)
def test_what_pyyaml_writes_is_read_as_it_was(value: object) -> None:
    """Texts are quoted by a writer where they would be something else; none of them changes."""
    assert list(documents(yaml.safe_dump(value, allow_unicode=True), "a")) == (
        [] if value is None else [value]
    )


@given(st.text())
def test_no_text_is_a_traceback(text: str) -> None:
    """Documents, or InvalidSource."""
    try:
        list(documents(text.encode("utf-8", "replace").decode(), "a"))
    except InvalidSource as error:
        assert "\n" not in str(error)
