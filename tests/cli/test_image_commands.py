"""`images`, `inspect`, `tag` and `rmi`, as whole processes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.fakes.archives import classic, parts, tar
from tests.fakes.commands import Adl, Names, Start, command, environment, run_command


def rows(adl: Adl, *words: str) -> list[list[str]]:
    """The cells of a table, without its head."""
    return [line.split("   ") for line in adl("images", *words).out.splitlines()[1:]]


def test_images_are_listed(box: Adl, names: Names) -> None:
    """Three spaces between columns; the way that the quickstart shows, docker's, and one for programs."""
    head, line = box("images").out.splitlines()
    assert head.split() == ["IMAGE", "NAME", "SIZE", "CONTENT", "VERIFIED"]
    assert line == f"{names.box}:latest   17.8MB   Yes"
    assert head.index("SIZE") == line.index("17.8MB")

    (identity,) = box("images", "-q", "--no-trunc").out.splitlines()
    assert identity.startswith("sha256:")
    short = identity.removeprefix("sha256:")[:12]
    assert box("images", "--quiet").out == f"{short}\n"

    head, line = box("images", "--format", "table").out.splitlines()
    assert head.split("   ")[0].strip() == "REPOSITORY"
    assert head.split() == ["REPOSITORY", "TAG", "IMAGE", "ID", "CREATED", "SIZE"]
    repository, tag, image_id, created, size = line.split("   ")
    assert (repository, tag.strip(), image_id, size) == (names.box, "latest", short, "17.8MB")
    assert created.strip().endswith(" years ago")

    (line,) = box("images", "--format=json").out.splitlines()
    facts = json.loads(line)
    assert (facts.pop("Digest")[:7], facts.pop("CreatedSince")[-10:]) == ("sha256:", " years ago")
    assert facts.pop("VerifiedAt").startswith("20")
    assert facts == {
        "ID": short,
        "Repository": names.box,
        "Tag": "latest",
        "CreatedAt": "2020-09-13T12:26:40Z",
        "Size": "17.8MB",
        "SizeBytes": facts["SizeBytes"],
        "SharedSize": "N/A",
        "UniqueSize": "N/A",
        "Containers": "N/A",
        "Platform": "linux/amd64",
        "Verified": "Yes",
    }


def test_the_size_of_a_damaged_image_is_not_said(own_box: Adl, names: Names, root: Path) -> None:
    """Nobody knows it: it is not 0B."""
    (entry,) = json.loads((root / "index.json").read_bytes())["manifests"]
    (root / "blobs/sha256" / entry["digest"].removeprefix("sha256:")).write_bytes(b"{")
    assert own_box("images").out.splitlines()[1].split() == [f"{names.box}:latest", "-", "Damaged"]
    assert own_box("images", "--format", "table").out.splitlines()[1].endswith("   -")
    (line,) = own_box("images", "--format", "json").out.splitlines()
    assert (json.loads(line)["Size"], json.loads(line)["SizeBytes"]) == ("-", 0)


def test_a_name_chooses_among_images(own_box: Adl, names: Names) -> None:
    """With a tag this one, without it all of them; what is not there is no error."""
    for name in ("my/app:1", "my/app:2", "my/app"):
        assert own_box("tag", names.box, name).out == ""
    assert [row[0].strip() for row in rows(own_box, "my/app")] == ["my/app:1", "my/app:2", "my/app:latest"]
    assert [row[0].strip() for row in rows(own_box, "docker.io/my/app:2")] == ["my/app:2"]
    assert rows(own_box, "nothing") == []
    assert own_box("images", "-q", "nothing").out == ""
    assert own_box("images", "--quiet").out.count("\n") == 1, "one image with four names has one ID"


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (["images", "--format", "xml"], 125, "invalid value for --format: 'xml' is neither 'table' nor"),
        (["images", "Bad"], 125, "invalid reference format: 'Bad': the repository name 'Bad' must be lower"),
        (["images", "a", "b"], 125, "Got unexpected extra argument(s) (b)"),
        (["inspect"], 125, "Missing argument 'NAME...'."),
        (["tag", "BOX"], 125, "Missing argument 'NAME[:TAG]'."),
        (["tag", "BOX", "Bad"], 125, "invalid reference format: 'Bad': "),
        (["tag", "BOX", f"a@sha256:{'0' * 64}"], 125, "invalid reference format: 'a@sha256:"),
        (["tag", "nothing", "new"], 1, "No such image: nothing"),
        (["rmi", "nothing"], 1, "No such image: nothing"),
        (["rmi", "--force"], 125, "Missing argument 'IMAGE...'."),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_mistake_is_one_sentence(
    box: Adl, names: Names, words: list[str], code: int, sentence: str
) -> None:
    """And 125 if no store could make it right."""
    done = box(*(word.replace("BOX", names.box) for word in words))
    assert (done.code, done.out) == (code, "")
    assert done.sentence.startswith(sentence), done.err


def test_an_empty_store_is_an_empty_table(adl: Adl, root: Path, tmp_path: Path) -> None:
    """A head and nothing else; no line at all for programs. The variable says where it is, too."""
    assert adl("images").out == "IMAGE NAME   SIZE   CONTENT VERIFIED\n"
    assert adl("images", "--format", "json").out == ""
    elsewhere = tmp_path / "elsewhere"
    argv = [word for word in command(root, "load") if word not in ("--root", str(root))]
    env = environment(tmp_path, AIODOCKER_LITE_ROOT=str(elsewhere))
    assert run_command(argv, env, tar(classic((parts("one"), ["loaded:1"])))).code == 0
    assert (elsewhere / "oci-layout").exists()


def test_an_image_is_described(box: Adl, names: Names) -> None:
    """By name or ID, as an array with docker's keys; of several, those that are here."""
    done = box("inspect", names.box)
    (facts,) = json.loads(done.out)
    assert facts["RepoTags"] == [f"{names.box}:latest"]
    assert (facts["Architecture"], facts["Os"], len(facts["RootFS"]["Layers"])) == ("amd64", "linux", 2)
    assert facts["Config"]["Cmd"] == ["/bin/sh", "-c", "echo default"]
    assert json.loads(box("inspect", facts["Id"]).out) == [facts]
    some = box("inspect", "nothing", facts["Id"][7:19])
    assert (some.code, some.err) == (1, "aiodocker-lite: No such object: nothing\n")
    assert json.loads(some.out) == [facts]
    none = box("inspect", "nothing")
    assert (none.code, none.out) == (1, "[]\n")


def test_images_are_removed_name_by_name(own_box: Adl, names: Names) -> None:
    """The last name takes the image with it; one that cannot be removed does not save the others."""
    own_box("tag", names.box, "second")
    own_box("load", stdin=tar(classic((parts("one"), ["loaded:1"]))))
    first = own_box("rmi", "second:latest", "nothing", "loaded:1")
    assert (first.code, first.sentence) == (1, "No such image: nothing")
    untagged, *loaded = first.out.splitlines()
    assert (untagged, loaded[0]) == ("Untagged: second:latest", "Untagged: loaded:1")
    assert len(loaded) == 1 + len(["manifest", "configuration", "layer, which is its own blob"])
    assert all(line.startswith("Deleted: sha256:") for line in loaded[1:])
    last = own_box("rmi", names.box)
    assert last.out.count("Deleted: sha256:") == 6, "two layers as blob and unpacked, and two documents"
    assert rows(own_box) == []


def test_an_image_with_many_names_or_a_container_is_kept(own_box: Adl, names: Names) -> None:
    """Unless it shall be removed all the same."""
    identity = own_box("images", "-q").out.strip()
    own_box("tag", identity, "second")
    refused = own_box("rmi", identity)
    assert refused.code == 1
    reason = "(must be forced) - image is referenced in multiple repositories"
    assert refused.sentence == f"conflict: unable to delete {identity} {reason}"
    own_box("rmi", "second")
    own_box("run", "--name", "kept", names.box, "true")
    refused = own_box("rmi", names.box)
    assert refused.code == 1
    reason = "(must be forced) - image is being used by stopped container "
    assert refused.sentence.startswith(f"conflict: unable to delete {names.box} {reason}")
    assert refused.sentence.endswith(" (kept)")
    assert own_box("rmi", "-f", identity).out.startswith(f"Untagged: {names.box}:latest\n")
    assert rows(own_box) == []


def test_what_a_running_container_uses_is_never_removed(
    own_box: Adl, start: Start, names: Names, root: Path
) -> None:
    """By its ID it is refused; by its name, as with docker, it is untagged and stays."""
    identity = own_box("images", "-q").out.strip()
    process = start("run", "--name", "alive", names.box, "sh", "-c", "echo up; sleep 100", root=root)
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    for name in (names.box, identity):
        refused = own_box("rmi", name)
        assert refused.code == 1
        assert refused.sentence.endswith(" (alive)")
    refused = own_box("rmi", "-f", identity)
    assert (refused.code, refused.out) == (1, "")
    reason = "(cannot be forced) - image is being used by running container "
    assert refused.sentence.startswith(f"conflict: unable to delete {identity} {reason}")
    assert refused.sentence.endswith(" (alive)")

    forced = own_box("rmi", "-f", names.box)
    assert (forced.code, forced.out) == (0, f"Untagged: {names.box}:latest\n")
    assert own_box("run", "--rm", "-q", identity, "sh", "-c", "echo still here").out == "still here\n"
    process.kill()
    process.wait()
    own_box("rmi", "-f", identity)
    assert rows(own_box) == []
