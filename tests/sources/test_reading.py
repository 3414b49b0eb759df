"""Which kind a file is, and what is said of files that are none."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiodocker_lite.errors import InvalidOption, InvalidSource
from aiodocker_lite.sources import KINDS, read

COMPOSE = "services: {a: {image: seen}}"
PODS = "apiVersion: v1\nkind: Pod\nspec: {containers: [{image: seen}]}"
DOCKERFILE = "# a comment\nARG X\nFROM seen\n"


def names(path: Path | str, kind: str | None = None) -> list[str]:
    return [one.reference.familiar for one in read(str(path), kind)]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("compose.yaml", COMPOSE), ("compose.prod.yml", COMPOSE), ("docker-compose.yml", COMPOSE), ("docker-compose.dev.yaml", COMPOSE),
        ("stack.yml", COMPOSE), ("anything", f"# c\n{COMPOSE}"),
        ("Dockerfile", DOCKERFILE), ("Dockerfile.dev", DOCKERFILE), ("web.Dockerfile", DOCKERFILE), ("dockerfile", DOCKERFILE),
        ("Containerfile", DOCKERFILE), ("anything", DOCKERFILE),
        ("pod.yaml", PODS), ("pod.json", '{"apiVersion": "v1", "spec": {"containers": [{"image": "seen"}]}}'),
        ("anything", f"---\n# Source: x\n{PODS}"), ("anything", PODS), ("anything", '{"apiVersion": 1, "containers": [{"image": "seen"}]}'),
        ("images.txt", "# c\nseen\n"), ("anything", "seen:latest\n"), ("images.lst", "seen linux/arm64"),
    ],
)  # fmt: skip
def test_the_kind_is_seen_from_the_name_and_else_from_the_text(tmp_path: Path, name: str, text: str) -> None:
    """Nobody has to say it for files that are called and look as usual."""
    (tmp_path / name).write_text(text)
    assert names(tmp_path / name) == ["seen:latest"]


def test_somebody_who_knows_better_says_so(tmp_path: Path) -> None:
    """The kind that is given decides, and a wrong one is told those there are."""
    (tmp_path / "Dockerfile.txt").write_text("seen\n")
    assert names(tmp_path / "Dockerfile.txt", "list") == ["seen:latest"]
    (tmp_path / "compose.yaml").write_text(PODS)
    assert names(tmp_path / "compose.yaml", "kubernetes") == ["seen:latest"]
    with pytest.raises(InvalidOption, match="'helm' is none of list, compose, kubernetes, dockerfile"):
        read("x", "helm")


def test_a_directory_without_a_project_is_its_kubernetes_files(tmp_path: Path) -> None:
    """In the order of their names, as kubectl reads it; other files do not count."""
    (tmp_path / "2.yaml").write_text(PODS.replace("seen", "second"))
    (tmp_path / "1.json").write_text('{"containers": [{"image": "first"}]}')
    (tmp_path / "README.md").write_text("no")
    (tmp_path / "sub.yaml").mkdir()
    assert names(tmp_path) == ["first:latest", "second:latest"]
    with pytest.raises(InvalidSource, match="is a directory without"):
        read(str(tmp_path / "sub.yaml"))


@pytest.mark.parametrize("kind", KINDS)
def test_a_pipe_is_read_once(tmp_path: Path, kind: str) -> None:
    """As a shell makes one of `<(helm template …)`."""
    text = {"list": "seen", "compose": COMPOSE, "kubernetes": PODS, "dockerfile": DOCKERFILE}[kind]
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_text, args=(text,))
    writer.start()
    assert names(pipe) == ["seen:latest"]
    writer.join()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\x7fELF\x02\x01\x01\0", "is no text: it has a zero byte"),
        (b"alpine\n\xff\xfe", "is no text: byte 7 is not UTF-8"),
        (b"\x1f\x8b\x08" * 9, "is no text: byte 1 is not UTF-8"),
        (b"replicaCount: 1\nimage: {tag: x}\n", "is of no kind that is known; say which with --kind"),
        (b"alpine\n" * 200_000, "is larger than 1 MiB"),
        (b"# " + b"x" * (33 << 20), "is larger than 32 MiB"),
        (b"[" * 1_000_000, "is no YAML"),
    ],
)
def test_what_is_no_source_is_one_sentence_soon(tmp_path: Path, data: bytes, message: str) -> None:
    """Binary, huge, deep, or of another kind."""
    (tmp_path / "x").write_bytes(data)
    began = time.monotonic()
    with pytest.raises(InvalidSource) as caught:
        read(str(tmp_path / "x"))
    assert str(caught.value).startswith(f"{tmp_path}/x: ")
    assert message in str(caught.value)
    assert time.monotonic() - began < 5


def test_a_file_that_cannot_be_read_is_said_so(tmp_path: Path) -> None:
    """What the system says of it, and which one it is."""
    for path in (
        f"{tmp_path}/none",
        f"{tmp_path}/{'n' * 300}",
        f"{tmp_path}/\0",
        f"{tmp_path}/none/compose.yaml",
    ):
        with pytest.raises(InvalidSource) as caught:
            read(path)
        assert "\n" not in str(caught.value)


def test_nothing_found_is_noted(tmp_path: Path) -> None:
    """It is no error: a chart may have no pods."""
    (tmp_path / "x.yaml").write_text("apiVersion: v1\nkind: ConfigMap")
    notes: list[str] = []
    assert read(str(tmp_path / "x.yaml"), note=notes.append) == []
    assert notes == [f"{tmp_path}/x.yaml names no image"]


@given(st.binary(max_size=300) | st.text(max_size=300).map(str.encode), st.sampled_from([None, *KINDS]))
def test_no_bytes_are_a_traceback(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, kind: str | None
) -> None:
    """Images, or InvalidSource."""
    path = tmp_path_factory.mktemp("b") / "file"
    path.write_bytes(data)
    try:
        read(str(path), kind)
    except InvalidSource as error:
        assert str(error).isprintable()


def test_yaml_is_loaded_where_yaml_is_read(tmp_path: Path) -> None:
    """A list costs no parser of anything else."""
    (tmp_path / "l").write_text("alpine")
    code = f"import sys; from aiodocker_lite.sources import read; read({str(tmp_path / 'l')!r}); print('yaml' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "False\n"
