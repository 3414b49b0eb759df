"""Options of a run, as docker spells them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from aiodocker_lite.errors import InvalidOption
from aiodocker_lite.options import Mount, RunOptions, words


@pytest.mark.parametrize(
    ("text", "mount"),
    [
        ("/a:/b", Mount("/b", "/a")),
        ("/a:/b:ro", Mount("/b", "/a", read_only=True)),
        ("/a:/b:rw,z", Mount("/b", "/a")),
        ("/a:/b:Z,ro", Mount("/b", "/a", read_only=True)),
    ],
)
def test_volumes_are_read(text: str, mount: Mount) -> None:
    """Source, target and mode; labels for SELinux are accepted and mean nothing here."""
    assert Mount.parse(text) == mount
    assert mount.kind == "bind"


def test_a_relative_source_is_below_the_current_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As docker has it since version 23."""
    monkeypatch.chdir(tmp_path)
    assert Mount.parse("./x:/y").source == str(tmp_path / "x")


@pytest.mark.parametrize(
    "text", ["", "/a", "/a:", ":/b", "/a:b", "/a:/", "/a:/.", "/a:/b:wo", "/a:/b:ro:x", "name:/b"]
)
def test_a_bad_volume_is_a_usage_error(text: str) -> None:
    """It says which part is wrong."""
    with pytest.raises(InvalidOption, match="--volume"):
        Mount.parse(text)


def test_a_mount_without_a_source_is_memory() -> None:
    """A tmpfs."""
    assert Mount("/tmp").kind == "tmpfs"


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
