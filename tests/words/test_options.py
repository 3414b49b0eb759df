"""Options of a run, as docker spells them."""

from __future__ import annotations

from pathlib import Path

import pytest

from aiodocker_lite.errors import InvalidOption
from aiodocker_lite.options import Mount


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
