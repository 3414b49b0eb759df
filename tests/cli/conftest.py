"""Stores for the command line, empty or with an image, and images for it to pull."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

import pytest

from aiodocker_lite.testing.images import image, index, layer, noise, write_layout
from tests.fakes.commands import Adl, Done, Names, Start, command, environment, polite, run_command
from tests.fakes.forks import Forks
from tests.fakes.processes import RealRegistry, program

PASSWD = b"root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000::/home:/bin/sh\n"
APPLETS = ("cat", "env", "hostname", "id", "sh", "sleep", "stty", "true", "tty")


@pytest.fixture(scope="session")
def names(open_registry: RealRegistry, tmp_path_factory: pytest.TempPathFactory) -> Names:
    """Three images, pushed once."""
    busybox = Path(program("busybox")).read_bytes()
    binaries = {f"bin/{applet}": busybox for applet in APPLETS}
    shell = layer({"bin/": b"", **binaries, "etc/": b"", "tmp/": b""}, mode=0o755)
    config = {"Cmd": ["/bin/sh", "-c", "echo default"], "Env": ["PATH=/bin", "FROM_IMAGE=yes"]}
    box = image(shell, layer({"etc/passwd": PASSWD, "etc/note": b"a note\n"}), config=config)
    other = image(shell, layer({"etc/other": noise(10_000)}), config=config)
    foreign = image(layer({"only/": b"", "only/here": b"arm"}), platform="linux/arm64")
    multi = index(box, foreign, attestation=True)
    layout = write_layout(tmp_path_factory.mktemp("layout"), {"box": box, "other": other, "multi": multi})
    pushed = {name: open_registry.push(layout, f"cli/{name}", name) for name in ("box", "other", "multi")}
    return Names(open_registry, **pushed)


@pytest.fixture(scope="session")
def stocked(names: Names, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with `box` in it, for tests that leave it as it is."""
    root = tmp_path_factory.mktemp("stocked") / "store"
    done = run_command(command(root, "pull", names.box), environment(root.parent))
    assert done.code == 0, done.err
    return root


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Where the store of a test is."""
    return tmp_path / "store"


def on(forks: Forks, root: Path, home: Path) -> Adl:
    """The command line on this store."""

    def adl(*words: str, stdin: bytes | int | None = None, env: Mapping[str, str] | None = None) -> Done:
        environ = environment(home, **(env or {}))
        if not forks.can(environ):
            return run_command(command(root, *words), environ, stdin)
        return polite(*forks.run(["--root", str(root), *words], environ, stdin))

    return adl


@pytest.fixture
def adl(forked: Forks, root: Path, tmp_path: Path) -> Adl:
    """The command line on a store that is new."""
    return on(forked, root, tmp_path)


@pytest.fixture
def box(forked: Forks, stocked: Path, tmp_path: Path) -> Adl:
    """The command line on the store that has `box`; leave nothing there."""
    return on(forked, stocked, tmp_path)


@pytest.fixture
def own_box(stocked: Path, root: Path, adl: Adl) -> Adl:
    """The command line on a copy of that store, to be changed."""
    subprocess.run(["cp", "-a", str(stocked), str(root)], check=True)
    return adl


@pytest.fixture
def start(stocked: Path, tmp_path: Path) -> Iterator[Start]:
    """Commands that go on while the test does."""
    with ExitStack() as running:

        def begin(
            *words: str, root: Path = stocked, stdin: int = subprocess.DEVNULL
        ) -> subprocess.Popen[str]:
            process = running.enter_context(
                subprocess.Popen(
                    command(root, *words),
                    stdin=stdin,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    env=environment(tmp_path),
                    text=True,
                )
            )
            running.callback(end, process)
            return process

        def end(process: subprocess.Popen[str]) -> None:
            process.kill()
            assert process.stderr is not None
            assert "Traceback" not in process.stderr.read()

        yield begin
