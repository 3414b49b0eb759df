"""What the child says reaches the engine as the errors that everybody knows."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest

from aiodocker_lite import errors
from aiodocker_lite.runtime import report
from aiodocker_lite.runtime.report import Failed, step


@pytest.mark.parametrize(
    "text",
    [
        "plain",
        'quo"te',
        "back\\slash",
        "new\nline\0nul\x7f",
        "\u00fc\u20ac",
        "\U0001f40b",
        "\udcff\udc80",
        "",
    ],
)
def test_its_json_is_json(text: str) -> None:
    """Any text comes back as it was, written without the json module."""
    assert json.loads(report._json({"key": text, "number": 42})) == {"key": text, "number": 42}


def test_a_failure_arrives_as_an_error() -> None:
    """Slug and facts are those of a class, and texts have an end."""
    read, write = os.pipe()
    report.Engine(write).fail(Failed("setup-failed", step="mounting /x", reason="y" * 10_000))
    frame = os.read(read, 100_000)
    os.close(read)
    os.close(write)
    assert int.from_bytes(frame[:4], "big") == len(frame) - 4
    error = errors.from_message(json.loads(frame[4:]))
    assert isinstance(error, errors.SetupFailed)
    assert str(error).startswith("cannot start the container: mounting /x: yyy")
    assert len(error.reason) == 4096


def test_every_slug_that_is_sent_is_known() -> None:
    """With exactly the facts that its class has."""
    sources = "".join(path.read_text() for path in Path(report.__file__).parent.glob("*.py"))
    found = re.findall(
        r'Failed\(\s*"([a-z-]+)",((?:\s*\w+=)?.*?)\)\s*(?:from|$)', sources, re.MULTILINE | re.DOTALL
    )
    assert {slug for slug, _ in found} == {"setup-failed", "command-not-found", "command-not-executable"}
    for slug, arguments in found:
        facts = set(re.findall(r"\b(\w+)=", arguments))
        assert facts == set(errors.by_slug()[slug].names), (slug, arguments)


def test_a_step_says_what_was_being_done() -> None:
    """Errors of the system and bugs alike; what is already said is not said again."""
    with pytest.raises(Failed) as caught, step("opening the door"):
        os.open("/no/such/door", os.O_RDONLY)
    assert caught.value.facts == {
        "step": "opening the door",
        "reason": "No such file or directory (/no/such/door)",
    }
    with pytest.raises(Failed) as caught, step("outer"), step("inner"):
        raise ValueError("odd")
    assert caught.value.facts == {"step": "inner", "reason": "ValueError: odd"}
