"""A docker daemon of our own: Debian's, with a store of its own and without networks."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.fakes.processes import program


@contextmanager
def dockerd(directory: Path) -> Iterator[Callable[..., str | None]]:
    """Start it; yields its client, which gives None where docker fails."""
    short = Path(tempfile.mkdtemp(prefix="d"))  # a socket's path has at most 108 characters
    daemon = [
        program("dockerd"), f"--data-root={directory / 'docker'}", f"--exec-root={short}", f"--pidfile={short}/pid",
        f"--host=unix://{short}/s", "--storage-driver=vfs", "--iptables=false", "--bridge=none",
    ]  # fmt: skip

    def docker(*arguments: str) -> str | None:
        command = [program("docker"), f"--host=unix://{short}/s", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        return done.stdout.strip() if done.returncode == 0 else None

    with (short / "log").open("wb") as log, subprocess.Popen(daemon, stdout=log, stderr=log) as process:
        try:
            while docker("version") is None:
                assert process.poll() is None, (short / "log").read_text()
                time.sleep(0.1)
            yield docker
        finally:
            process.terminate()
    with suppress(FileNotFoundError):
        shutil.rmtree(short)
