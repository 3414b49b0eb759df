"""What runs: command, environment, directory, user and names, merged as docker does."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Sequence

from aiodocker_lite.errors import InvalidManifest, InvalidOption, NoCommand
from aiodocker_lite.manifest import RunDefaults
from aiodocker_lite.options import RunOptions

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

_HOSTNAME = re.compile(r"[a-zA-Z0-9]([a-zA-Z0-9.-]{0,62}[a-zA-Z0-9])?")


def chosen_hostname(options: RunOptions, default: str) -> str:
    """The host name of a container. Raises InvalidOption for what cannot be one."""
    if options.hostname is None:
        return default
    if not _HOSTNAME.fullmatch(options.hostname):
        raise InvalidOption("--hostname", f"'{options.hostname}' is not a host name")
    return options.hostname


def chosen_domain(options: RunOptions) -> str | None:
    """The NIS domain name. Raises InvalidOption for what cannot be one."""
    if options.domainname and not _HOSTNAME.fullmatch(options.domainname):
        raise InvalidOption("--domainname", f"'{options.domainname}' is not a domain name")
    return options.domainname or None


def merge_command(image: RunDefaults, command: Sequence[str], options: RunOptions) -> list[str]:
    """Entrypoint and command as docker merges them: another entrypoint drops the image's command.

    Raises NoCommand, InvalidManifest.
    """
    if options.entrypoint is not None:
        merged = [*_entrypoint(options.entrypoint), *command]
    else:
        merged = [*_entrypoint(image.entrypoint), *(command or image.command)]
    if not merged:
        raise NoCommand
    _refuse_nul("the command", merged)
    return merged


def _entrypoint(words: Sequence[str]) -> Sequence[str]:
    # One empty word is how people write "none": --entrypoint "".
    return () if tuple(words) == ("",) else words


def merge_environment(image: RunDefaults, options: RunOptions, *, hostname: str, terminal: bool) -> list[str]:
    """The whole environment but HOME, which only the image's passwd knows; the last of a name wins.

    Raises InvalidOption, InvalidManifest.
    """
    found = {"PATH": DEFAULT_PATH, "HOSTNAME": hostname}
    if terminal:
        found["TERM"] = "xterm"
    for entry in image.env:
        name, assigned, value = entry.partition("=")
        if assigned and name:
            found[name] = value
        else:
            found.pop(entry, None)  # docker: a bare name takes the variable away
    _refuse_nul("the environment", (*found, *found.values()))
    for name, value in options.env.items():
        if not name or "=" in name or "\0" in name + value:
            raise InvalidOption("--env", f"'{name}' cannot be the name of a variable, or its value has a NUL")
        found[name] = value
    return [f"{name}={value}" for name, value in found.items()]


def working_directory(image: RunDefaults, options: RunOptions) -> str:
    if options.workdir is not None and not options.workdir.startswith("/"):
        raise InvalidOption("--workdir", f"'{options.workdir}' is not an absolute path")
    chosen = image.working_dir if options.workdir is None else options.workdir
    _refuse_nul("the working directory", [chosen])
    return posixpath.normpath(posixpath.join("/", chosen)).replace("//", "/")


def user_of(image: RunDefaults, options: RunOptions) -> str:
    return image.user if options.user is None else options.user


def _refuse_nul(what: str, texts: Iterable[str]) -> None:
    if any("\0" in text for text in texts):
        raise InvalidManifest(what, "it has a NUL character")
