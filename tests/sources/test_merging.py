"""The same image of several sources."""

from __future__ import annotations

from aiodocker_lite.platforms import Platform
from aiodocker_lite.reference import Reference
from aiodocker_lite.sources import merged
from aiodocker_lite.wanted import Wanted

ARM = Platform("linux", "arm64")
DIGEST = f"sha256:{'a' * 64}"


def wanted(name: str, platform: Platform | None = None, *sources: str) -> Wanted:
    return Wanted(Reference.parse(name), platform, sources)


def test_one_image_however_it_is_spelled() -> None:
    """The first stays where it was, and has the sources of all, each once."""
    found = merged([
        wanted("alpine", None, "a"), wanted("busybox", None, "b"), wanted("docker.io/library/alpine:latest", None, "c"),
        wanted("alpine", None, "a"),
    ])  # fmt: skip
    assert found == [wanted("alpine", None, "a", "c"), wanted("busybox", None, "b")]


def test_platforms_stay_apart() -> None:
    """What is wanted for two machines is two images."""
    both = [wanted("alpine", None, "a"), wanted("alpine", ARM, "b")]
    assert merged([*both, *both]) == both


def test_a_tag_beside_a_digest_changes_nothing() -> None:
    """The digest decides what is brought; another tag's digest is another matter, for whoever resolves it."""
    found = merged([wanted(f"alpine:3@{DIGEST}", None, "a"), wanted(f"alpine@{DIGEST}", None, "b")])
    assert [one.sources for one in found] == [("a", "b")]
    assert len(merged([wanted("alpine:3"), wanted("alpine:3.20")])) == 2


def test_very_many_of_the_same_take_no_time() -> None:
    """The sources of one image are collected once, and not copied for each."""
    found = merged(wanted("alpine", None, str(number)) for number in range(20_000))
    assert len(found[0].sources) == 20_000
