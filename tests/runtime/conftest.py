"""A small image of real programs, and ways to run it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from aiodocker_lite.runtime.ladder import probe
from tests.runtime import driver
from tests.runtime.driver import Outcome

HERE = Path(__file__).parent
PASSWD = "root:x:0:0:root:/root:/bin/sh\nbob:x:1000:1001::/home/bob:/bin/sh\n"
GROUP = "root:x:0:\nbob:x:1001:\nwheel:x:10:bob\naudio:x:29:bob,eve\n"

Run = Callable[..., Awaitable[Outcome]]
Caged = Callable[..., dict[str, Any]]


@pytest.fixture
def anyio_backend() -> str:
    """The event loop of asyncio; what needs another says so."""
    return "asyncio"


@pytest.fixture(scope="session")
def open_directory() -> Iterator[Path]:
    """A directory that everybody can enter and read, on a file system that holds overlays."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as path:
        Path(path).chmod(0o755)
        yield Path(path)


@pytest.fixture(scope="session")
def busybox() -> Path:
    """A static program that is a hundred others."""
    found = shutil.which("busybox")
    if found is None or b"/ld-" in Path(found).read_bytes()[:4096]:
        pytest.skip("needs a static busybox")
    return Path(found)


@pytest.fixture(scope="session")
def layer(open_directory: Path, busybox: Path) -> Path:
    """The directory of a layer with busybox and a few accounts; not to be changed."""
    root = open_directory / "layer"
    for name in ("bin", "etc", "tmp", "home"):
        (root / name).mkdir(parents=True)
    (root / "tmp").chmod(0o1777)
    shutil.copy(busybox, root / "bin" / "busybox")
    for name in subprocess.check_output([busybox, "--list"], text=True).split():
        if name != "busybox" and "/" not in name:
            (root / "bin" / name).symlink_to("busybox")
    (root / "etc" / "passwd").write_text(PASSWD)
    (root / "etc" / "group").write_text(GROUP)
    return root


@pytest.fixture
def isolated() -> None:
    """Skips where containers cannot have namespaces."""
    if not probe().is_isolated:
        pytest.skip("needs namespaces")


@pytest.fixture
def as_root(isolated: None) -> None:
    """Skips where this is not root with namespaces."""
    if os.geteuid() != 0:
        pytest.skip("needs uid 0")


@pytest.fixture
def run(tmp_path: Path, layer: Path, isolated: None) -> Run:
    """Run a command in a new container of the small image, with more layers on top if given."""
    count = 0

    async def run(*command: str, above: list[Path] | None = None, **more: Any) -> Outcome:
        nonlocal count
        count += 1
        return await driver.run([layer, *(above or [])], tmp_path / f"container{count}", command, **more)

    return run


@pytest.fixture
def script(run: Run) -> Run:
    """Run a shell script in a new container."""

    async def script(text: str, **more: Any) -> Outcome:
        return await run("/bin/sh", "-c", text, **more)

    return script


@pytest.fixture
def above(tmp_path: Path) -> Path:
    """An empty directory to be made a layer above the small image."""
    path = tmp_path / "above"
    path.mkdir()
    return path


@pytest.fixture(scope="session")
def layer_of_nobody(open_directory: Path, layer: Path) -> Path:
    """The same layer as an ordinary user has it in his store: everything is his."""
    copy = open_directory / "layer-of-nobody"
    shutil.copytree(layer, copy, symlinks=True)
    subprocess.check_call(["chown", "-R", "65534:65534", copy])
    return copy


@pytest.fixture
def caged(open_directory: Path, layer: Path, layer_of_nobody: Path, as_root: None) -> Iterator[Caged]:
    """Run a command in a container, by an engine in a process without certain rights."""
    with tempfile.TemporaryDirectory(dir=open_directory, ignore_cleanup_errors=True) as place:
        os.chmod(place, 0o777)  # noqa: PTH101 - a string, and everybody's on purpose

        def caged(rights: str, *command: str, above: list[str] | None = None, **job: Any) -> dict[str, Any]:
            lowest = layer_of_nobody if rights.startswith(("ordinary-user", "nothing")) else layer
            whole = {
                "layers": [str(lowest), *(above or [])],
                "container": f"{place}/container",
                "command": command,
                **job,
            }
            arguments = [sys.executable, str(HERE / "driver.py"), json.dumps(whole)]
            done = subprocess.run(
                [sys.executable, str(HERE / "cage.py"), rights, *arguments],
                capture_output=True, text=True, check=False, timeout=50,
            )  # fmt: skip
            assert done.returncode == 0, done.stderr
            answer: dict[str, Any] = json.loads(done.stdout)
            return answer

        yield caged
