"""The tree of errors: complete, with stable slugs, and able to cross a process border."""

from __future__ import annotations

import json
import pickle
import re
from typing import get_type_hints

import pytest

from aiodocker_lite import errors
from aiodocker_lite.errors import EngineError

ALL = sorted(errors.by_slug().values(), key=lambda kind: kind.__name__)


def example(kind: type[EngineError]) -> EngineError:
    facts = {str: "text", int: 7, float | None: 1.5, tuple[str, ...]: ("a", "b")}
    hints = get_type_hints(kind)
    return kind(*(facts[hints[name]] for name in kind.names))


def test_a_fact_that_is_missing_or_too_much_is_an_error_at_once() -> None:
    """As with a dataclass: an error that lacks a fact would fail when it is shown."""
    for values, named in (((), {}), (("a",), {}), (("a", "b", "c"), {}), (("a", "b"), {"colour": "red"})):
        with pytest.raises(TypeError, match="InvalidOption has the facts option, reason"):
            errors.InvalidOption(*values, **named)


def test_the_docstring_shows_the_tree() -> None:
    """The map at the top of the file has every class, each below its parent."""
    shown = re.findall(r"^    ([│├└─ ]*)([A-Z]\w+)", errors.__doc__ or "", re.MULTILINE)
    parents: dict[int, str] = {}
    tree = {}
    for indent, name in shown:
        parents[len(indent)] = name
        above = [depth for depth in parents if depth < len(indent)]
        tree[name] = parents[max(above)] if above else "Exception"
    assert tree == {kind.__name__: kind.__bases__[0].__name__ for kind in ALL}


def test_what_strangers_wrote_at_length_is_cut_in_the_sentence() -> None:
    """And only there: the fact stays as it was."""
    error = errors.UnsupportedMediaType("manifest 0123", "x" * 4_000_000)
    assert str(error).endswith("xxx…', which is not supported")
    assert len(str(error)) < 1100
    assert len(error.media_type) == 4_000_000


def test_slugs_are_unique() -> None:
    """As many slugs as classes."""
    kinds = [
        kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, EngineError)
    ]
    assert sorted(kind.__name__ for kind in kinds) == [kind.__name__ for kind in ALL]


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.__name__)
def test_an_error_survives_json_and_pickle(kind: type[EngineError]) -> None:
    """Class, facts and sentence are the same on the other side."""
    error = example(kind)
    for other in (
        errors.from_message(json.loads(json.dumps(errors.to_message(error)))),
        pickle.loads(pickle.dumps(error)),
    ):
        assert type(other) is kind
        assert str(other) == str(error)
        assert other.facts() == error.facts()


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.__name__)
def test_an_error_is_one_sentence_with_a_documented_exit_code(kind: type[EngineError]) -> None:
    """No placeholders are left, and the code is one of Docker's."""
    assert "{" not in str(example(kind))
    assert kind.exit_code in (1, 125, 126, 127)
    assert kind.__doc__


def test_an_unknown_slug_is_still_an_error() -> None:
    """A newer worker's error does not crash an older parent."""
    assert type(errors.from_message({"slug": "from-the-future", "facts": {}})) is EngineError


@pytest.mark.parametrize(
    ("reference", "server"),
    [
        ("docker.io/library/alpine:latest", "docker.io"),
        ("user/private", "docker.io"),
        ("alpine", "docker.io"),
        ("quay.io/a/b:1", "quay.io"),
        ("localhost/a", "localhost"),
        ("host:5000/a@sha256:0", "host:5000"),
    ],
)
def test_who_was_denied_is_told_where_to_log_in(reference: str, server: str) -> None:
    """The server is the one that was asked, also for who hears of it from another process."""
    error = errors.AccessDenied(reference, "anonymous")
    assert error.hint == f"log in with: aiodocker-lite login {server}"
    assert errors.from_message(errors.to_message(error)).hint == error.hint


def test_strangers_text_cannot_move_the_cursor() -> None:
    """Escape sequences of a registry or a tar come out as text."""
    error = errors.UnsafeEntry("abc", "\x1b[2Jx\r", "why\u202e")
    assert str(error) == r"layer abc: refusing entry '\x1b[2Jx\r': why\u202e"
