"""Platforms and which of them suits which."""

from __future__ import annotations

from dataclasses import replace

import pytest

from aiodocker_lite.errors import InvalidOption
from aiodocker_lite.platforms import Platform, best_match


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("linux/amd64", "linux/amd64"),
        ("amd64", "linux/amd64"),
        ("linux/x86_64", "linux/amd64"),
        ("linux/arm64", "linux/arm64"),
        ("linux/arm64/v8", "linux/arm64"),
        ("aarch64", "linux/arm64"),
        ("linux/arm", "linux/arm/v7"),
        ("linux/arm/v6", "linux/arm/v6"),
        ("windows/amd64", "windows/amd64"),
    ],
)
def test_spellings_of_one_platform_are_one(text: str, normal: str) -> None:
    """As containerd normalises them."""
    assert str(Platform.parse(text)) == normal


def test_a_system_alone_is_for_this_machine() -> None:
    """As in docker; any other word is an architecture."""
    assert Platform.parse("linux") == Platform.parse("LINUX") == Platform.here()
    assert Platform.parse("windows") == replace(Platform.here(), os="windows")
    assert Platform.parse("riscv64") == Platform("linux", "riscv64")


@pytest.mark.parametrize(
    ("machine", "image", "runs"),
    [
        ("linux/amd64", Platform("linux", "amd64"), True),
        ("linux/amd64", Platform("linux", "386"), True),
        ("linux/amd64", Platform("linux", "arm64"), False),
        ("linux/amd64", Platform("windows", "386"), False),
        ("linux/amd64", Platform("linux", ""), True),
        ("linux/arm64", Platform("linux", "arm64", "v8"), True),
        ("linux/arm64", Platform("linux", "arm", "v7"), True),
        ("linux/arm/v7", Platform("linux", "arm64"), False),
    ],
)
def test_what_a_machine_executes(machine: str, image: Platform, runs: bool) -> None:
    """Its own, narrower ones of the same family, and what does not say what it is for."""
    assert Platform.parse(machine).runs(image) is runs


@pytest.mark.parametrize("text", ["", "linux/", "/amd64", "a/b/c/d", "linux/am d64"])
def test_a_bad_platform_is_a_usage_error(text: str) -> None:
    """It says what form a platform has."""
    with pytest.raises(InvalidOption, match="os/arch"):
        Platform.parse(text)


@pytest.mark.parametrize("text", ["foo", "linux/amd46", "lunix/amd64", "linux/foo/v8", "linux/" + "a" * 20])
def test_a_platform_that_nobody_has_is_a_usage_error(text: str) -> None:
    """At once, and not when a registry has been asked."""
    with pytest.raises(InvalidOption, match=f"unknown operating system or architecture in '{text}'"):
        Platform.parse(text)


@pytest.mark.parametrize(
    ("wanted", "offered", "best"),
    [
        ("linux/amd64", ["linux/arm64", "linux/amd64"], 1),
        ("linux/arm64", ["linux/arm64/v8", "linux/arm/v7"], 0),
        ("linux/arm/v7", ["linux/arm/v5", "linux/arm/v6", "linux/arm/v7"], 2),
        ("linux/arm/v7", ["linux/arm/v5", "linux/arm/v6"], 1),
        ("linux/arm/v6", ["linux/arm/v7"], None),
        ("linux/amd64", ["linux/amd64", "linux/amd64"], 0),
        ("linux/amd64/v3", ["linux/amd64", "linux/amd64/v2"], 1),
        ("linux/amd64", ["linux/amd64/v3"], None),
        ("linux/riscv64", ["linux/amd64"], None),
    ],
)
def test_the_best_of_what_is_offered(wanted: str, offered: list[str], best: int | None) -> None:
    """Exact first, then older variants, the first of equals."""
    entries = [Platform(*text.split("/")) for text in offered]
    assert best_match(Platform.parse(wanted), entries) == best
    assert best_match(Platform.parse(wanted), [None]) is None
