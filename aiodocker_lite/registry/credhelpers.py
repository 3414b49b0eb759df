"""Credential helpers: programs called `docker-credential-NAME`, asked over standard input and output.

Protocol of docker-credential-helpers: `get`, `store`, `erase`, `list`; a plain sentence and exit
code 1 for a failure.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from contextlib import suppress
from dataclasses import dataclass

import anyio
from anyio.abc import Process

from aiodocker_lite.errors import UnusableConfig
from aiodocker_lite.registry.credentials import Credential, parse_object

SECONDS = 60.0
"""How long a helper may take; some ask a person for a passphrase."""
OUTPUT_MAX = 1 << 20
_TOKEN_USER = "<token>"
"""The user name that says: the secret is an identity token."""
_NOTHING = ("credentials not found", "no credentials username")
_SENTENCE_MAX = 200


@dataclass(frozen=True, slots=True)
class Helper:
    """A helper by its name, for one server. All methods raise UnusableConfig."""

    name: str
    server: str
    named_by: str
    """Which line of which file, for messages."""

    @property
    def source(self) -> str:
        """For messages."""
        return f"docker-credential-{self.name} ({self.named_by})"

    async def get(self) -> Credential | None:
        """What the helper has for the server, or None."""
        answer = await self._ask("get", self.server)
        if answer is None:
            return None
        found = parse_object(answer)[0] or {}
        username, secret = found.get("Username"), found.get("Secret")
        if not isinstance(username, str) or not isinstance(secret, str):
            raise UnusableConfig(self.source, "its answer is no user name and secret")
        if not username or not secret:
            return None
        if username == _TOKEN_USER:
            return Credential("", "", self.source, identity_token=secret)
        return Credential(username, secret, self.source)

    async def store(self, username: str, password: str) -> None:
        """Have the helper keep a user name and a password."""
        said = json.dumps({"ServerURL": self.server, "Username": username, "Secret": password})
        await self._ask("store", said, secret=password)

    async def erase(self) -> bool:
        """Have the helper forget the server; False if it knew nothing."""
        # Some call it a failure to be asked for what they do not have, each in its own words.
        known = parse_object(await self._ask("list", "") or b"")[0] or {}
        if self.server not in known:
            return False
        await self._ask("erase", self.server)
        return True

    async def _ask(self, action: str, said: str, secret: str = "") -> bytes | None:
        """The output; None where there is nothing to get."""
        try:
            with anyio.fail_after(SECONDS):
                status, output = await self._run(action, said.encode())
        except TimeoutError:
            raise UnusableConfig(self.source, f"it gives no answer within {SECONDS:g} seconds") from None
        except OSError as error:
            raise UnusableConfig(self.source, f"it cannot be executed: {error.strerror}") from error
        if len(output) > OUTPUT_MAX:
            raise UnusableConfig(self.source, f"its answer is larger than {OUTPUT_MAX} bytes")
        if status == 0:
            return output
        sentence = _sentence(output, secret)
        if action in ("get", "list") and any(words in sentence.lower() for words in _NOTHING):
            return None
        raise UnusableConfig(self.source, f"'{action}' failed: {sentence or f'exit code {status}'}")

    async def _run(self, action: str, said: bytes) -> tuple[int, bytes]:
        command = [self._path(), action]
        answer, its = os.pipe()
        try:
            os.set_blocking(answer, False)
            try:
                # What it writes to standard error is for whoever wrote it, and may be anything.
                process = await anyio.open_process(command, stdout=its, stderr=subprocess.DEVNULL)
            finally:
                os.close(its)
            async with process:
                try:
                    return await _exchange(process, said, answer)
                finally:
                    with suppress(ProcessLookupError):  # it has ended
                        process.kill()
        finally:
            os.close(answer)

    def _path(self) -> str:
        """Its absolute path: what lies in the directory somebody is in is not what they installed."""
        program = f"docker-credential-{self.name}"
        directories = [d for d in os.environ.get("PATH", os.defpath).split(os.pathsep) if d.startswith("/")]
        path = shutil.which(program, path=os.pathsep.join(directories))
        if path is None:
            raise UnusableConfig(self.source, "there is no such program on PATH")
        return path


async def _exchange(process: Process, said: bytes, answer: int) -> tuple[int, bytes]:
    """Say it, and read the answer until the helper has ended: what it started may keep the pipe open for long."""
    assert process.stdin is not None
    output = bytearray()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_follow, process, answer, output)
        with suppress(anyio.BrokenResourceError):  # some do not read what they do not need
            await process.stdin.send(said)
            await process.stdin.aclose()
        status = await process.wait()
        tasks.cancel_scope.cancel()
    _take(answer, output)
    return status, bytes(output)


async def _follow(process: Process, answer: int, output: bytearray) -> None:
    while _take(answer, output):
        await anyio.wait_readable(answer)
    if len(output) > OUTPUT_MAX:
        process.kill()


def _take(answer: int, output: bytearray) -> bool:
    """What is there now, not much more of it than is allowed; whether there can be more."""
    with suppress(BlockingIOError):
        while len(output) <= OUTPUT_MAX:
            if not (chunk := os.read(answer, 1 << 16)):
                return False
            output += chunk
        return False
    return True


def _sentence(output: bytes, secret: str) -> str:
    """The first line of what a helper says about a failure; nothing if that may not be shown."""
    line = output.decode(errors="replace").strip().partition("\n")[0]
    return "" if "{" in line or (secret and secret in line) else line[:_SENTENCE_MAX]
