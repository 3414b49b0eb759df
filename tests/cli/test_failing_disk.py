"""A disk on which already a look at a name fails, as on one that was shut down: strace fails these calls."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fakes.commands import Done, Names, command, environment, run_command
from tests.fakes.processes import program


def ran(root: Path, failing: Path, *words: str) -> Done:
    """A command for which every stat(2) of one path says EIO."""
    strace = [program("strace"), "-f", "-qq", "-o", os.devnull, "-P", str(failing)]
    argv = [*strace, "-e", "inject=%%stat:error=EIO", *command(root, *words)]
    return run_command(argv, environment(root.parent))


def unpacked(root: Path) -> Path:
    return next((root / "layers/sha256").iterdir()) / "fs"


def partial(root: Path) -> Path:
    """What would come of a blob that is not here."""
    return root / "ingest" / f"sha256-{max((root / 'blobs/sha256').iterdir(), key=_size).name}"


def index(root: Path) -> Path:
    return root / "index.json"


def ended(root: Path) -> Path:
    return next((root / "containers").iterdir()) / "config.json"


def _size(path: Path) -> int:
    return path.stat().st_size


@pytest.mark.parametrize(
    ("failing", "words", "sentence"),
    [
        (unpacked, ["images"], "cannot read the store"),
        (partial, ["load", "-i", "saved.tar"], "cannot write to the store"),
        (index, ["tag", "box", "other"], "cannot write to the store"),
        (ended, ["run", "--rm", "box", "true"], "cannot write to the store"),
    ],
    ids=["images", "load", "tag", "run"],
)
def test_a_name_that_cannot_be_looked_at_is_an_error_of_the_store(
    names: Names, tmp_path: Path, failing: Callable[[Path], Path], words: list[str], sentence: str
) -> None:
    """With a sentence, and no traceback."""
    root = tmp_path / "store"
    env = environment(tmp_path)
    saved = str(tmp_path / "saved.tar")
    for prepared in (["run", names.box, "true"], ["tag", names.box, "box"], ["save", "-o", saved, "box"]):
        assert run_command(command(root, *prepared), env).code == 0
    path = failing(root)
    if words[0] == "load":
        assert run_command(command(root, "rm", ended(root).parent.name), env).code == 0
        assert run_command(command(root, "prune", "-a", "-f"), env).code == 0
    done = ran(root, path, *[saved if word == "saved.tar" else word for word in words])
    assert done.code == (125 if words[0] == "run" else 1)
    assert done.sentence.startswith(sentence), done.err
