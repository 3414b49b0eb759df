"""Options of a run, as docker spells them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from aiodocker_lite.errors import InvalidOption
from aiodocker_lite.options import RunOptions, signal_number, words


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"user": 1000}, "invalid value for user: 1000 is not a string"),
        ({"workdir": Path("/x")}, "invalid value for workdir: PosixPath('/x') is not a string"),
        ({"name": b"x"}, "invalid value for name: b'x' is not a string"),
        (
            {"entrypoint": "sh"},
            "invalid value for entrypoint: 'sh' is not a list of words, such as ['echo', 'hi']",
        ),
        ({"env": {"A": 1}}, "invalid value for env: 1 is not a string"),
        ({"env": ["A=1"]}, "invalid value for env: ['A=1'] is not a mapping"),
        ({"mounts": ["/a:/b"]}, "invalid value for mounts: ['/a:/b'] is not a tuple of mounts"),
        ({"mounts": None}, "invalid value for mounts: None is not a tuple of mounts"),
    ],
)
def test_options_of_another_type_are_refused_at_once(options: Any, sentence: str) -> None:
    """And not where they are used, after an image was pulled."""
    with pytest.raises(InvalidOption) as caught:
        RunOptions(**options)
    assert str(caught.value) == sentence


@pytest.mark.parametrize("given", ["echo hi", b"echo", None, 5, ["echo", 1], [None]])
def test_a_command_is_a_list_of_words(given: Any) -> None:
    """A string would be a list of letters."""
    with pytest.raises(
        InvalidOption, match=r"^invalid value for command: .* is not a (list of words|string)"
    ):
        words("command", given)
    assert words("command", ["echo", "hi"]) == ("echo", "hi")


@pytest.mark.parametrize(
    ("name", "number"), [("SIGTERM", 15), ("term", 15), ("9", 9), ("SIGRTMIN+3", 37), ("RTMIN", 34)]
)
def test_signals_have_names_and_numbers(name: str, number: int) -> None:
    """As systemd's images write them, too."""
    assert signal_number(name) == number


@pytest.mark.parametrize(
    "name",
    [
        "",
        "0",
        "65",
        "SIGNOPE",
        "TERM+1",
        "RTMIN+x",
        "RTMIN+99",
        "-1",
        "9" * 5000,
        "RTMIN+\u00b2",
        "\u0669",
        "15\n",
    ],
)
def test_what_is_no_signal_is_refused(name: str) -> None:
    """Before anything is started."""
    with pytest.raises(InvalidOption, match="there is no signal"):
        signal_number(name)
