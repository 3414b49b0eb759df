"""Archives of strangers, loaded: one sentence that says what was seen, or the image that it is."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from aiodocker_lite import Engine, Settings
from aiodocker_lite.errors import ContentError
from tests.cases.hostile_archives import (
    AN_OCI,
    DOCKER,
    GOOD,
    LAYER,
    OCI_LAYER,
    ONE,
    WHOLE,
    Case,
    hostile_archives,
)
from tests.fakes.archives import Files, write_tree
from tests.fakes.stores import flaws, visible

CASES = hostile_archives()


@pytest.fixture(scope="module")
async def engine(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Engine]:
    """One store for all of them: what is loaded is removed again."""
    async with Engine(Settings(root=tmp_path_factory.mktemp("hostile") / "store", workers=1)) as engine:
        engine.store.create()
        yield engine


async def refuses(engine: Engine, source: Path | io.BytesIO, sentence: str, looks: str) -> None:
    before = visible(engine.settings.root)
    with pytest.raises(ContentError) as caught:
        await engine.load(source)
    said = [str(caught.value), *getattr(caught.value, "__notes__", [])]
    assert sentence in said[0]
    assert any(looks in line for line in said), said
    assert all(line.isprintable() and len(line) < 500 for line in said)
    assert visible(engine.settings.root) == before
    assert flaws(engine.settings.root) == []


async def accepts(engine: Engine, source: Path | io.BytesIO, id: str) -> None:
    found = await engine.load(source)
    assert id in [str(each.id) for each in found] or not (id or found)
    for each in found:
        assert each.verified == "Yes"
        await engine.remove(each.id.hex, force=True)
    assert await engine.images() == []
    assert flaws(engine.settings.root) == []


def test_the_table_has_every_case_of_the_catalogue() -> None:
    """And most of them in both directions."""
    assert {case.about for case in CASES} == {f"A{number:02}" for number in range(1, 13)}
    assert len(CASES) == len({case.name for case in CASES}) > 90
    assert len({case.about for case in CASES if not case.sentence}) > 8


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_an_archive_of_a_stranger(engine: Engine, tmp_path: Path, case: Case) -> None:
    """The same from a file and from a stream; nothing is left of what was refused, and nothing is written outside."""
    (place := tmp_path / "place").mkdir()
    (path := place / "x.tar").write_bytes(case.content)
    for source in (path, io.BytesIO(case.content)):
        if case.sentence:
            await refuses(engine, source, case.sentence, case.looks)
        else:
            await accepts(engine, source, case.id)
    assert sorted(tmp_path.rglob("*")) == [place, path]


def outside(tmp_path: Path, content: bytes) -> Path:
    (secret := tmp_path / "secret").write_bytes(content)
    return secret


def link(target: str | None) -> Callable[[Path, Path, bytes], None]:
    """In the place of a file: a link, to the file's content outside if there is no target."""

    def put(top: Path, path: Path, content: bytes) -> None:
        (top / "kept").write_bytes(content)
        path.symlink_to(outside(top.parent, content) if target is None else target)

    return put


DIRECTORIES = {
    "link-inside": (WHOLE, OCI_LAYER, link("../../kept"), "", ""),
    "link-outside": (WHOLE, OCI_LAYER, link("../../../secret"), "is a link that leads outside of it", AN_OCI),
    "link-to-a-file-outside": (WHOLE, OCI_LAYER, link(None), "is a link that leads outside of it", AN_OCI),
    "link-to-etc": (WHOLE, OCI_LAYER, link("/etc/passwd"), "is a link that leads outside of it", AN_OCI),
    "link-to-itself": (WHOLE, OCI_LAYER, link(Path(OCI_LAYER).name), "is a link that leads outside of it", AN_OCI),
    "index-is-a-link-outside": (WHOLE, "index.json", link(None), "is a link that leads outside of it", AN_OCI),
    "classic-link-inside": (GOOD, LAYER, link("../kept"), "", ""),
    "classic-link-outside": (GOOD, LAYER, link(None), "is a link that leads outside of it", DOCKER),
    "manifest-is-a-link-outside": (GOOD, "manifest.json", link(None), "is a link that leads outside of it", DOCKER),
}  # fmt: skip


@pytest.mark.parametrize("name", DIRECTORIES)
async def test_a_directory_of_a_stranger(engine: Engine, tmp_path: Path, name: str) -> None:
    """What its links lead to outside is not read, even where it would be the right bytes (A09)."""
    files, path, put, sentence, looks = DIRECTORIES[name]
    top = write_tree(tmp_path / "top", Files(files))
    content = (top / path).read_bytes()
    (top / path).unlink()
    put(top, top / path, content)
    if sentence:
        await refuses(engine, top, sentence, looks)
    else:
        await accepts(engine, top, ONE.id)
