"""Verify finds every damage, says where it is, and repair brings only what is bad."""

from __future__ import annotations

import json
import os
import re
import shutil
import stat
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from aiodocker_lite import Checked, Engine, Image, Limits, Settings
from aiodocker_lite.errors import (
    Irreparable,
    LimitExceeded,
    NoSuchImage,
    RegistryError,
    RunError,
    Uncheckable,
)
from aiodocker_lite.events import Notice
from aiodocker_lite.testing.faults import status
from aiodocker_lite.testing.images import image, index, layer, layer_of, noise
from aiodocker_lite.testing.registry import FakeRegistry
from tests.fakes import tars
from tests.fakes.trees import Node, read_tree

FILES = {
    "etc/": b"",
    "etc/name": b"value\n",
    "bin/": b"",
    "bin/tool": noise(300_000, "tool"),
    "bin/empty": b"",
    **{f"bin/{number}": b"%d" % number for number in range(7)},
    "deep/er/than/said": b"x",
}
ODD = layer_of(
    b"".join(
        (
            tars.directory(b"odd", mode=0o1777),
            tars.file(b"odd/setuid", b"s", mode=0o4755),
            tars.symlink(b"odd/link", b"../bin/tool"),
            tars.file(b"odd/first", b"linked"),
            tars.hard_link(b"odd/second", b"odd/first"),
            tars.header(b"odd/pipe", b"6"),
            tars.file(b"odd/twice", b"not this"),
            tars.file(b"odd/twice", b"but this"),
            tars.file(b"odd/renewed", b"old"),
            tars.hard_link(b"odd/old", b"odd/renewed"),
            tars.file(b"odd/renewed", b"old"),
            tars.pax({b"SCHILY.xattr.user.key": b"value"}),
            tars.file(b"odd/attribute", b"has one"),
            tars.header(b"odd/.wh.gone", b"0"),
            tars.header(b"hidden/.wh..wh..opq", b"0"),
            tars.pax({b"GNU.sparse.major": b"1", b"GNU.sparse.minor": b"0", b"GNU.sparse.realsize": b"9000000",
                      b"GNU.sparse.name": b"odd/sparse"}),
            tars.header(b"odd/sparse", size=512 + 5)
            + b"1\n8000000\n5\n".ljust(512, b"\0") + tars.padded(b"holes"),
            tars.END,
        )
    )
)  # fmt: skip
NOW = time.time_ns()
APP = image(layer(FILES), ODD, layer({"top": b"above"}, "zstd"))


@pytest.fixture
async def registry() -> AsyncIterator[FakeRegistry]:
    """A registry with one image, that counts what it is asked."""
    async with FakeRegistry() as registry:
        registry.add("app", "latest", APP)
        yield registry


async def pulled(engine: Engine, registry: FakeRegistry) -> Image:
    """The image in the store, and the registry asked for nothing."""
    found = await engine.pull(registry.reference("app"))
    registry.forget()
    return found


def trees(engine: Engine) -> dict[str, dict[bytes, Node]]:
    """All unpacked layers; what no entry gave a time to has none."""
    return {top.parent.name: timeless(top) for top in tops(engine)}


def tops(engine: Engine) -> list[Path]:
    """Where the files of each layer are."""
    return [path for path in engine.store.paths.layers.glob("*/*/fs") if path.parent.suffix != ".damaged"]


def timeless(top: Path) -> dict[bytes, Node]:
    tree = read_tree(top)
    return {path: replace(node, mtime_ns=0) if node.mtime_ns > NOW else node for path, node in tree.items()}


def flip(path: Path, at: int) -> None:
    """Another byte there, and nothing else is different: as a disk does it."""
    how = path.lstat()
    mode = stat.S_IMODE(how.st_mode)
    path.chmod(0o600)
    with path.open("r+b") as file:
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ 0x10]))
    path.chmod(mode)
    os.utime(path, ns=(how.st_atime_ns, how.st_mtime_ns))


def said(checked: Checked) -> list[str]:
    return [str(flaw) for flaw in checked.flaws]


async def test_what_is_sound_is_said_to_be(engine: Engine, registry: FakeRegistry) -> None:
    """Also of odd layers; it costs nothing but a later time, and leaves nothing behind."""
    found = await pulled(engine, registry)
    before = trees(engine)
    (checked,) = await engine.verify()
    assert (said(checked), checked.is_sound, checked.repaired) == ([], True, False)
    assert checked.image.verified == "Yes"
    assert checked.image.verified_at >= found.verified_at
    assert trees(engine) == before
    assert list(engine.store.paths.ingests.iterdir()) == []
    assert registry.requests == []


# --- unpacked files ------------------------------------------------------------------------


def files_to_flip(engine: Engine) -> Iterator[tuple[Path, str]]:
    """Every unpacked file that has content, with its path in its layer."""
    for top in sorted(tops(engine)):
        for path in sorted(top.rglob("*")):
            if stat.S_ISREG(path.lstat().st_mode) and path.stat().st_size:
                yield path, str(path.relative_to(top))


async def test_one_flipped_byte_of_any_file_is_found_and_repaired(
    engine: Engine, registry: FakeRegistry
) -> None:
    """Nothing is fetched, for the blob is as it was; of a large one at its beginning and end as well."""
    await pulled(engine, registry)
    before = trees(engine)
    tried = 0
    for path, name in list(files_to_flip(engine)):
        size = path.stat().st_size
        for at in sorted({0, size // 2, size - 1} if size > 1000 else {size // 2}):
            flip(path, at)
            (checked,) = await engine.verify(repair=True)
            named = {flaw.path for flaw in checked.flaws}
            links = {"odd/first", "odd/second"}
            assert named == (links if name in links else {name}), (name, at)
            assert {flaw.reason for flaw in checked.flaws} == {"its content is another"}
            assert (checked.repaired, checked.image.verified) == (True, "Yes")
            assert trees(engine) == before
            tried += 1
    assert tried > 20
    assert registry.requests == []


def replaced_by_link(path: Path) -> None:
    shutil.rmtree(path)
    path.symlink_to("/etc")


def relinked(path: Path) -> None:
    content = path.read_bytes()
    how = path.stat()
    path.unlink()
    path.write_bytes(content)
    os.utime(path, ns=(how.st_atime_ns, how.st_mtime_ns))


def led_elsewhere(path: Path) -> None:
    path.unlink()
    path.symlink_to("tool")


def replaced_by_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


DAMAGES: tuple[tuple[str, Callable[[Path], object], str], ...] = (
    ("bin/0", lambda path: path.chmod(0o4644), "its mode is 4644, not 0644"),
    ("bin/1", lambda path: os.chown(path, 7, 8), "its owner is 7:8, not 0:0"),
    ("bin/2", lambda path: os.utime(path, (1, 1)), "it was changed at another time"),
    ("bin/3", Path.unlink, "it is missing"),
    ("bin/4", lambda path: os.truncate(path, 0), "it has 0 bytes, not 1"),
    ("bin/5", replaced_by_pipe, "it is a pipe, not a file"),
    ("bin/6", lambda path: os.setxattr(path, "user.key", b""), "it has other extended attributes"),
    ("bin/more", lambda path: path.write_bytes(b"x"), "it does not belong there"),
    ("bin/empty", lambda path: path.write_bytes(b"x"), "it has 1 bytes, not 0"),
    ("etc", replaced_by_link, "it is a symbolic link, not a directory"),
    ("deep/er", shutil.rmtree, "it is missing"),
    ("odd", lambda path: path.chmod(0o777), "its mode is 0777, not 1777"),
    ("odd/setuid", lambda path: path.chmod(0o755), "its mode is 0755, not 4755"),
    ("odd/link", led_elsewhere, "it leads elsewhere"),
    ("odd/attribute", lambda path: os.setxattr(path, "user.key", b"no"), "it has other extended attributes"),
    ("odd/second", relinked, "it has 1 names, not 2"),
    ("odd/first", lambda path: None, "it has 1 names, not 2"),
    ("odd/gone", Path.unlink, "it is missing"),
    ("hidden", lambda path: os.removexattr(path, "trusted.overlay.opaque"), "it has other extended attributes"),
    ("top", lambda path: path.parent.chmod(0o700), ""),
)  # fmt: skip


def do_damage(engine: Engine) -> dict[str, str]:
    """All of it, to all files at the same place; returns what is wrong then, by path."""
    for name, damage, _ in DAMAGES:
        places = [top / name for top in tops(engine) if os.path.lexists(top / name)]
        damage(*places or [top / name for top in tops(engine) if (top / name).parent.exists()])
    return {name: reason for name, _, reason in DAMAGES if reason} | {"/": "its mode is 0700, not 0755"}


async def test_other_damage_of_files_is_found_and_repaired(engine: Engine, registry: FakeRegistry) -> None:
    """Everything that a container could see of a file, and all files at the same place."""
    if os.geteuid() != 0:
        pytest.skip("some of it only root can do")
    await pulled(engine, registry)
    before = trees(engine)
    wanted = do_damage(engine)
    (checked,) = await engine.verify()
    # What was done to files was done to their directory too, where an entry says when it was changed.
    assert {flaw.path: flaw.reason for flaw in checked.flaws if flaw.path != "bin"} == wanted
    assert checked.image.verified == "Damaged"
    (checked,) = await engine.verify(repair=True)
    assert checked.repaired
    assert trees(engine) == before
    assert registry.requests == []


async def test_files_that_all_got_another_owner_are_one_flaw(engine: Engine, registry: FakeRegistry) -> None:
    """Of a store that somebody gave away, a layer is one line; and it is not called missing when it is mended."""
    if os.geteuid() != 0:
        pytest.skip("only root can give files away")
    await pulled(engine, registry)
    (top,) = (top for top in tops(engine) if (top / "bin").exists())
    for path in (top, *top.rglob("*")):
        os.chown(path, 7, 7, follow_symlinks=False)
    (checked,) = await engine.verify()
    (sentence,) = (flaw.reason for flaw in checked.flaws)
    assert re.fullmatch(r"of \d+ files the owner is 7:7, not 0:0", sentence), sentence
    (checked,) = await engine.verify(repair=True)
    assert [flaw.reason for flaw in checked.flaws] == ["it was found damaged before"]
    assert checked.repaired


async def test_a_layer_that_is_gone_is_unpacked_again(engine: Engine, registry: FakeRegistry) -> None:
    """All of it, its files or its record; until then the image is not said to be verified."""
    await pulled(engine, registry)
    before = trees(engine)
    for remove in (
        shutil.rmtree,
        lambda top: shutil.rmtree(top / "fs"),
        lambda top: flip(top / "layer.json", 0),
    ):
        top = next(engine.store.paths.layers.glob("*/*"))
        remove(top)
        (image,) = await engine.images()
        assert image.verified == "Blobs only"
        (checked,) = await engine.verify(repair=True)
        assert [flaw.part for flaw in checked.flaws] == ["layer"]
        assert (checked.repaired, checked.image.verified) == (True, "Yes")
        assert trees(engine) == before
    assert registry.requests == []


# --- blobs and documents -------------------------------------------------------------------


async def test_one_flipped_byte_of_any_blob_is_found_and_fetched_alone(
    engine: Engine, registry: FakeRegistry
) -> None:
    """Manifest, configuration or layer: one request, for it."""
    await pulled(engine, registry)
    before, index_before = trees(engine), engine.store.paths.index.read_bytes()
    blobs = sorted(engine.store.paths.blobs.glob("*/*"))
    contents = {path: path.read_bytes() for path in blobs}
    assert len(blobs) == 5
    for path in blobs:
        size = path.stat().st_size
        for at in (11, size - 1):
            flip(path, at)
            (checked,) = await engine.verify()
            assert [flaw.digest.hex for flaw in checked.flaws] == [path.name], at
            assert checked.flaws[0].reason == "its content is not what its digest says"
            assert checked.image.verified == "Damaged"
            assert registry.requests == []
            (checked,) = await engine.verify(repair=True)
            assert checked.repaired
            assert "it is missing" not in said(checked)[0]
            asked = [seen.path for seen in registry.requests if seen.path != "/v2/"]
            assert len(asked) == 1
            assert asked[0].endswith(f"sha256:{path.name}")
            registry.forget()
            assert path.read_bytes() == contents[path]
    assert sorted(engine.store.paths.blobs.glob("*/*")) == blobs
    assert trees(engine) == before
    assert engine.store.paths.index.read_bytes() == index_before
    assert (await engine.verify())[0].is_sound


async def test_a_flipped_bit_of_a_name_is_mended_and_named(engine: Engine, registry: FakeRegistry) -> None:
    """What the index is believed to say is what was written."""
    image, index, said = await pulled(engine, registry), engine.store.paths.index, list[object]()
    before = index.read_bytes()
    index.write_bytes(before.replace(b"/app:latest", b"/apq:latest"))
    (checked,) = await engine.verify(progress=said.append)
    assert (checked.is_sound, checked.image.names) == (True, image.names)
    assert Notice(f"index.json was damaged, and is mended: {image.name}") in said
    assert index.read_bytes() == before
    said.clear()
    await engine.verify(progress=said.append)
    assert not any(isinstance(event, Notice) for event in said)


@pytest.mark.parametrize("copy", ["sound", "ruined", "equally wrong"])
async def test_an_index_in_doubt_and_a_ruined_copy_are_told_once(
    engine: Engine, registry: FakeRegistry, copy: str
) -> None:
    """Nobody else looks at the copy before it is needed."""
    index, other, told = engine.store.paths.index, engine.store.paths.index_copy, list[str]()
    image = await pulled(engine, registry)

    async def verify() -> None:
        told.clear()
        await engine.verify(progress=lambda event: told.append(str(event)))

    wrong = index.read_bytes().replace(b"/app:latest", b"/apq:latest")
    if copy != "sound":
        other.write_bytes(b"{" if copy == "ruined" else wrong)
    if copy == "equally wrong":
        index.write_bytes(wrong)
    await verify()
    about = [text for text in told if "index" in text]
    assert len(about) == (copy != "sound")
    if copy == "equally wrong":
        assert f"names may be wrong: {str(image.name).replace('app', 'apq')}" in about[0]
    await verify()
    assert not any("index" in text for text in told)
    assert other.read_bytes() == index.read_bytes()


async def test_both_manifests_of_a_docker_image_are_checked(engine: Engine) -> None:
    """The one that was pulled, and the one that other tools read."""
    async with FakeRegistry() as registry:
        registry.add("app", "latest", image(layer(FILES, docker=True), docker=True))
        found = await pulled(engine, registry)
        for entry in (engine.store.images.entries()[0].listed, found.manifest.descriptor):
            flip(engine.store.paths.blob(entry.digest), 5)
            (checked,) = await engine.verify(repair=True)
            assert said(checked) == [
                f"manifest {entry.digest.short}: its content is not what its digest says"
            ]
            assert (checked.repaired, checked.image.verified) == (True, "Yes")


async def test_a_tag_that_moved_does_not_matter(engine: Engine, registry: FakeRegistry) -> None:
    """What is fetched is the image that is here, by its digest, also where it came out of an index."""
    registry.add("multi", "latest", index(APP, image(layer({"a": b"b"}), platform="linux/arm64")))
    found = await engine.pull(registry.reference("multi"))
    registry.add("multi", "latest", image(layer({"new": b"er"})))
    for digest in (found.manifest.digest, found.config.digest, found.manifest.layers[0].digest):
        engine.store.paths.blob(digest).unlink()
    (checked,) = await engine.verify([f"{registry.address}/multi"], repair=True)
    assert checked.repaired
    assert checked.image == found or checked.image.manifest == found.manifest
    assert checked.image.verified == "Yes"


async def test_a_blob_and_its_files_are_both_repaired(engine: Engine, registry: FakeRegistry) -> None:
    """The files can be checked when the blob is here again."""
    found = await pulled(engine, registry)
    before = trees(engine)
    flip(engine.store.paths.blob(found.manifest.layers[0].digest), 100)
    flip(engine.store.layers.files(found.config.diff_ids[0]) / "bin/tool", 100)
    (checked,) = await engine.verify(repair=True)
    assert [(flaw.part, flaw.path) for flaw in checked.flaws] == [("blob", ""), ("layer", "bin/tool")]
    assert (checked.repaired, trees(engine)) == (True, before)


# --- what cannot be repaired, and what is shared -------------------------------------------


async def test_what_the_registry_has_no_more_stays_damaged(engine: Engine, registry: FakeRegistry) -> None:
    """The error says why; another name of the image may lead to it all the same."""
    found = await pulled(engine, registry)
    blob = engine.store.paths.blob(found.manifest.layers[0].digest)
    flip(blob, 100)
    registry.script("GET", "/blobs/", status(404))
    (checked,) = await engine.verify(repair=True)
    assert isinstance(checked.error, RegistryError)
    assert (checked.is_sound, checked.image.verified) == (False, "Damaged")
    registry.forget()
    await engine.tag(found, registry.reference("gone"))
    await engine.tag(found, registry.reference("app"))
    (checked,) = await engine.verify([f"{registry.address}/gone"], repair=True)
    assert checked.repaired


async def test_an_image_without_a_name_is_repaired_from_what_is_here(
    engine: Engine, registry: FakeRegistry
) -> None:
    """Its files, not its blobs."""
    found = await pulled(engine, registry)
    await engine.store.images.untag(found.manifest.digest, found.names, keep=True)
    flip(engine.store.layers.files(found.config.diff_ids[0]) / "bin/tool", 100)
    (checked,) = await engine.verify(repair=True)
    assert checked.repaired
    flip(engine.store.paths.blob(found.manifest.layers[0].digest), 100)
    (checked,) = await engine.verify(repair=True)
    assert isinstance(checked.error, Irreparable)
    assert str(checked.error).endswith("nobody knows which registry it came from")


async def test_a_damaged_image_is_mended_by_a_pull_too(engine: Engine, registry: FakeRegistry) -> None:
    """Every part of it, and without `verify --repair` (S04)."""
    found = await pulled(engine, registry)
    before = trees(engine)
    flip(engine.store.layers.files(found.config.diff_ids[0]) / "bin/tool", 100)
    flip(engine.store.paths.blob(found.manifest.layers[1].digest), 100)
    await engine.verify()
    assert (await engine.pull(registry.reference("app"))).verified == "Yes"
    for digest in (found.manifest.digest, found.id):
        flip(engine.store.paths.blob(digest), 10)
        assert (await engine.image(f"{registry.address}/app")).verified == "Damaged"
        assert (await engine.pull(registry.reference("app"))).verified == "Yes"
    assert trees(engine) == before


async def test_what_images_share_is_checked_once_and_damages_all(
    engine: Engine, registry: FakeRegistry
) -> None:
    """And repaired once; the names that were asked for decide what is checked."""
    other = image(*APP.layers[:1], layer({"other": b"file"}))
    registry.add("other", "latest", other)
    found = await pulled(engine, registry)
    await engine.pull(registry.reference("other"))
    flip(engine.store.layers.files(found.config.diff_ids[0]) / "bin/tool", 100)
    seen: list[Checked] = []
    both = await engine.verify(on_checked=seen.append)
    assert seen == both
    assert [said(checked) for checked in both] == [said(both[0])] * 2
    assert [image.verified for image in await engine.images()] == ["Damaged"] * 2
    await engine.verify([f"{registry.address}/other"], repair=True)
    assert [image.verified for image in await engine.images()] == ["Yes"] * 2
    with pytest.raises(NoSuchImage):
        await engine.verify(["nothing"])


async def test_a_limit_is_no_damage(settings: Settings, registry: FakeRegistry) -> None:
    """It says that it could not be checked, and nothing is set aside."""
    async with Engine(settings) as engine:
        await pulled(engine, registry)
    narrow = Settings(root=settings.root, limits=Limits(entries=3, free_bytes=0))
    async with Engine(narrow) as engine:
        (checked,) = await engine.verify()
        assert isinstance(checked.error, LimitExceeded)
        assert (said(checked), checked.image.verified) == ([], "Yes")


async def test_a_layer_that_was_unpacked_for_others_is_not_judged(
    engine: Engine, registry: FakeRegistry
) -> None:
    """Its owners are not those that we would give; it is left as it is."""
    found = await pulled(engine, registry)
    record = engine.store.paths.layer(found.config.diff_ids[0]) / "layer.json"
    record.write_text(json.dumps({**json.loads(record.read_bytes()), "owners": "mapped 1:2:3"}))
    (checked,) = await engine.verify()
    assert isinstance(checked.error, Uncheckable)
    assert (checked.is_sound, said(checked), checked.image.verified) == (False, [], "Yes")


async def test_who_runs_on_a_damaged_layer_goes_on(engine: Engine, registry: FakeRegistry) -> None:
    """The files under a mount stay until nobody runs on them any more."""
    found = await pulled(engine, registry)
    diff_id = found.config.diff_ids[0]
    async with engine.store.containers.living(found, ("x",), name="one", remove=True):
        held = engine.store.layers.files(diff_id) / "bin/tool"
        with held.open("rb") as file:
            flip(held, 0)
            assert (await engine.verify(repair=True))[0].repaired
            assert os.fstat(file.fileno()).st_nlink == 1
        assert len(list(engine.store.paths.layers.glob("*/*.damaged"))) == 1
    engine.store.collect()
    assert list(engine.store.paths.layers.glob("*/*.damaged")) == []
    assert (await engine.verify())[0].is_sound


async def test_what_joins_layers_is_checked_as_well(engine: Engine) -> None:
    """A file below a link of a lower layer lies in the joint (usr-merge)."""
    base = layer_of(
        tars.directory(b"usr") + tars.directory(b"usr/lib") + tars.symlink(b"lib", b"usr/lib") + tars.END
    )
    what = image(base, layer({"lib/file": b"content"}))
    async with FakeRegistry() as registry:
        registry.add("app", "latest", what)
        await pulled(engine, registry)
        (joined,) = engine.store.paths.joints.glob("*/*/fs/usr/lib/file")
        before = timeless(joined.parents[2])
        flip(joined, 3)
        (checked,) = await engine.verify()
        assert [(flaw.path, flaw.reason) for flaw in checked.flaws] == [
            ("usr/lib/file", "its content is another")
        ]
        assert checked.image.verified == "Damaged"
        assert (await engine.verify(repair=True))[0].repaired
        assert timeless(joined.parents[2]) == before
        for ruin, reason in (
            (lambda: shutil.rmtree(joined.parents[3]), "it is missing"),
            (lambda: (joined.parents[3] / "joint.json").write_bytes(b"{"), "its record is damaged"),
        ):
            ruin()
            (checked,) = await engine.verify(repair=True)
            assert said(checked)[0].endswith(f"what joins it to those below: {reason}")
            assert (checked.repaired, joined.read_bytes()) == (True, b"content")


async def test_a_damaged_layer_is_unpacked_again_before_it_runs(
    engine: Engine, registry: FakeRegistry
) -> None:
    """Without the registry, for the blob is here."""
    found = await pulled(engine, registry)
    flip(engine.store.layers.files(found.config.diff_ids[0]) / "bin/tool", 100)
    await engine.verify()
    with pytest.raises(RunError):
        await engine.run(f"{registry.address}/app", ["/nothing"])
    assert (await engine.images())[0].verified == "Yes"
    assert registry.requests == []
