"""Network namespaces to connect, of root's and of an ordinary user's."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from aiodocker_lite.network.connection import Namespace


@pytest.fixture
def anyio_backend() -> str:
    """The event loop of asyncio."""
    return "asyncio"


@contextmanager
def namespace(place: Path, *words: str, is_of_user: bool = False) -> Iterator[Namespace]:
    """A network namespace with a process in it, which says its number."""
    command = ["unshare", *words, "--net", "sh", "-c", "ip link set lo up; echo $$; exec sleep 1000"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            pid = int(process.stdout.readline())
            yield Namespace(pid, f"test-{os.getpid()}", is_of_user, place)
        finally:
            process.kill()


def inside(where: Namespace, *command: str, timeout: float = 20) -> str:
    """What a command says in it."""
    enter = ["nsenter", "--net", "--target", str(where.pid)]
    if where.is_of_user:
        enter[1:1] = ["--user", "--preserve-credentials"]
    return subprocess.run(
        [*enter, *command], check=True, capture_output=True, text=True, timeout=timeout
    ).stdout


@contextmanager
def web_server(where: Namespace, text: str, port: int) -> Iterator[None]:
    """An HTTP server in it that answers with a text to everything."""
    answer = f"HTTP/1.0 200 OK\r\nContent-Length: {len(text)}\r\n\r\n{text}"
    code = (
        "import socketserver,sys\n"
        "class H(socketserver.StreamRequestHandler):\n"
        "    def handle(self):\n"
        "        while self.rfile.readline().strip(): pass\n"
        f"        self.wfile.write({answer!r}.encode())\n"
        "socketserver.TCPServer.allow_reuse_address=True\n"
        f"s=socketserver.TCPServer(('', {port}), H)\n"
        "print('up', flush=True); s.serve_forever()\n"
    )
    enter = ["nsenter", "--net", "--target", str(where.pid)]
    if where.is_of_user:
        enter[1:1] = ["--user", "--preserve-credentials"]
    with subprocess.Popen([*enter, "python3", "-c", code], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "up\n"
            yield
        finally:
            process.kill()


def fetch(url: str, *words: str) -> str:
    """What curl gets."""
    return subprocess.run(
        ["curl", "--silent", "--show-error", "--fail", "--max-time", "5", *words, url],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
