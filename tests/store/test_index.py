"""An index that is damaged or gone takes neither images nor their names with it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from aiodocker_lite.digest import Digest
from aiodocker_lite.reference import Reference
from aiodocker_lite.store import Store
from aiodocker_lite.testing import images
from tests.store.filling import bring, documents, tiny

TORN = [b"", b"\0" * 100, b"{", b"[]", b"{}", b'{"manifests": 1}', b'{"manifests": [1]}', b'{"manifests": null}', b"\xff"]  # fmt: skip
Damage = Callable[[Path], object]


def names_of(store: Store) -> dict[Digest, list[str]]:
    """The names of every image, by its ID."""
    return {image.id: [name.familiar for name in image.names] for image in store.images.all()}


def torn(content: bytes) -> Damage:
    return lambda path: path.write_bytes(content)


def broken_entry(**change: object) -> Damage:
    """Have the first entry say something else."""

    def damage(path: Path) -> None:
        document = json.loads(path.read_bytes())
        document["manifests"][0].update(change)
        path.write_text(json.dumps(document))

    return damage


def replaced_by_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


@pytest.mark.parametrize(
    "damage",
    [
        *map(torn, TORN),
        Path.unlink,
        replaced_by_pipe,
        broken_entry(digest="sha256:x"),
        broken_entry(size=-1),
        broken_entry(digest=None),
    ],
)
async def test_a_damaged_index_loses_nothing(store: Store, damage: Damage) -> None:
    """Everybody sees all images and names meanwhile, and who writes next mends it (S03)."""
    one = await bring(store, tiny("one", docker=True), "alpine", "localhost:5000/a:v1")
    two = await bring(store, tiny("two"))
    before = store.paths.index.read_bytes()
    damage(store.paths.index)
    assert store.images.all() == [one, two]
    assert store.images.find("localhost:5000/a:v1").id == one.id
    assert store.collect() == ()
    Store(store.paths.root).create()
    assert store.paths.index.read_bytes() == before


@pytest.mark.parametrize("damage", [torn(b"{"), Path.unlink])
async def test_adding_to_a_damaged_index_mends_it(store: Store, damage: Damage) -> None:
    """What was there is still there."""
    one = await bring(store, tiny("one"), "alpine")
    damage(store.paths.index)
    two = await bring(store, tiny("two"), "busybox")
    assert names_of(store) == {one.id: ["alpine:latest"], two.id: ["busybox:latest"]}
    assert len(json.loads(store.paths.index.read_bytes())["manifests"]) == 2


@pytest.mark.parametrize("damage", [torn(b"{"), Path.unlink])
async def test_without_its_copy_the_blobs_say_which_images_there_are(store: Store, damage: Damage) -> None:
    """All but their names; what is damaged or not whole is no image, and of two manifests of one image
    there is the one that was pulled."""
    docker = await bring(store, tiny("docker", docker=True), "docker")
    plain = await bring(store, tiny("plain"), "plain")
    partial = await bring(store, images.image(images.layer({"file": b"partial"})), "partial")
    damaged = await bring(store, tiny("damaged"), "damaged")
    store.paths.blob(partial.manifest.layers[0].digest).unlink()
    store.paths.blob(damaged.id).write_bytes(b"{}")
    for path in (store.paths.index, store.paths.index_copy):
        damage(path)
    assert names_of(store) == {docker.id: [], plain.id: []}
    assert store.images.find(docker.id.hex).manifest == docker.manifest
    store.create()
    await store.images.tag(store.images.find(docker.id.hex), Reference.parse("again"))
    assert names_of(store) == {plain.id: [], docker.id: ["again:latest"]}
    done = subprocess.run(["umoci", "ls", "--layout", store.paths.root], capture_output=True, check=True)
    assert done.stdout == b"docker.io/library/again:latest\n"


async def test_what_other_tools_listed_is_known_from_the_copy(store: Store, tmp_path: Path) -> None:
    """As far as we have seen it when we wrote last; it never becomes an image of ours."""
    layout = images.write_layout(tmp_path / "theirs", {"theirs": tiny("theirs")})
    target = f"oci:{store.paths.root}:theirs"
    skopeo = ["skopeo", "--insecure-policy", "copy", "-q", f"oci:{layout}:theirs", target]
    subprocess.run(skopeo, check=True)
    mine = await bring(store, tiny("mine"), "alpine")
    store.paths.index.write_bytes(b"")
    assert store.images.all() == [mine]
    store.collect()
    theirs = tiny("theirs")
    assert store.blobs.has(theirs.layers[0].digest, len(theirs.layers[0].raw))
    store.create()
    subprocess.run(["skopeo", "inspect", target], stdout=subprocess.DEVNULL, check=True)


async def test_an_index_that_is_gone_is_not_replaced_by_an_empty_one(store: Store) -> None:
    """A new store has an empty one."""
    image = await bring(store, tiny(), "alpine")
    store.paths.index.unlink()
    store.paths.create()
    assert not store.paths.index.exists()
    assert store.images.all() == [image]
    manifest, _ = documents(tiny())
    assert store.blobs.has(manifest.digest, len(manifest.raw))


def flipped(text: bytes) -> Damage:
    """Change one bit of the last character of this text, wherever it is."""

    def damage(path: Path) -> None:
        content = path.read_bytes()
        assert text in content
        path.write_bytes(content.replace(text, text[:-1] + bytes([text[-1] ^ 1])))

    return damage


async def test_no_wrong_bit_of_the_index_is_believed(store: Store) -> None:
    """Not in a name, nor in a digest: where the index can still be read, its copy counts, and who writes next mends it."""
    here = [await bring(store, tiny("one", docker=True), "alpine"), await bring(store, tiny("two"))]
    before = store.paths.index.read_bytes()
    for at in range(0, len(before), 3):
        wrong = before[at] ^ 1 << at % 8
        store.paths.index.write_bytes(before[:at] + bytes([wrong]) + before[at + 1 :])
        assert store.images.all() == here, (at, before[at], wrong)
    flipped(b"library/alpine")(store.paths.index)
    assert store.collect() == ()
    Store(store.paths.root).create()
    assert store.paths.index.read_bytes() == before


async def test_a_wrong_bit_costs_no_more_than_its_name_where_the_copy_is_gone(store: Store) -> None:
    """What can be read is better than nothing."""
    one, two = await bring(store, tiny("one"), "one"), await bring(store, tiny("two"), "two")
    flipped(b"library/one")(store.paths.index)
    store.paths.index_copy.unlink()
    assert names_of(store) == {one.id: ["ond:latest"], two.id: ["two:latest"]}
    (flaw,) = store.images.index_flaws()
    assert flaw == (
        "Warning: index.json and its copy were damaged or gone, so names may be wrong: "
        "docker.io/library/ond:latest, docker.io/library/two:latest"
    )
    # Nobody believes it by writing it anew without a word.
    store.create()
    assert store.images.index_flaws() == [flaw]
    # Nor does whoever writes something else; what is pulled anew is known again.
    await bring(store, tiny("two"), "two")
    three = await bring(store, tiny("three"), "three")
    assert store.images.index_flaws() == [flaw.removesuffix(", docker.io/library/two:latest")]
    store.images.settle_index()
    assert store.images.index_flaws() == []
    assert store.images.all() == [store.images.find("ond"), two, three]


@pytest.mark.parametrize("copy", ["gone", "equally wrong"])
async def test_a_wrong_digest_that_nobody_bears_out_is_named(store: Store, copy: str) -> None:
    """What it led to is still here, without a name, and nothing is removed while that is in doubt."""
    one, two = await bring(store, tiny("one"), "one"), await bring(store, tiny("two"), "two")
    flipped(one.manifest.digest.hex.encode())(store.paths.index)
    store.paths.index_copy.unlink() if copy == "gone" else shutil.copy(
        store.paths.index, store.paths.index_copy
    )
    store.create()
    assert "names may be wrong: docker.io/library/one:latest, " in store.images.index_flaws()[0]
    assert store.images.find("one").verified == "Damaged"
    assert store.images.find(one.id.hex).verified == "Yes"
    assert store.collect(0) == ()
    assert await bring(store, tiny("one"), "one") == one
    nameless = [image for image in store.images.all() if not image.names]  # prune takes it
    assert [image.verified for image in nameless] == ["Damaged"]
    await store.images.untag(nameless[0].manifest.digest, ())
    assert names_of(store) == {one.id: ["one:latest"], two.id: ["two:latest"]}


@pytest.mark.parametrize("damage", [torn(b"{"), flipped(b"library/one"), Path.unlink])
async def test_a_ruined_copy_is_named_and_written_anew(store: Store, damage: Damage) -> None:
    """On the day on which the index is damaged it has to be there."""
    assert store.images.index_flaws() == []
    await bring(store, tiny("one"), "one")
    assert store.images.index_flaws() == []
    damage(store.paths.index_copy)
    assert store.images.index_flaws() == ["index.copy.json was damaged or gone, and is written anew"]
    store.images.settle_index()
    assert store.paths.index_copy.read_bytes() == store.paths.index.read_bytes()
    assert store.images.index_flaws() == []


async def test_the_last_name_can_be_removed_with_umoci(store: Store) -> None:
    """It writes null for an empty list, and that is no damage."""
    one = await bring(store, tiny("one"), "one")
    subprocess.run(["umoci", "rm", "--image", f"{store.paths.root}:docker.io/library/one:latest"], check=True)
    assert json.loads(store.paths.index.read_bytes())["manifests"] is None
    assert (store.images.all(), store.images.index_flaws()) == ([], [])
    assert await bring(store, tiny("one"), "again") != one
    assert names_of(store) == {one.id: ["again:latest"]}


@pytest.mark.parametrize("tool", ["skopeo", "umoci", "hand"])
async def test_what_other_tools_write_into_the_index_counts(store: Store, tmp_path: Path, tool: str) -> None:
    """The copy does not know of it, and the digest of what was there before says nothing."""
    one, two = await bring(store, tiny("one"), "one"), await bring(store, tiny("two"), "two")
    if tool == "skopeo":
        layout = images.write_layout(tmp_path / "theirs", {"theirs": tiny("theirs")})
        source, target = f"oci:{layout}:theirs", f"oci:{store.paths.root}:docker.io/library/one:latest"
        words = ["skopeo", "--insecure-policy", "copy", "-q", source, target]
    else:
        words = ["umoci", "rm", "--image", f"{store.paths.root}:docker.io/library/one:latest"]
    if tool == "hand":
        content = json.loads(store.paths.index.read_bytes())
        del content["manifests"][0]
        store.paths.index.write_text(json.dumps(content))
    else:
        subprocess.run(words, check=True)
    assert store.images.index_flaws() == []
    assert one not in store.images.all()
    assert two in store.images.all()
