"""User names and passwords where docker keeps them: `config.json` in ``DOCKER_CONFIG`` or ``~/.docker``."""

from __future__ import annotations

import base64
import json
import os
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiodocker_lite.errors import InvalidOption, UnusableConfig

HUB_KEY = "https://index.docker.io/v1/"
_HUB_HOSTS = {"docker.io", "index.docker.io", "registry-1.docker.io"}


@dataclass(frozen=True, slots=True)
class Credential:
    """A user name and a password, and where they come from; without a user name: nobody in particular."""

    username: str
    password: str = field(repr=False)
    source: str

    @property
    def is_anonymous(self) -> bool:
        """There is nothing to send; `source` says why."""
        return not self.username


def find_credential(registry: str) -> Credential | None:
    """What `login` kept for a registry, or None. Raises UnusableConfig."""
    path = config_path()
    config = _read(path)
    found = _entry(_table(config, "auths", path), registry)
    if found is not None:
        key, entry = found
        source = f"{_short(path)} auths['{key}']"
        username, password = _user_and_password(entry, f"auths['{key}']", path)
        if username and password:
            return Credential(username, password, source)
        if entry.get("identitytoken"):
            return Credential("", "", f"anonymous (the identity token of {source} is not supported yet)")
    if config.get("credsStore") or _entry(_table(config, "credHelpers", path), registry):
        return Credential("", "", "anonymous (credential helpers are not supported yet)")
    return None


def save_credential(registry: str, username: str, password: str) -> Path:
    """Keep a user name and a password; returns the file. Raises UnusableConfig, InvalidOption."""
    if ":" in username or not (username + password).isprintable():
        # RFC 7617: the first colon ends the user name.
        raise InvalidOption(
            "--username", "a user name has no ':', and neither it nor a password control characters"
        )
    path = config_path()
    config = _read(path)
    auths = _table(config, "auths", path)
    found = _entry(auths, registry)
    if found is not None:
        del auths[found[0]]
    secret = base64.b64encode(f"{username}:{password}".encode()).decode()
    config["auths"] = {**auths, _key(registry): {"auth": secret}}
    _write(path, config)
    return path


def erase_credential(registry: str) -> bool:
    """Forget what is kept for a registry; False if there was nothing. Raises UnusableConfig."""
    path = config_path()
    config = _read(path)
    auths = _table(config, "auths", path)
    found = False
    while entry := _entry(auths, registry):
        del auths[entry[0]]
        found = True
    if found:
        config["auths"] = auths
        _write(path, config)
    return found


def config_path() -> Path:
    """The file, whether it is there or not."""
    directory = os.environ.get("DOCKER_CONFIG")
    return (Path(directory) if directory else _home() / ".docker") / "config.json"


def _home() -> Path:
    try:
        return Path.home()
    except RuntimeError:
        # A user without a name, as some containers have it: docker takes the root directory too.
        return Path("/")


def _key(registry: str) -> str:
    return HUB_KEY if registry in _HUB_HOSTS else registry


def _entry(table: dict[str, Any], registry: str) -> tuple[str, dict[str, Any]] | None:
    """The entry of a registry, under its exact key or one with a scheme and a path, as old clients wrote it."""
    for key in (_key(registry), *table):
        if key in table and (key == _key(registry) or _names(key, registry)):
            entry = table[key]
            return key, entry if isinstance(entry, dict) else {}
    return None


def _names(key: str, registry: str) -> bool:
    host, _, path = key.removeprefix("https://").removeprefix("http://").partition("/")
    if path.strip("/") not in ("", "v1", "v2"):
        # `host/namespace` is podman's way to name a part of a registry.
        return False
    return host == registry or (registry in _HUB_HOSTS and host in _HUB_HOSTS)


def _user_and_password(entry: dict[str, Any], where: str, path: Path) -> tuple[str, str]:
    encoded = entry.get("auth")
    if isinstance(encoded, str) and encoded:
        decoded_name, colon, secret = _decoded(encoded).partition(":")
        if not colon:
            raise UnusableConfig(_short(path), f"the 'auth' of {where} is not 'user:password' in base64")
        return decoded_name, secret.strip("\0")
    username, password = entry.get("username", ""), entry.get("password", "")
    if isinstance(username, str) and isinstance(password, str):
        return username, password
    return "", ""


def _decoded(encoded: str) -> str:
    """The text behind base64, or nothing: the errors would carry parts of the secret on."""
    try:
        return base64.b64decode(encoded, validate=True).decode()
    except ValueError:
        return ""


def _table(config: dict[str, Any], key: str, path: Path) -> dict[str, Any]:
    table = config.get(key) or {}
    if not isinstance(table, dict):
        raise UnusableConfig(_short(path), f"its '{key}' is not an object")
    return table


def _read(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise UnusableConfig(_short(path), f"it cannot be read: {_why(error)}") from error
    if not text.strip():
        return {}
    config, wrong = _parsed(text)
    if config is None:
        raise UnusableConfig(_short(path), wrong)
    return config


def _parsed(text: str) -> tuple[dict[str, Any] | None, str]:
    """The object, or what is wrong: the decoder's error would carry the whole text, passwords and all."""
    try:
        config = json.loads(text)
    except json.JSONDecodeError as error:
        return None, f"it is not JSON (line {error.lineno})"
    except RecursionError:
        return None, "it is nested too deep"
    return (config, "") if isinstance(config, dict) else (None, "it is not a JSON object")


def _write(path: Path, config: dict[str, Any]) -> None:
    """Replace the file whole; only its owner may read it."""
    # A link stays a link: people keep this file in a repository of their settings.
    target = path.resolve()
    try:
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(prefix=".config.json.", dir=target.parent)
    except OSError as error:
        raise UnusableConfig(_short(path), f"it cannot be written: {_why(error)}") from error
    try:
        # mkstemp gives mode 0600.
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(config, file, indent="\t")
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(target)
    except OSError as error:
        Path(temporary).unlink(missing_ok=True)
        raise UnusableConfig(_short(path), f"it cannot be written: {_why(error)}") from error


def _why(error: Exception) -> str:
    return (error.strerror or str(error)) if isinstance(error, OSError) else "it is not UTF-8"


def _short(path: Path) -> str:
    home, text = str(_home()), str(path)
    return "~" + text[len(home) :] if home != "/" and text.startswith(home + "/") else text
