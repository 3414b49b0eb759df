"""The files that hold credentials: docker's `config.json` and podman's `auth.json`, which look alike.

Docker's "Configuration files", containers-auth.json(5).
"""

from __future__ import annotations

import base64
import json
import os
import re
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiodocker_lite.errors import InvalidOption, UnusableConfig
from aiodocker_lite.registry.credentials import Credential, parse_object
from aiodocker_lite.registry.credhelpers import Helper

HUB_KEY = "https://index.docker.io/v1/"
_HUB_HOSTS = {"docker.io", "index.docker.io", "registry-1.docker.io"}
_HELPER = re.compile(r"[\w.-]+", re.ASCII)
_VISIBLE = re.compile(r"[!-~]*")


@dataclass(eq=False, slots=True)
class AuthFile:
    """One file and what is in it, also what we do not understand."""

    path: Path
    content: dict[str, Any] = field(repr=False)

    @classmethod
    def read(cls, path: Path, *, must_exist: bool = False) -> AuthFile:
        """Read a file; one that is absent is empty unless it must exist. Raises UnusableConfig."""
        if not must_exist and path.exists() and not path.is_file():
            raise UnusableConfig(short(path), "it is not a file")  # a pipe would be waited for
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            if isinstance(error, FileNotFoundError | NotADirectoryError) and not must_exist:
                return cls(path, {})
            raise UnusableConfig(short(path), f"it cannot be read: {_why(error)}") from error
        content, wrong = parse_object(text) if text.strip() else ({}, "")
        if content is None:
            raise UnusableConfig(short(path), wrong)
        return cls(path, content)

    def helper(self, registry: str) -> Helper | None:
        """Which helper this file names for a registry, if any. Raises UnusableConfig."""
        helpers = self._table("credHelpers")
        key = next(_keys_of(helpers, registry), None)
        name = self.content.get("credsStore") if key is None else helpers[key]
        where = "credsStore" if key is None else f"credHelpers['{key}']"
        if not name:
            return None
        if not isinstance(name, str) or _HELPER.fullmatch(name) is None:
            raise UnusableConfig(short(self.path), f"its {where} is not the name of a credential helper")
        return Helper(name, key or _key(registry), f"{where} of {short(self.path)}")

    def credential(self, name: str) -> Credential | None:
        """What this file itself has for a repository, or for what that is in. Raises UnusableConfig."""
        auths = self._table("auths")
        found = (self._credential(key, auths[key]) for key in _keys_of(auths, name))
        return next(filter(None, found), None)

    def keep(self, registry: str, username: str, password: str) -> None:
        """Have this user name and password for a registry, in the place of others. Raises InvalidOption."""
        pair = base64.b64encode(f"{username}:{password}".encode()).decode()
        self._replace(registry, {"auth": pair})

    def keep_mark(self, registry: str) -> None:
        """Say that somebody is logged in to a registry, and no more: a helper has the rest, as with docker."""
        self._replace(registry, {})

    def drop(self, registry: str) -> bool:
        """Forget everything about a registry; False if there was nothing."""
        auths = self._table("auths")
        keys = list(_keys_of(auths, registry))
        for key in keys:
            del auths[key]
        return bool(keys)

    def write(self) -> None:
        """Replace the file whole; only its owner may read it. Raises UnusableConfig."""
        # A link stays a link: people keep this file in a repository of their settings.
        target = self.path.resolve()
        try:
            target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor, temporary = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
        except OSError as error:
            raise UnusableConfig(short(self.path), f"it cannot be written: {_why(error)}") from error
        try:
            # mkstemp gives mode 0600.
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                json.dump(self.content, file, indent="\t")
                file.flush()
                os.fsync(file.fileno())
            Path(temporary).replace(target)
        except OSError as error:
            Path(temporary).unlink(missing_ok=True)
            raise UnusableConfig(short(self.path), f"it cannot be written: {_why(error)}") from error

    def _replace(self, registry: str, entry: dict[str, str]) -> None:
        self.drop(registry)
        self.content["auths"] = {**self._table("auths"), _key(registry): entry}

    def _table(self, key: str) -> dict[str, Any]:
        table = self.content.get(key) or {}
        if not isinstance(table, dict):
            raise UnusableConfig(short(self.path), f"its '{key}' is not an object")
        return table

    def _credential(self, key: str, entry: object) -> Credential | None:
        if not isinstance(entry, dict):
            return None
        username, password = self._user_and_password(key, entry)
        tokens = [entry.get(name) or "" for name in ("identitytoken", "registrytoken")]
        for token in tokens:
            if not isinstance(token, str) or _VISIBLE.fullmatch(token) is None:
                raise UnusableConfig(short(self.path), f"a token of auths['{key}'] is not one")
        if not any(tokens) and not (username and password):
            return None
        return Credential(username, password, f"{short(self.path)} auths['{key}']", *tokens)

    def _user_and_password(self, key: str, entry: dict[str, Any]) -> tuple[str, str]:
        encoded = entry.get("auth")
        if isinstance(encoded, str) and encoded:
            username, colon, password = _decoded(encoded).partition(":")
            if not colon:
                wrong = f"the 'auth' of auths['{key}'] is not 'user:password' in base64"
                raise UnusableConfig(short(self.path), wrong)
            return username, password.strip("\0")
        username, password = entry.get("username", ""), entry.get("password", "")
        if isinstance(username, str) and isinstance(password, str):
            return username, password
        return "", ""


# --- where they are ------------------------------------------------------------------------


def docker_config() -> Path:
    """Docker's file, in ``DOCKER_CONFIG`` or ``~/.docker``, whether it is there or not."""
    directory = os.environ.get("DOCKER_CONFIG")
    return (Path(directory) if directory else _home() / ".docker") / "config.json"


def default_files() -> list[Path]:
    """Where a credential is looked for, in this order: docker's file, then podman's two."""
    runtime, config = os.environ.get("XDG_RUNTIME_DIR"), os.environ.get("XDG_CONFIG_HOME")
    volatile = (
        Path(runtime) / "containers" if runtime else Path(f"/run/containers/{os.getuid()}")
    ) / "auth.json"
    lasting = (Path(config) if config else _home() / ".config") / "containers" / "auth.json"
    # Others than root may not even look into /run/containers.
    return [docker_config(), *([volatile] if os.path.lexists(volatile) else []), lasting]


def short(path: Path) -> str:
    """A path for messages."""
    home, text = str(_home()), str(path)
    return "~" + text[len(home) :] if home != "/" and text.startswith(home + "/") else text


def _home() -> Path:
    try:
        return Path.home()
    except RuntimeError:
        # A user without a name, as some containers have it: docker takes the root directory too.
        return Path("/")


# --- keys ----------------------------------------------------------------------------------


def _key(registry: str) -> str:
    return HUB_KEY if registry in _HUB_HOSTS else registry


def _keys_of(table: dict[str, Any], name: str) -> Iterator[str]:
    """The keys that stand for a repository or for what it is in, the closest first; then the registry's.

    A registry's may have a scheme and a path, as old clients wrote them.
    """
    parts = name.split("/")
    registry = parts[0]
    closest = ["/".join(parts[:end]) for end in range(len(parts), 1, -1)]
    for key in dict.fromkeys((*closest, _key(registry), registry, *table)):
        if key in table and (key in closest or _names(key, registry)):
            yield key


def _names(key: str, registry: str) -> bool:
    scheme, _, rest = key.rpartition("://")
    host, _, path = rest.partition("/")
    if path.strip("/") not in ("", "v1", "v2") and scheme not in ("http", "https"):
        # `host/namespace` is podman's way to name a part of a registry.
        return False
    return host == registry or (registry in _HUB_HOSTS and host in _HUB_HOSTS)


# --- reading without telling ---------------------------------------------------------------


def check_carried(username: str, password: str) -> None:
    """Raise InvalidOption for what Basic cannot carry (RFC 7617: the first colon ends the user name)."""
    if ":" in username or not (username + password).isprintable():
        raise InvalidOption(
            "--username", "a user name has no ':', and neither it nor a password control characters"
        )


def _decoded(encoded: str) -> str:
    """The text behind base64, or nothing: the errors would carry parts of the secret on."""
    try:
        return base64.b64decode(encoded, validate=True).decode()
    except ValueError:
        return ""


def _why(error: Exception) -> str:
    return (error.strerror or str(error)) if isinstance(error, OSError) else "it is not UTF-8"
