"""Credential helpers that are real programs on PATH."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

_KEEPER = """
import json, os, sys
from pathlib import Path
path, action, said = Path({path!r}), sys.argv[1], sys.stdin.read()
kept = json.loads(path.read_text())
with open(str(path) + ".log", "a") as log:
    log.write(action + "\\n")
print("a warning that is about", [entry["Secret"] for entry in kept.values()], file=sys.stderr)
if action == "store":
    entry = json.loads(said)
    kept[entry["ServerURL"]] = entry
elif action in ("get", "erase"):
    server = said.strip()
    if server not in kept:
        print("credentials not found in native keychain")
        sys.exit(1)
    if action == "get":
        print(json.dumps(kept[server]))
    else:
        del kept[server]
elif action == "list":
    print(json.dumps({{server: entry["Username"] for server, entry in kept.items()}}))
else:
    sys.exit(2)
path.write_text(json.dumps(kept))
"""


class Programs:
    """A directory of helpers that comes first on PATH."""

    def __init__(self, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        directory.mkdir(exist_ok=True)
        monkeypatch.setenv("PATH", f"{directory}{os.pathsep}{os.environ['PATH']}")
        self.directory = directory

    def add(self, name: str, text: str) -> Path:
        """A script with a first line of its own; returns its path."""
        path = self.directory / f"docker-credential-{name}"
        path.write_text(text)
        path.chmod(0o755)
        return path

    def add_keeper(self, name: str, **kept: tuple[str, str]) -> Keeper:
        """A helper that does all of the protocol, and complains with secrets on standard error."""
        path = self.directory / f"{name}.json"
        entries = {
            server: {"ServerURL": server, "Username": u, "Secret": s} for server, (u, s) in kept.items()
        }
        path.write_text(json.dumps(entries))
        self.add(name, f"#!{sys.executable} -SE\n" + _KEEPER.format(path=str(path)))
        return Keeper(path)


class Keeper:
    """What such a helper has, and what it was asked."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @property
    def kept(self) -> dict[str, tuple[str, str]]:
        entries = json.loads(self._path.read_text())
        return {server: (entry["Username"], entry["Secret"]) for server, entry in entries.items()}

    def put(self, server: str, username: str, secret: str) -> None:
        """Have an entry, by no way of the protocol."""
        entries = json.loads(self._path.read_text())
        entries[server] = {"ServerURL": server, "Username": username, "Secret": secret}
        self._path.write_text(json.dumps(entries))

    @property
    def asked(self) -> list[str]:
        log = Path(f"{self._path}.log")
        return log.read_text().split() if log.exists() else []
