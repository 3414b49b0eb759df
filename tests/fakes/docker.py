"""Daemons of our own, docker's and the one below it: Debian's, each with a store of its own and no networks."""

from __future__ import annotations

import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path

from tests.fakes.processes import program


@dataclass(frozen=True)
class Client:
    """What talks to a daemon."""

    command: list[str]

    def __call__(self, *arguments: str) -> str | None:
        """What it says, or None where it fails."""
        done = self.run(*arguments)
        return done.stdout.strip() if done.returncode == 0 else None

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """The same with all there is to know."""
        return subprocess.run([*self.command, *arguments], capture_output=True, text=True, check=False)


class Socket(HTTPConnection):
    """Docker's own protocol, for who asks much: a process of its client takes 80 ms."""

    def __init__(self, docker: Client) -> None:
        super().__init__("docker")
        self._path = docker.command[1].removeprefix("--host=unix://")

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self._path)

    def ask(self, method: str, path: str, body: bytes = b"", kind: str = "application/json") -> bytes | None:
        """What it answers, or None where it says that something failed."""
        self.request(method, path, body, {"Content-Type": kind})
        answer = self.getresponse()
        content = answer.read()
        return content if answer.status < 300 and b'"errorDetail"' not in content else None


@contextmanager
def dockerd(directory: Path, *options: str) -> Iterator[Client]:
    """Start docker; yields its client."""
    short = Path(tempfile.mkdtemp(prefix="d"))  # a socket's path has at most 108 characters
    daemon = [
        program("dockerd"), f"--data-root={directory / 'docker'}", f"--exec-root={short}", f"--pidfile={short}/pid",
        f"--host=unix://{short}/s", "--storage-driver=vfs", "--iptables=false", "--bridge=none", *options,
    ]  # fmt: skip
    with _running(daemon, [program("docker"), f"--host=unix://{short}/s"], short) as docker:
        yield docker


@contextmanager
def containerd(directory: Path) -> Iterator[Client]:
    """Start containerd, whose archives are those of a docker that keeps its images in it; yields `ctr`."""
    short = Path(tempfile.mkdtemp(prefix="c"))
    lines = (
        "version = 2",
        'disabled_plugins = ["io.containerd.grpc.v1.cri"]',
        f'root = "{directory / "containerd"}"',
        f'state = "{short}/state"',
        f'[grpc]\naddress = "{short}/s"',
    )
    (short / "config.toml").write_text("\n".join(lines))
    daemon = [program("containerd"), f"--config={short}/config.toml"]
    with _running(daemon, [program("ctr"), f"--address={short}/s"], short) as ctr:
        yield ctr


@contextmanager
def _running(daemon: list[str], command: list[str], short: Path) -> Iterator[Client]:
    client = Client(command)
    with (short / "log").open("wb") as log, subprocess.Popen(daemon, stdout=log, stderr=log) as process:
        try:
            while client("version") is None:
                assert process.poll() is None, (short / "log").read_text()
                time.sleep(0.1)
            yield client
        finally:
            process.terminate()
    _unmount_below(short)
    with suppress(FileNotFoundError):
        shutil.rmtree(short)


def _unmount_below(directory: Path) -> None:
    """What a daemon leaves mounted, such as the network namespace of containers on the host's network."""
    mounts = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    for mount in reversed(mounts):
        if Path(mount).is_relative_to(directory):
            subprocess.run([program("umount"), "-l", mount], check=True)
