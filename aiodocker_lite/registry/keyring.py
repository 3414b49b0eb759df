"""Which credential a repository gets, and where `login` keeps one: the order of all sources.

What was given for one command, else what the one chosen file says, else docker's file, else
podman's. In one file a helper is asked before the file's own entries, as docker does; namespaces
are found in every file, as podman does.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import anyio

from aiodocker_lite.errors import UnusableConfig
from aiodocker_lite.registry.authfiles import AuthFile, check_carried, default_files, docker_config
from aiodocker_lite.registry.credentials import Credential
from aiodocker_lite.registry.credhelpers import Helper
from aiodocker_lite.settings import Settings

_MEMORY = 60.0
"""Seconds for which the answer of a helper is good: a hundred pulls at once ask once."""


@dataclass(slots=True)
class _Answer:
    """What a helper said about one server, or what is wrong with it, and until when that counts."""

    lock: anyio.Lock = field(default_factory=anyio.Lock)
    credential: Credential | None = None
    problem: str = ""
    ends: float = float("-inf")


class Keyring:
    """The credentials of one engine. All methods raise UnusableConfig."""

    def __init__(self, settings: Settings, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._settings = settings
        self._clock = clock
        self._answers: dict[Helper, _Answer] = {}

    async def find(self, name: str) -> Credential | None:
        """The credential for a repository, named `registry/repository`, or for a registry.

        A file or helper that cannot be used is no reason to fail, for the repository may be
        public: then the credential is anonymous and its source says what is wrong. A file that
        somebody chose must be there and be good.
        """
        given = self._settings.creds.get(name.partition("/")[0])
        if given is not None:
            return Credential(*given, "--creds")
        if chosen := self._chosen():
            return await self._in_file(AuthFile.read(chosen, must_exist=True), name)
        problems = []
        for path in default_files():
            try:
                found = await self._in_file(AuthFile.read(path), name)
            except UnusableConfig as error:
                problems.append(str(error))
            else:
                if found is not None:
                    return found
        return Credential("", "", f"anonymous, for we {' and '.join(problems)}") if problems else None

    async def keep(self, registry: str, username: str, password: str) -> Path:
        """Keep a user name and a password, in the helper that the file names or else in the file.

        Returns the file. Raises InvalidOption too.
        """
        check_carried(username, password)
        file = AuthFile.read(self._home())
        helper = file.helper(registry)
        if helper is None:
            file.keep(registry, username, password)
        else:
            await helper.store(username, password)
            file.keep_mark(registry)
        file.write()
        return file.path

    async def forget(self, registry: str) -> bool:
        """Forget what is kept for a registry; False if there was nothing."""
        file = AuthFile.read(self._home())
        helper = file.helper(registry)
        known = helper is not None and await helper.erase()
        if file.drop(registry):
            file.write()
            return True
        return known

    def _chosen(self) -> Path | None:
        """The one file that somebody chose: `--authfile`, or ``REGISTRY_AUTH_FILE``."""
        variable = os.environ.get("REGISTRY_AUTH_FILE")
        return self._settings.authfile or (Path(variable) if variable else None)

    def _home(self) -> Path:
        """Where logins are kept."""
        return self._chosen() or docker_config()

    async def _in_file(self, file: AuthFile, name: str) -> Credential | None:
        helper = file.helper(name.partition("/")[0])
        found = await self._in_helper(helper) if helper else None
        return found or file.credential(name)

    async def _in_helper(self, helper: Helper) -> Credential | None:
        answer = self._answers.setdefault(helper, _Answer())
        async with answer.lock:
            if self._clock() >= answer.ends:
                try:
                    answer.credential, answer.problem = await helper.get(), ""
                except UnusableConfig as error:
                    answer.credential, answer.problem = None, error.reason
                answer.ends = self._clock() + _MEMORY
            if answer.problem:
                raise UnusableConfig(helper.source, answer.problem)
            return answer.credential
