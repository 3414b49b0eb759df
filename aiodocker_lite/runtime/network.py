"""The files by which a container knows its network."""

from __future__ import annotations

import socket
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from aiodocker_lite.errors import InvalidOption, StoreUnwritable
from aiodocker_lite.options import RunOptions

NETWORK_FILES = ("/etc/hosts", "/etc/hostname", "/etc/resolv.conf")
_PUBLIC_RESOLVERS = ("8.8.8.8", "8.8.4.4")
"""Docker's, for a container that cannot reach the host's own."""
_LOCAL = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n"


@dataclass(frozen=True, slots=True)
class Surroundings:
    """The network that a container is in."""

    is_host: bool = True
    address: str = ""
    """Its own, if it is known."""
    nameservers: tuple[str, ...] = ()
    """In the place of the host's, if there are any."""


ON_HOST = Surroundings()


def write_network_files(
    directory: Path, hostname: str, options: RunOptions, around: Surroundings = ON_HOST
) -> dict[str, Path]:
    """Write a container's hosts, hostname and resolv.conf into its directory.

    Returns what is to be bound where, for `build_spec`. On the host's network, names are resolved as
    on the host; the container's own name leads to itself. Raises InvalidOption, StoreUnwritable.
    """
    known = _of_host("/etc/hosts") if around.is_host else ""
    hosts = _hosts(known or _LOCAL, hostname, around.address or "127.0.1.1")
    resolver = _of_host("/etc/resolv.conf")
    if not around.is_host:
        resolver = _reachable(resolver, around.nameservers)
    contents = {
        "/etc/hosts": hosts + "".join(map(_added_host, options.hosts)),
        "/etc/hostname": f"{hostname}\n",
        "/etc/resolv.conf": _resolver(resolver, options),
    }
    files = {target: directory / Path(target).name for target in contents}
    try:
        for target, file in files.items():
            file.write_text(contents[target], errors="surrogateescape")
            file.chmod(0o644)
    except OSError as error:
        raise StoreUnwritable(str(directory), error.strerror or str(error)) from error
    return files


def _hosts(text: str, hostname: str, address: str) -> str:
    # The host does not know this name, for the container has its own UTS namespace.
    if any(hostname in line.partition("#")[0].split()[1:] for line in text.splitlines()):
        return text
    end = "" if text.endswith("\n") else "\n"
    return f"{text}{end}{address}\t{hostname}\n"


def _reachable(text: str, nameservers: tuple[str, ...]) -> str:
    """resolv.conf for a network of one's own, from which the host's loopback cannot be reached."""
    lines, found = [], []
    for line in text.splitlines():
        words = line.split()
        if words[:1] != ["nameserver"]:
            lines.append(line)
        elif len(words) > 1 and not words[1].startswith("127.") and words[1] != "::1":
            found.append(words[1])
    chosen = nameservers or found or _PUBLIC_RESOLVERS
    return "".join(f"{line}\n" for line in [*lines, *(f"nameserver {address}" for address in chosen)])


def _added_host(text: str) -> str:
    """The line of ``NAME:ADDRESS`` or ``NAME=ADDRESS``. Raises InvalidOption."""
    name, separator, address = text.partition("=" if "=" in text else ":")
    address = address.removeprefix("[").removesuffix("]")
    if not name or not separator or any(character.isspace() for character in name):
        raise InvalidOption("--add-host", f"'{text}' is not NAME:ADDRESS")
    if address == "host-gateway":  # the host's network is the container's
        address = "127.0.0.1"
    if not _is_address(address):
        raise InvalidOption("--add-host", f"'{address}' is not an IP address")
    return f"{address}\t{name}\n"


def _resolver(text: str, options: RunOptions) -> str:
    """resolv.conf, with what is chosen in the place of what the host has of the same kind."""
    if wrong := next((address for address in options.dns if not _is_address(address)), None):
        raise InvalidOption("--dns", f"'{wrong}' is not an IP address")
    search = [] if tuple(options.dns_search) == (".",) else [f"search {' '.join(options.dns_search)}"]
    chosen = {
        ("search", "domain"): search if options.dns_search else None,
        ("nameserver",): [f"nameserver {address}" for address in options.dns] if options.dns else None,
        ("options",): [f"options {' '.join(options.dns_options)}"] if options.dns_options else None,
    }
    for option, words in (("--dns-search", options.dns_search), ("--dns-option", options.dns_options)):
        if wrong := next((word for word in words if not word or any(map(str.isspace, word))), None):
            raise InvalidOption(option, f"'{wrong}' is not one word")
    if all(lines is None for lines in chosen.values()):
        return text
    left, ordered = text.splitlines(), []
    for kinds, lines in chosen.items():  # in docker's order
        of_host = [line for line in left if line.split()[:1] in [[kind] for kind in kinds]]
        left = [line for line in left if line not in of_host]
        ordered += of_host if lines is None else lines
    return "".join(f"{line}\n" for line in [*left, *ordered])


def _is_address(text: str) -> bool:
    for family in (socket.AF_INET, socket.AF_INET6):
        with suppress(OSError):
            socket.inet_pton(family, text)
            return True
    return False


def _of_host(path: str) -> str:
    try:
        return Path(path).read_text(errors="surrogateescape")
    except OSError:  # a host without a resolver is a host without one
        return ""
