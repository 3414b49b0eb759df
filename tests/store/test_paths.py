"""An empty store is made whole, by whoever comes first, and kept by whoever comes later."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from aiodocker_lite.digest import Digest
from aiodocker_lite.errors import DiskFull, NotAStore, StoreUnwritable
from aiodocker_lite.store import Store
from aiodocker_lite.store.paths import Paths
from tests.store.conftest import mounted
from tests.store.filling import bring, end, python, tiny

DIGEST = Digest.of(b"hello")


def test_a_new_store_is_an_empty_layout(store: Store) -> None:
    """Other tools find a layout without images, and others than its owner find nothing."""
    root = store.paths.root
    done = subprocess.run(["umoci", "ls", "--layout", str(root)], capture_output=True, text=True, check=True)
    assert done.stdout == ""
    assert json.loads(store.paths.layout.read_text()) == {"imageLayoutVersion": "1.0.0"}
    directories = [root, *(path for path in root.rglob("*") if path.is_dir())]
    assert {path.stat().st_mode & 0o777 for path in directories} == {0o700}
    assert list(store.paths.ingests.iterdir()) == []


@pytest.mark.parametrize(
    ("place", "relative"),
    [
        (Paths.blob, f"blobs/sha256/{DIGEST.hex}"),
        (Paths.layer, f"layers/sha256/{DIGEST.hex}"),
        (Paths.ingest, f"ingest/sha256-{DIGEST.hex}"),
        (Paths.staging, f"ingest/sha256-{DIGEST.hex}.mine.layer"),
        (Paths.staging_joint, f"ingest/joint-sha256-{DIGEST.hex}.mine.layer"),
    ],
)
def test_everything_has_its_place(tmp_path: Path, place: object, relative: str) -> None:
    """Digests become names of one part; a lock's name too."""
    assert callable(place)
    assert place(Paths(tmp_path, "mine"), DIGEST) == tmp_path / relative
    assert Paths(tmp_path).lock(f"blob-{DIGEST}") == tmp_path / f"locks/blob-sha256-{DIGEST.hex}"


async def test_a_store_is_opened_again_as_it_is(store: Store) -> None:
    """Opening changes nothing."""
    await bring(store, tiny(), "alpine")
    before = store.paths.index.read_bytes()
    assert Store(store.paths.root).paths.index.read_bytes() == before


def test_many_processes_can_make_the_same_store(tmp_path: Path) -> None:
    """Each of them has a whole one at once, and keeps what another has already put into it."""
    code = """
import anyio, sys
from pathlib import Path
from aiodocker_lite.store import Store
from tests.store.filling import bring, tiny
print("ready", flush=True)
input()
store = Store(Path(sys.argv[1])).create()
anyio.run(bring, store, tiny(sys.argv[2]), f"image{sys.argv[2]}")
"""
    processes = [python(code, tmp_path / "store", str(number)) for number in range(5)]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    for process in processes:
        end(process)
    names = {name.familiar for name in Store(tmp_path / "store").images.names()}
    assert names == {f"image{number}:latest" for number in range(5)}


def test_what_is_not_there_is_an_empty_store(tmp_path: Path) -> None:
    """Whoever only reads makes nothing."""
    store = Store(tmp_path / "not" / "there")
    assert (store.images.all(), store.containers.all(), store.layers.find(DIGEST)) == ([], [], None)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["lost+found", "ingest", "index.json"])
def test_a_store_whose_making_was_interrupted_is_one(tmp_path: Path, name: str) -> None:
    """And so is a new file system."""
    (tmp_path / name).mkdir() if name != "index.json" else (tmp_path / name).write_text('{"manifests": []}')
    assert Store(tmp_path).images.all() == []
    assert Store(tmp_path).create().paths.layout.exists()


def test_a_store_with_other_things_in_it_is_still_one(store: Store) -> None:
    """Somebody may have left a note; and an older one has fewer directories."""
    for name in ("sha256", "sha512", ""):
        (store.paths.joints / name).rmdir()
    (store.paths.root / "README").write_text("nothing to see here")
    assert Store(store.paths.root).images.all() == []


@pytest.mark.parametrize("name", ["notes.txt", "blobs"])
def test_a_directory_with_other_things_in_it_is_no_store(tmp_path: Path, name: str) -> None:
    """It is left as it is, also if something in it has a name that we use."""
    (tmp_path / name).mkdir()
    (tmp_path / "something else").write_text("x")
    with pytest.raises(
        NotAStore, match=f"^cannot use {tmp_path} as a store: it is a directory with other things"
    ):
        Store(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {name, "something else"}


@pytest.mark.parametrize(("place", "what"), [("", "it"), ("store", "FILE"), ("a/b/store", "FILE")])
def test_a_file_is_no_store(tmp_path: Path, place: str, what: str) -> None:
    """Nor is there anything below it."""
    file = tmp_path / "file"
    file.write_text("x")
    sentence = f"^cannot use {file / place} as a store: {what.replace('FILE', str(file))} is a file$"
    with pytest.raises(NotAStore, match=sentence):
        Store(file / place)


@pytest.mark.parametrize("occupied", ["blobs", "ingest", "locks"])
def test_a_file_in_the_place_of_a_directory_is_one_sentence(tmp_path: Path, occupied: str) -> None:
    """It names the file."""
    path = tmp_path / "store" / occupied
    path.parent.mkdir(exist_ok=True)
    path.write_text("x")
    with pytest.raises(StoreUnwritable, match=f"cannot write to the store at .*{path.name}"):
        Store(tmp_path / "store").create()


def test_a_full_disk_is_called_so(small_disk: Path) -> None:
    """Also where there is no store yet, and with space there is one (S05)."""
    filler = small_disk / "filler"
    with pytest.raises(OSError, match="No space"):
        filler.write_bytes(bytes(2 << 20))
    with pytest.raises(DiskFull):
        Store(small_disk / "store").create()
    filler.unlink()
    assert Store(small_disk / "store").create().images.entries() == ()


async def test_a_store_that_cannot_be_written_can_be_read(tmp_path: Path) -> None:
    """On read-only media the images are there; what writes is refused with one sentence (S07)."""
    place = tmp_path / "disk"
    place.mkdir()
    with mounted(place, "size=1m"):
        image = await bring(Store(place / "store").create(), tiny(), "alpine")
        subprocess.run(["mount", "-o", "remount,ro", place], check=True)
        store = Store(place / "store")
        assert store.images.find("alpine") == image
        assert store.images.all() == [image]
        assert store.containers.all() == []
        with pytest.raises(StoreUnwritable, match="Read-only file system"):
            await store.images.untag(image.manifest.digest, image.names)
        with pytest.raises(StoreUnwritable, match="Read-only file system"):
            store.collect()
        with pytest.raises(
            StoreUnwritable, match=f"{place}/store: it can only be read, and .* images, inspect"
        ):
            store.create()
