"""`verify`, `prune` and `df` as whole processes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.fakes.commands import Adl, Names


def damaged_file(root: Path) -> Path:
    path = next(root.glob("layers/*/*/fs/etc/note"))
    path.write_bytes(b"A note\n")
    return path


def test_what_is_sound_is_one_line(box: Adl, names: Names) -> None:
    """By name, by ID or with all others."""
    line = f"{names.box}:latest: ok: manifest, configuration, 2 layers, packed and unpacked\n"
    identity = box("images", "-q").out.strip()
    for words in ([], [names.box], [identity]):
        done = box("verify", *words)
        assert (done.code, done.out, done.err) == (0, line, "")


def test_damage_is_named_and_repaired(own_box: Adl, names: Names, root: Path) -> None:
    """Which file of which layer; 1 until it is repaired, and `images` says so meanwhile."""
    path = damaged_file(root)
    done = own_box("verify")
    first, *flaws = done.out.splitlines()
    short = path.parents[2].name[:12]
    assert (done.code, first) == (1, f"{names.box}:latest: damaged")
    assert f"  layer {short}: etc/note: its content is another" in flaws
    assert own_box("images").out.splitlines()[1].endswith("   Damaged")
    done = own_box("verify", "--repair", names.box)
    assert (done.code, done.out.splitlines()[0]) == (0, f"{names.box}:latest: repaired")
    assert path.read_bytes() == b"a note\n"
    (line,) = own_box("images", "--format", "json").out.splitlines()
    assert json.loads(line)["Verified"] == "Yes"
    assert json.loads(line)["VerifiedAt"].startswith("20")


def test_what_cannot_be_repaired_says_why(own_box: Adl, names: Names, root: Path) -> None:
    """The image has a name of a registry that nobody reaches."""
    own_box("tag", names.box, "localhost:1/box")
    own_box("rmi", names.box)
    next(root.glob("blobs/sha256/*")).write_bytes(b"damaged")
    done = own_box("verify", "--repair")
    assert (done.code, done.out.splitlines()[0]) == (1, "localhost:1/box:latest: not repaired")
    assert done.sentence.startswith("cannot reach localhost:1")


def test_pruning_asks_first(own_box: Adl, names: Names) -> None:
    """No answer is no; the last line says how much room there is now, as in docker."""
    own_box("run", "--name", "ended", names.box, "true")
    asked = own_box("prune", stdin=b"n\n")
    assert asked.out.startswith(
        "WARNING! This will remove:\n  - all stopped containers\n  - all dangling images\n"
    )
    assert (asked.code, asked.err) == (1, "prune was cancelled\n")
    assert own_box("prune").code == 1
    done = own_box("prune", stdin=b"y\n")
    assert "\nDeleted Containers:\n" in done.out.replace("[y/N] ", "\n")
    assert done.out.splitlines()[-1].startswith("Total reclaimed space: ")
    done = own_box("prune", "--all", "--force")
    head, untagged, *deleted, empty, last = done.out.splitlines()
    assert (head, untagged, empty) == ("Deleted Images:", f"untagged: {names.box}:latest", "")
    assert all(line.startswith("deleted: sha256:") for line in deleted)
    assert last.endswith("MB")
    assert own_box("prune", "-f").out == "Total reclaimed space: 0B\n"


def test_room_is_a_table(own_box: Adl, names: Names) -> None:
    """Docker's columns, and a line for programs."""
    own_box("run", "--name", "ended", names.box, "true")
    head, images, containers, partial = own_box("df").out.splitlines()
    assert head.split() == ["TYPE", "TOTAL", "ACTIVE", "SIZE", "RECLAIMABLE"]
    assert images.split()[:3] == ["Images", "1", "1"]
    assert images.endswith("0B (0%)")
    assert containers.split()[:3] == ["Containers", "1", "0"]
    assert containers.endswith("(100%)")
    assert partial.split() == ["Partial", "downloads", "0", "0", "0B", "0B"]
    lines = [json.loads(line) for line in own_box("df", "--format", "json").out.splitlines()]
    assert [line["Type"] for line in lines] == ["Images", "Containers", "Partial downloads"]
    assert lines[0]["SizeBytes"] > 1_000_000


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (
            ["prune", "--partial-older-than", "soon"],
            "invalid value for --partial-older-than: 'soon' is not a time",
        ),
        (["prune", "--partial-max", "-1"], "invalid value for --partial-max: '-1' is not a size"),
        (["prune", "--filter", "x"], "--filter is not supported"),
        (["df", "--format", "xml"], "invalid value for --format: 'xml' is neither"),
        (["verify", "nothing"], "No such image: nothing"),
    ],
)
def test_a_mistake_is_one_sentence(box: Adl, words: list[str], sentence: str) -> None:
    """And nothing is removed."""
    done = box(*words)
    assert (done.code, done.out) == (1 if words[0] == "verify" else 125, "")
    assert done.sentence.startswith(sentence), done.err
