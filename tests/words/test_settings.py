"""Settings and where they come from."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from aiodocker_lite.errors import InvalidOption
from aiodocker_lite.settings import Limits, Settings, default_platform, default_root, default_workers


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


def test_the_runtime_can_be_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    """AIODOCKER_LITE_RUNTIME; ours needs nothing installed, so it is the default."""
    monkeypatch.delenv("AIODOCKER_LITE_RUNTIME", raising=False)
    assert Settings().runtime == "native"
    monkeypatch.setenv("AIODOCKER_LITE_RUNTIME", "crun")
    assert Settings().runtime == "crun"


def test_there_is_a_worker_for_each_core_and_one_more() -> None:
    """Within reason."""
    assert 2 <= default_workers() <= 8


@pytest.mark.parametrize("name", ["downloads", "workers", "batch"])
def test_nothing_cannot_be_done_at_once(name: str) -> None:
    """Zero of anything is refused."""
    with pytest.raises(InvalidOption, match=name):
        Settings(**{name: 0})  # type: ignore[arg-type]


def test_limits_are_changed_by_name() -> None:
    """Numbers, and sizes as people write them."""
    sizes = {"1.5G": 3 << 29, "20GiB": 20 << 30, "20GB": 20 * 10**9, "1.801MB": 1_801_000, "7kB": 7000}
    for text, size in sizes.items():
        assert Limits.parse([f"unpacked_bytes={text}"]).unpacked_bytes == size
    changed = Limits.parse(["entries=7", "unpacked_bytes=2T", "free_bytes=0"])
    assert changed == Limits(entries=7, unpacked_bytes=2 << 40, free_bytes=0)
    assert Limits.parse([]) == Limits()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("entrys=7", "there is no limit 'entrys', only depth, entries, "),
        ("entries", "'' is not a number"),
        ("entries=-1", "'-1' is not a number"),
        ("entries=1e9", "'1e9' is not a number"),
        ("unpacked_bytes=20X", "'20X' is not a number such as 5000 or 20G"),
        ("unpacked_bytes=20B", "'20B' is not a number such as 5000 or 20G"),
        ("unpacked_bytes=1.5", "'1.5' is not a number such as 5000 or 20G"),
    ],
)
def test_a_limit_that_is_none_is_refused(change: str, reason: str) -> None:
    """With what is wrong with it."""
    with pytest.raises(InvalidOption, match=re.escape(reason)):
        Limits.parse([change])
