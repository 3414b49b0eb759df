"""Names and images: an index that is whole for every reader, and forgets nothing."""

from __future__ import annotations

import json
import subprocess
import tempfile
from pathlib import Path

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aiodocker_lite.digest import Digest
from aiodocker_lite.errors import DiskFull, NoSuchImage, StoreCorrupt
from aiodocker_lite.manifest import DOCKER_MANIFEST
from aiodocker_lite.reference import Reference
from aiodocker_lite.store import Store
from aiodocker_lite.testing import images
from tests.store.filling import bring, bring_layers, documents, end, python, tiny

ALPINE = Reference.parse("alpine")
ADD = """
import anyio, sys
from pathlib import Path
from aiodocker_lite.reference import Reference
from aiodocker_lite.store import Store
from tests.store.filling import bring, tiny

async def main():
    store = Store(Path(sys.argv[1])).create()
    print("ready", flush=True)
    sys.stdin.readline()
    image = await bring(store, tiny(sys.argv[2]), "shared")
    for number in range(12):
        await store.images.tag(image, Reference.parse(f"{sys.argv[2]}:{number}"))

anyio.run(main)
"""
READ = """
import json, sys, threading
stop = threading.Event()
threading.Thread(target=lambda: (sys.stdin.read(), stop.set())).start()
seen = set()
print("reading", flush=True)
while not stop.is_set():
    with open(sys.argv[1]) as file:
        seen.add(len(json.load(file)["manifests"]))
print(len(seen))
"""


def tool(*command: str | Path) -> str:
    """What another tool says, which must succeed."""
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def copied_in(store: Store, directory: Path, name: str, image: images.Image | images.Index) -> None:
    """Have skopeo put an image into our store."""
    images.write_layout(directory, {"image": image})
    source, target = f"oci:{directory}:image", f"oci:{store.paths.root}:{name}"
    tool("skopeo", "--insecure-policy", "copy", "--all", source, target)


def listed(store: Store) -> list[tuple[str, str | None]]:
    """Digest and name of each entry of the index, as it stands there."""
    entries = json.loads(store.paths.index.read_text())["manifests"]
    key = "org.opencontainers.image.ref.name"
    return [(entry["digest"], entry.get("annotations", {}).get(key)) for entry in entries]


def names_of(store: Store) -> dict[Digest, list[str]]:
    """The names of every image, by its ID."""
    return {image.id: [name.familiar for name in image.names] for image in store.images.all()}


# --- names ---------------------------------------------------------------------------------


async def test_an_image_is_found_by_each_of_its_names(store: Store) -> None:
    """The name that was asked for comes first; digests of what was pulled are names too."""
    image = await bring(store, tiny(), "alpine", "localhost:5000/a/b:v1")
    assert image.name == "alpine:latest"
    assert image.verified == "Yes"
    assert image.size == 5
    for text in ("alpine", "docker.io/library/alpine:latest", f"alpine@{image.pulled_digest}"):
        assert store.images.find(text).names == image.names
    assert store.images.find("localhost:5000/a/b:v1").name == "localhost:5000/a/b:v1"
    assert store.images.named(ALPINE) == image
    assert set(store.images.names()) == set(image.names)
    with pytest.raises(NoSuchImage, match="No such image: alpine:3"):
        store.images.find("alpine:3")
    assert store.images.named(Reference.parse("alpine:3")) is None


async def test_an_image_is_found_by_its_id(store: Store) -> None:
    """Whole, with its algorithm, or the beginning, as long as that is one image's only."""
    image = await bring(store, tiny("a"), "alpine")
    await bring(store, tiny("b"), "busybox")
    for text in (str(image.id), image.id.hex, image.id.short, image.manifest.digest.hex):
        assert store.images.find(text).id == image.id
    for text in ("", "sha256:", "zz", "0" * 64):
        with pytest.raises(NoSuchImage):
            store.images.find(text)


async def test_a_beginning_that_many_ids_share_is_none(store: Store) -> None:
    """Seventeen images share at least one digit."""
    ids = [(await bring(store, tiny(str(number)), f"i{number}")).id.hex for number in range(17)]
    shared = next(i[0] for i in ids if sum(other[0] == i[0] for other in ids) > 1)
    with pytest.raises(NoSuchImage):
        store.images.find(shared)


async def test_one_id_with_two_manifests_is_one_image(store: Store) -> None:
    """Packed once as gzip and once not, its configuration is the same: the ID finds it."""
    files = {"file": b"x"}
    packed = images.image(images.layer(files))
    plain = images.image(images.layer(files, "plain"))
    assert packed.config.digest == plain.config.digest
    await bring(store, packed, "packed")
    await bring(store, plain, "plain")
    assert store.images.find(packed.config.digest.hex).id == packed.config.digest
    assert len(store.images.all()) == 2


async def test_a_name_leads_to_one_image(store: Store) -> None:
    """Given to another, it is taken from the first, which stays, under its ID."""
    old = await bring(store, tiny("old"), "alpine")
    new = await bring(store, tiny("new"), "alpine")
    assert names_of(store) == {old.id: [], new.id: ["alpine:latest"]}
    assert store.images.find(old.id.hex).name == old.id.short
    again = await bring(store, tiny("old"), "alpine", "other")
    assert again.id == old.id
    assert names_of(store) == {old.id: ["alpine:latest", "other:latest"], new.id: []}


async def test_an_image_loses_names_one_by_one(store: Store) -> None:
    """Without the last it is forgotten."""
    image = await bring(store, tiny(), "a", "b", "c")
    a, b, c = image.names
    await store.images.untag(image.manifest.digest, (b,))
    assert store.images.find("a").names == (a, c)
    await store.images.untag(image.manifest.digest, (a, c))
    assert store.images.entries() == ()
    with pytest.raises(NoSuchImage):
        store.images.find(image.id.hex)


async def test_a_name_of_another_image_is_not_taken(store: Store) -> None:
    """It has moved since somebody looked."""
    old = await bring(store, tiny("old"), "alpine")
    new = await bring(store, tiny("new"), "alpine")
    await store.images.untag(old.manifest.digest, old.names)
    assert names_of(store) == {new.id: ["alpine:latest"]}


async def test_an_image_without_a_name_can_be_added_and_removed(store: Store) -> None:
    """As `load` brings it from an archive without names."""
    image = await bring(store, tiny())
    assert image.names == ()
    assert store.images.all() == [image]
    await store.images.untag(image.manifest.digest, ())
    assert store.images.all() == []


async def test_tagging_gives_a_name_more(store: Store) -> None:
    """It may be one that led elsewhere."""
    image = await bring(store, tiny("a"), "alpine")
    other = await bring(store, tiny("b"), "busybox")
    tagged = await store.images.tag(image, Reference.parse("busybox"))
    assert tagged.name == "busybox:latest"
    assert names_of(store) == {image.id: ["alpine:latest", "busybox:latest"], other.id: []}


async def test_an_image_can_be_kept_without_a_name(store: Store) -> None:
    """It is there once, and goes when it is not kept any more."""
    image = await bring(store, tiny(), "alpine")
    for _ in range(2):
        await store.images.untag(image.manifest.digest, image.names, keep=True)
        assert names_of(store) == {image.id: []}
    await store.images.untag(image.manifest.digest, ())
    assert names_of(store) == {}


async def test_what_has_been_removed_meanwhile_cannot_be_tagged(store: Store) -> None:
    """A name never leads to an image whose layers may be gone."""
    image = await bring(store, tiny(), "alpine")
    await store.images.untag(image.manifest.digest, image.names)
    store.collect()
    with pytest.raises(NoSuchImage, match="No such image: alpine:latest"):
        await store.images.tag(image, Reference.parse("other"))
    assert store.images.entries() == ()
    assert list((store.paths.blobs / "sha256").iterdir()) == []


async def test_what_is_missing_of_an_image_is_said(store: Store) -> None:
    """Unpacked layers, or blobs too."""
    image = await bring(store, tiny(), "alpine")
    store.layers.remove(image.config.diff_ids[0])
    assert store.images.find("alpine").verified == "Blobs only"
    store.paths.blob(image.manifest.layers[0].digest).unlink()
    assert store.images.find("alpine").verified == "No"


# --- many at once --------------------------------------------------------------------------


async def test_many_processes_change_names_and_lose_none(store: Store) -> None:
    """Every one is there at the end, and a reader has always found a whole index (S06)."""
    reader = python(READ, store.paths.index)
    writers = [python(ADD, store.paths.root, name) for name in ("a", "b", "c")]
    for process in (reader, *writers):
        assert process.stdout is not None
        process.stdout.readline()
    for process in writers:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    for process in writers:
        end(process)
    assert int(end(reader)) > 5
    found = names_of(store)
    assert len(found) == 3
    names = sorted(name for names in found.values() for name in names)
    assert names == sorted([*(f"{x}:{n}" for x in "abc" for n in range(12)), "shared:latest"])


async def test_a_full_disk_changes_nothing(small_disk: Path) -> None:
    """The error says so; with space the same image can be added (S05)."""
    store = Store(small_disk / "store").create()
    await bring(store, tiny("old"), "alpine")
    before = store.paths.index.read_bytes()
    manifest, config = documents(tiny("new"))
    await bring_layers(store, tiny("new"))
    filler = small_disk / "filler"
    with pytest.raises(OSError, match="No space"):
        filler.write_bytes(bytes(2 << 20))
    with pytest.raises(DiskFull):
        await store.images.add((ALPINE,), manifest, config, manifest.digest)
    assert store.paths.index.read_bytes() == before
    assert list(store.paths.ingests.iterdir()) == []
    filler.unlink()
    await store.images.add((ALPINE,), manifest, config, manifest.digest)
    assert store.images.find("alpine").id == config.digest


# --- damage --------------------------------------------------------------------------------


@pytest.mark.parametrize("which", ["manifest", "config"])
@pytest.mark.parametrize("damage", ["missing", "cut", "flipped"])
async def test_a_damaged_document_damages_one_image(store: Store, which: str, damage: str) -> None:
    """It is shown, found, tagged and mended by bringing it again, as a pull does (S10); others are as before."""
    image = await bring(store, tiny(), "alpine")
    other = await bring(store, tiny("other"), "busybox")
    digest = image.manifest.digest if which == "manifest" else image.config.digest
    path = store.paths.blob(digest)
    content = path.read_bytes()
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(content[:-1] if damage == "cut" else content.replace(b"sha256", b"sha255", 1))
    damaged, sound = store.images.all()
    assert (damaged.verified, damaged.names, damaged.manifest.digest) == (
        "Damaged",
        image.names,
        image.manifest.digest,
    )
    assert damaged.config.platform == image.config.platform
    assert damaged.describe()["ContentVerified"] == "Damaged"
    assert sound == other
    assert store.images.find(image.manifest.digest.hex) == damaged
    with pytest.raises(StoreCorrupt, match=digest.hex):
        store.images.documents(image.manifest.descriptor)
    assert store.collect() == ()
    await store.images.tag(damaged, Reference.parse("second"))
    assert await bring(store, tiny(), "alpine", "second") == store.images.find("alpine")
    assert store.images.find("alpine").verified == "Yes"
    assert path.read_bytes() == content


@pytest.mark.parametrize("which", ["manifest", "config"])
async def test_a_damaged_image_can_be_removed(store: Store, which: str) -> None:
    """Before, nothing is collected, for what it needs is not known; then what is known of it, and in time the rest."""
    image = await bring(store, tiny(), "alpine")
    other = await bring(store, tiny("other"), "busybox")
    store.paths.blob(image.manifest.digest if which == "manifest" else image.id).write_bytes(b"{")
    await store.images.untag(other.manifest.digest, other.names)
    assert store.collect() == ()
    await store.images.untag(image.manifest.digest, image.names)
    assert len(store.collect()) + len(store.collect(0)) == 8
    assert list((store.paths.blobs / "sha256").iterdir()) == []


async def test_what_was_set_aside_damages_its_image(store: Store) -> None:
    """Until it is here anew; then what was set aside can go, but not earlier, for it says that something is wrong."""
    image = await bring(store, tiny(), "alpine")
    (diff_id,), (layer,) = image.config.diff_ids, image.manifest.layers
    for part, digest in ((store.layers, diff_id), (store.blobs, layer.digest)):
        part.set_aside(digest)
        assert store.images.find("alpine").verified == "Damaged"
        store.collect()
        assert store.images.find("alpine").verified == "Damaged"
    again = await bring(store, tiny(), "alpine")
    assert (again.verified, again.manifest) == ("Yes", image.manifest)
    store.collect()
    assert list(store.paths.root.rglob("*.damaged")) == []


# --- other tools ---------------------------------------------------------------------------


@pytest.mark.parametrize("docker", [False, True])
async def test_skopeo_and_umoci_read_the_store(store: Store, tmp_path: Path, docker: bool) -> None:
    """Also an image that Docker pushed: the layout lists an OCI manifest of it, and has the other one too."""
    image = await bring(store, tiny(docker=docker), "alpine", "localhost:5000/a:v1")
    for name in map(str, image.names):
        seen = json.loads(tool("skopeo", "inspect", f"oci:{store.paths.root}:{name}"))
        assert seen["Layers"] == [str(layer.digest) for layer in image.manifest.layers]
        tool("umoci", "stat", "--image", f"{store.paths.root}:{name}")
    assert tool("umoci", "ls", "--layout", store.paths.root).split() == [*map(str, image.names)]
    kind, raw = store.images.raw_manifest(ALPINE) or ("", b"")
    assert raw == image.manifest.raw
    assert (kind == DOCKER_MANIFEST) == docker
    copy = f"dir:{tmp_path / 'copy'}"
    tool("skopeo", "--insecure-policy", "copy", f"oci:{store.paths.root}:{image.names[0]}", copy)


async def test_skopeo_can_write_beside_us(store: Store, tmp_path: Path) -> None:
    """What it puts there is neither shown nor lost, whatever its name and kind; and ours stays ours."""
    mine = await bring(store, tiny("mine"), "alpine")
    theirs = tiny("theirs")
    copied_in(store, tmp_path / "one", "Not.A-Reference", theirs)
    copied_in(store, tmp_path / "two", "index", images.index(tiny("inner")))
    assert store.images.all() == [mine]
    await bring(store, tiny("more"), "busybox")
    await store.images.untag(mine.manifest.digest, mine.names)
    store.collect()
    assert set(tool("umoci", "ls", "--layout", store.paths.root).split()) == {
        "docker.io/library/busybox:latest",
        "Not.A-Reference",
        "index",
    }
    for layers in (theirs.layers, tiny("inner").layers):
        assert store.blobs.has(layers[0].digest, len(layers[0].raw))
    assert not store.blobs.has(mine.manifest.digest, len(mine.manifest.raw))
    copy = f"dir:{tmp_path / 'copy'}"
    tool("skopeo", "--insecure-policy", "copy", f"oci:{store.paths.root}:Not.A-Reference", copy)


async def test_a_name_that_another_tool_took_can_be_taken_back(store: Store, tmp_path: Path) -> None:
    """Then it leads to one image, for that tool as well."""
    mine = await bring(store, tiny("mine"), "alpine")
    copied_in(store, tmp_path / "one", str(ALPINE), tiny("theirs"))
    assert names_of(store) == {mine.id: []}
    await bring(store, tiny("mine"), "alpine")
    assert [digest for digest, name in listed(store) if name == str(ALPINE)] == [str(mine.manifest.digest)]
    assert str(tiny("theirs").manifest.digest) in dict(listed(store))
    assert json.loads(tool("skopeo", "inspect", f"oci:{store.paths.root}:{ALPINE}"))["Digest"] == str(
        mine.manifest.digest
    )


async def test_umoci_can_tag_what_is_ours(store: Store) -> None:
    """Its name is not one of ours, and does not hide one."""
    mine = await bring(store, tiny("mine"), "alpine")
    other = await bring(store, tiny("other"), "busybox")
    for name in ("alpine", "Other"):
        tool("umoci", "tag", "--image", f"{store.paths.root}:docker.io/library/busybox:latest", name)
    assert store.images.find("alpine").id == mine.id
    assert names_of(store) == {mine.id: ["alpine:latest"], other.id: ["busybox:latest"]}
    await store.images.untag(other.manifest.digest, other.names)
    store.collect()
    tool("skopeo", "inspect", f"oci:{store.paths.root}:Other")


async def test_umoci_may_collect_its_garbage(store: Store) -> None:
    """What it removes that only we need, a pull brings again."""
    await bring(store, tiny("a"), "alpine")
    await bring(store, tiny("b", docker=True), "busybox")
    tool("umoci", "gc", "--layout", store.paths.root)
    assert store.images.find("alpine").verified == "Yes"
    assert store.images.find("busybox").verified == "Damaged"
    await bring(store, tiny("b", docker=True), "busybox")
    assert store.images.find("busybox").verified == "Yes"


# --- any order of things -------------------------------------------------------------------

IMAGES = [tiny("a"), tiny("b", docker=True), tiny("c")]
NAMES = ["alpine", "busybox:1", "localhost:5000/x"]
some_names = st.lists(st.sampled_from(NAMES), unique=True, max_size=3)
steps: st.SearchStrategy[tuple[str, int, list[str]]] = st.one_of(
    st.tuples(st.just("add"), st.sampled_from(range(3)), some_names),
    st.tuples(st.just("tag"), st.sampled_from(range(3)), some_names),
    st.tuples(st.just("untag"), st.sampled_from(range(3)), some_names),
    st.tuples(st.just("collect"), st.just(0), st.just([])),
)


class Model:
    """What must be in the store: which images, and where each name leads."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.images: set[int] = set()
        self.names: dict[str, int] = {}

    async def step(self, action: str, image: int, names: list[str]) -> None:
        """Do it to the store and here."""
        if action == "add":
            await bring(self.store, IMAGES[image], *names)
            self.images.add(image)
            self.names.update(dict.fromkeys(names, image))
        elif action == "collect":
            self.store.collect()
            assert {path.name for path in (self.store.paths.blobs / "sha256").iterdir()} == self.needed()
        elif image in self.images:
            found = self.store.images.find(IMAGES[image].config.digest.hex)
            if action == "tag":
                for name in names:
                    await self.store.images.tag(found, Reference.parse(name))
                    self.names[name] = image
            else:
                references = [Reference.parse(name) for name in names]
                await self.store.images.untag(found.manifest.digest, references)
                for name in names:
                    if self.names.get(name) == image:
                        del self.names[name]
                if image not in self.names.values():
                    self.images.remove(image)

    def needed(self) -> set[str]:
        """The blobs of all images: for one that Docker pushed, with a manifest in OCI's words."""
        found = {
            blob.digest.hex
            for image in self.images
            for blob in (*IMAGES[image].blobs, IMAGES[image].manifest)
        }
        return found | {entry.listed.digest.hex for entry in self.store.images.entries()}

    def check(self) -> None:
        """The store says the same, to us and to others."""
        expected = {
            IMAGES[image].config.digest: {name for name, leads in self.names.items() if leads == image}
            for image in self.images
        }
        found = self.store.images.all()
        spelled = {str(Reference.parse(name)): name for name in NAMES}
        assert {image.id: {spelled[str(name)] for name in image.names} for image in found} == expected
        assert all(image.verified == "Yes" for image in found)
        named = [name for _, name in listed(self.store) if name is not None]
        assert sorted(named) == sorted(str(Reference.parse(name)) for name in self.names)
        nameless = [digest for digest, name in listed(self.store) if name is None]
        assert len(nameless) == sum(not names for names in expected.values())
        for digest, _ in listed(self.store):
            assert self.store.blobs.path(Digest.parse(digest)) is not None


@settings(max_examples=60, deadline=None)
@given(st.lists(steps, max_size=10))
def test_the_index_is_consistent_whatever_is_done(done: list[tuple[str, int, list[str]]]) -> None:
    """Each name leads to one image, no image is forgotten that was not untagged, and all have what they need."""

    async def do(directory: str) -> None:
        model = Model(Store(Path(directory)).create())
        for step in done:
            await model.step(*step)
            model.check()

    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as directory:
        anyio.run(do, directory)
