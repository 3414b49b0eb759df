"""Locks of images: the same text for the same images, read exactly, and compared in bytes."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiodocker_lite.errors import InvalidSource
from aiodocker_lite.lockfile import Change, Locked, difference, dump, parse


def digest(letter: str) -> str:
    return f"sha256:{letter * 64}"


ALPINE = Locked(
    "docker.io/library/alpine:3", "linux/amd64", digest("a"), ((digest("1"), 10), (digest("2"), 200))
)
ARM = Locked("docker.io/library/alpine:3", "linux/arm64", digest("a"), ((digest("3"), 3000),))
TOOL = Locked("quay.io/a/tool:1", "linux/amd64", digest("b"), ((digest("1"), 10), (digest("4"), 40_000)))

LOCKS = st.builds(
    Locked,
    st.from_regex(r"quay\.io/[a-z]{1,5}:[a-z]{1,5}", fullmatch=True),
    st.sampled_from(["linux/amd64", "linux/arm64", "linux/arm/v6"]),
    st.sampled_from("abc").map(digest),
    st.lists(st.tuples(st.sampled_from("123456").map(digest), st.integers(0)), max_size=3).map(tuple),
)
MANY = st.lists(LOCKS, unique_by=lambda one: (one.name, one.platform))


@given(MANY)
def test_what_was_written_is_read_as_it_was(images: list[Locked]) -> None:
    """Sorted, and the text of any order is the same."""
    text = dump(images)
    assert parse(text, "l") == tuple(sorted(images))
    assert dump(reversed(images)) == text == dump(parse(text, "l"))


def test_an_image_is_a_line() -> None:
    """So that a version control shows which one has changed."""
    lines = dump([TOOL, ARM, ALPINE]).splitlines()
    assert lines[0:3] == ["{", '  "version": 1,', '  "images": [']
    assert [json.loads(line.rstrip(","))["digest"] for line in lines[3:6]] == [
        digest("a"),
        digest("a"),
        digest("b"),
    ]
    assert lines[6:] == ["  ]", "}"]


ENTRY = {"name": ALPINE.name, "platform": "linux/amd64", "digest": digest("a"), "layers": [[digest("1"), 1]]}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "l: is no lock of images"),
        ("[" * 100_000, "l: is no lock of images"),
        ("[]", "it has no version"),
        ('{"images": []}', "it has no version"),
        ('{"version": 2, "images": []}', "has version 2"),
        ('{"version": true, "images": []}', "has version True"),
        ('{"version": 1}', "more or less than"),
        ('{"version": 1, "images": [], "x": 1}', "more or less than"),
        ('{"version": 1, "images": {}}', "more or less than"),
        ('{"version": 1, "images": [1]}', "l: images[0]: has not exactly digest, layers, name, platform"),
    ],
)
def test_what_is_no_lock_is_refused(text: str, message: str) -> None:
    """A later version's lock too: it may mean something else."""
    with pytest.raises(InvalidSource) as caught:
        parse(text, "l")
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"more": 1}, "has not exactly"),
        ({"name": "alpine"}, "is not spelled in full: docker.io/library/alpine:latest"),
        ({"name": "A b"}, "invalid reference format"),
        ({"name": 1}, "images[0].name: is no text"),
        ({"name": f"docker.io/library/alpine@{digest('b')}"}, "another digest than its name"),
        ({"platform": "amd64"}, "is not spelled in full"),
        ({"platform": "linux/arm64/v8"}, "is not spelled in full"),
        ({"platform": None}, "images[0].platform: is no text"),
        ({"digest": "sha256:a"}, "is not a digest"),
        ({"layers": {}}, "images[0].layers: is no list"),
        ({"layers": [[digest("1"), -1]]}, "images[0].layers[0]: is no digest with"),
        ({"layers": [[digest("1"), True]]}, "is no digest with"),
        ({"layers": [[digest("1"), 1.0]]}, "is no digest with"),
        ({"layers": [[digest("1")]]}, "is no digest with"),
        ({"layers": [["x", 1]]}, "is not a digest"),
    ],
)
def test_an_entry_is_taken_exactly_or_not_at_all(change: dict[str, object], message: str) -> None:
    """Names and platforms in full, digests, whole bytes; with the place of what is wrong."""
    with pytest.raises(InvalidSource) as caught:
        parse(json.dumps({"version": 1, "images": [ENTRY | change]}), "l")
    assert message in str(caught.value)


def test_one_name_twice_is_refused() -> None:
    """Nobody could say which of them counts; for two platforms it is two images."""
    with pytest.raises(InvalidSource, match=r"has docker\.io/library/alpine:3 for linux/amd64 twice"):
        parse(json.dumps({"version": 1, "images": [ENTRY, ENTRY]}), "l")
    assert (
        len(parse(json.dumps({"version": 1, "images": [ENTRY, ENTRY | {"platform": "linux/s390x"}]}), "l"))
        == 2
    )


def test_a_difference_is_what_an_update_costs() -> None:
    """A layer that some image had before costs nothing, and one that two images need costs once."""
    newer = Locked(ALPINE.name, ALPINE.platform, digest("c"), ((digest("1"), 10), (digest("5"), 500)))
    also = Locked("quay.io/a/also:1", "linux/amd64", digest("d"), ((digest("5"), 500), (digest("3"), 3000)))
    found = difference([ALPINE, ARM, TOOL], [newer, ARM, also])
    assert found.changes == (
        Change(ALPINE.name, "linux/amd64", digest("a"), digest("c"), 500),
        Change(also.name, "linux/amd64", None, digest("d"), 500),
        Change(TOOL.name, "linux/amd64", digest("b"), None, 0),
    )
    assert (found.fetch, found.freed) == (500, 40_200)


@given(MANY)
def test_nothing_changes_from_a_lock_to_itself(images: list[Locked]) -> None:
    """No change, no bytes."""
    found = difference(images, images)
    assert (found.changes, found.fetch, found.freed) == ((), 0, 0)
