"""The command line as forks of one process that has begun it: an interpreter and what all verbs import start once.

What a verb imports itself, its own module first, each fork imports anew.
"""

from __future__ import annotations

import gc
import json
import os
import select
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.fakes.processes import SERVERS

_REPOSITORY = Path(__file__).parents[2]
_NUMBER = struct.Struct("=i")
_OWN = ("LANG", "LC_", "PYTHON")
"""Variables that an interpreter looks at when it starts begin so."""


class Forks:
    """A process that forks a command whenever it is asked to."""

    def __init__(self, requests: socket.socket) -> None:
        self._requests = requests

    def can(self, env: Mapping[str, str]) -> bool:
        """Whether a fork is as good as a new interpreter."""
        return not any(name.startswith(_OWN) for name in env) and "WHOLE_TABLES" not in os.environ

    def start(
        self, words: list[str], env: Mapping[str, str], stdin: int | None = None, cwd: Path | None = None
    ) -> Fork:
        """Start a command, or after `-c` a program; without `stdin` what is written for it arrives by a pipe."""
        source, out, err, status = (os.pipe() for _ in range(4))
        given = source[0] if stdin is None or stdin < 0 else stdin
        request = json.dumps({"words": words, "env": dict(env), "cwd": cwd and str(cwd)})
        socket.send_fds(self._requests, [request.encode()], [given, out[1], err[1], status[1]])
        for number in (source[0], out[1], err[1], status[1]):
            os.close(number)
        return Fork(_number(status[0]), source[1], out[0], err[0], status[0])

    def run(
        self,
        words: list[str],
        env: Mapping[str, str],
        stdin: bytes | int | None = None,
        cwd: Path | None = None,
        timeout: float = 50,
    ) -> tuple[int, bytes, bytes]:
        """The exit code and both streams of a command, which ends when nobody can write in these any more.

        Raises TimeoutError.
        """
        fork = self.start(words, env, stdin if isinstance(stdin, int) else None, cwd)
        with ThreadPoolExecutor(3) as pool:
            pool.submit(_write, fork.stdin, stdin if isinstance(stdin, bytes) else b"")
            out, err = pool.submit(_read, fork.stdout), pool.submit(_read, fork.stderr)
            if not select.select([fork.status], [], [], timeout)[0]:
                os.kill(fork.pid, signal.SIGKILL)
                raise TimeoutError(f"{words} has not ended after {timeout} s")
            return fork.wait(), out.result(), err.result()


@dataclass(frozen=True)
class Fork:
    """A command that runs, with our ends of its pipes, which are to be closed."""

    pid: int
    stdin: int
    stdout: int
    stderr: int
    status: int

    def wait(self) -> int:
        """Its exit code; to be asked for once."""
        try:
            return _number(self.status)
        finally:
            os.close(self.status)


def _number(pipe: int) -> int:
    (number,) = _NUMBER.unpack(os.read(pipe, _NUMBER.size))
    return int(number)


def _write(number: int, content: bytes) -> None:
    with suppress(BrokenPipeError), os.fdopen(number, "wb") as file:
        file.write(content)


def _read(number: int) -> bytes:
    with os.fdopen(number, "rb") as file:
        return file.read()


@contextmanager
def forks(env: Mapping[str, str], *cage: str) -> Iterator[Forks]:
    """Start that process, or have a program start it that takes rights away."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        process = subprocess.Popen(
            [*cage, sys.executable, "-m", "tests.fakes.forks", str(theirs.fileno())],
            cwd=_REPOSITORY,
            env=dict(env),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            pass_fds=[theirs.fileno()],
        )
    SERVERS.add(process.pid)
    try:
        with process, ours:
            yield Forks(ours)
    finally:
        SERVERS.discard(process.pid)


# --- in that process -----------------------------------------------------------------------


def _serve(requests: socket.socket) -> bool:
    """Fork until nobody asks any more; True in a fork, which is to run the command line."""
    running: dict[int, tuple[int, int]] = {}
    poll = select.poll()
    poll.register(requests, select.POLLIN)
    while True:
        for ready, _ in poll.poll():
            if ready != requests.fileno():
                poll.unregister(ready)
                pid, status = running.pop(ready)
                code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
                os.write(status, _NUMBER.pack(code))
                os.close(status)
                os.close(ready)
                continue
            request, given, _, _ = socket.recv_fds(requests, 1 << 20, 4)
            if not request:
                return False
            pid = os.fork()
            if pid == 0:
                requests.detach()
                _become(json.loads(request), given)
                return True
            for number in given[:3]:
                os.close(number)
            os.write(given[3], _NUMBER.pack(pid))
            ended = os.pidfd_open(pid)
            running[ended] = pid, given[3]
            poll.register(ended, select.POLLIN)


def _become(request: Any, given: list[int]) -> None:
    """Have the streams, the words and the surroundings of a command, and nothing else open."""
    for number, other in enumerate(given[:3]):
        os.dup2(other, number)
    os.closerange(3, 1 << 16)
    sys.stdin = open(0, errors="surrogateescape", closefd=False)  # noqa: SIM115
    sys.stdout = open(1, "w", errors="surrogateescape", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", 1, errors="backslashreplace", closefd=False)  # noqa: SIM115
    sys.argv[1:] = request["words"]
    os.environ.clear()
    os.environ.update(request["env"])
    if request["cwd"] is not None:
        os.chdir(request["cwd"])


def main() -> None:
    import anyio._backends._asyncio  # noqa: F401
    import uvloop  # noqa: F401

    from aiodocker_lite.cli import app, exits, session, verbs  # noqa: F401
    from aiodocker_lite.registry.lean import import_aiohttp

    import_aiohttp()
    gc.freeze()
    if not _serve(socket.socket(fileno=int(sys.argv[1]))):
        return
    if sys.argv[1] == "-c":
        del sys.argv[0]
        exec(sys.argv.pop(1), {"__name__": "__main__"})
    else:
        app.main()


if __name__ == "__main__":
    main()
