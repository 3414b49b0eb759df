"""Settings and where they come from."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from aiodocker_lite.errors import InvalidOption
from aiodocker_lite.settings import Settings, default_platform, default_root, default_workers


def test_the_root_is_chosen_by_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The variable first, then the place that fits the user."""
    monkeypatch.setenv("AIODOCKER_LITE_ROOT", str(tmp_path))
    assert default_root() == tmp_path
    monkeypatch.delenv("AIODOCKER_LITE_ROOT")
    monkeypatch.setenv("XDG_DATA_HOME", "/data")
    expected = "/var/lib/aiodocker-lite" if os.geteuid() == 0 else "/data/aiodocker-lite"
    assert str(default_root()) == expected


def test_the_platform_can_be_chosen_as_for_docker(monkeypatch: pytest.MonkeyPatch) -> None:
    """DOCKER_DEFAULT_PLATFORM."""
    monkeypatch.setenv("DOCKER_DEFAULT_PLATFORM", "linux/arm64/v8")
    assert str(default_platform()) == "linux/arm64"
    monkeypatch.setenv("DOCKER_DEFAULT_PLATFORM", "a b")
    with pytest.raises(InvalidOption, match=r"^invalid value for DOCKER_DEFAULT_PLATFORM: 'a b' is not "):
        default_platform()


def test_there_is_a_worker_for_each_core_and_one_more() -> None:
    """Within reason."""
    assert 2 <= default_workers() <= 8


@pytest.mark.parametrize("name", ["downloads", "workers", "batch"])
def test_nothing_cannot_be_done_at_once(name: str) -> None:
    """Zero of anything is refused."""
    with pytest.raises(InvalidOption, match=name):
        Settings(**{name: 0})  # type: ignore[arg-type]
