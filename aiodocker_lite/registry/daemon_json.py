"""`daemon.json` of docker: mirrors of Docker Hub, and registries that need not be secure.

A name is not looked up to find out whether its address is in an insecure network, as docker does:
who answers for a name is not who should decide that.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from yarl import URL

from aiodocker_lite.registry.addresses import literal
from aiodocker_lite.registry.configfile import Section, read_config

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, slots=True)
class Daemon:
    """What docker's daemon is told about registries."""

    mirrors: tuple[URL, ...] = ()
    insecure: frozenset[str] = frozenset()
    """Registries by name."""
    networks: tuple[Network, ...] = ()
    """Where registries that are named by their address may be insecure."""

    def is_insecure(self, registry: str) -> bool:
        """Whether a registry, such as ``10.0.0.1:5000``, may speak plain http or have any certificate."""
        address = literal(registry if registry.endswith("]") else registry.rpartition(":")[0] or registry)
        return registry in self.insecure or (
            address is not None and any(address in network for network in self.networks)
        )


def read_daemon(directories: Sequence[Path]) -> Daemon:
    """The first `docker/daemon.json`, or nothing. Raises UnusableConfig."""
    for directory in directories:
        config = read_config(directory / "docker" / "daemon.json")
        if config is not None:
            return _daemon(config)
    return Daemon()


def _daemon(config: Section) -> Daemon:
    names, networks = set(), []
    for text in config.texts("insecure-registries"):
        name = text.removeprefix("http://").removeprefix("https://").rstrip("/")
        if "/" not in name:
            names.add(name)
            continue
        try:
            networks.append(ipaddress.ip_network(name, strict=False))
        except ValueError as error:
            raise config.wrong("insecure-registries", f"has '{text}', which is no network") from error
    mirrors = tuple(_mirror(config, text) for text in config.texts("registry-mirrors"))
    return Daemon(mirrors, frozenset(names), tuple(networks))


def _mirror(config: Section, text: str) -> URL:
    try:
        url = URL(text)
        is_plain = url.path == "/" and not url.query_string and url.user is None and url.password is None
        if url.scheme in ("http", "https") and is_plain and url.host:
            return url.origin()
    except ValueError:
        pass
    # Nothing after a '?' and nothing before an '@': people put secrets there.
    shown = re.sub(r"[^/]*@", "***@", text.partition("?")[0])
    raise config.wrong("registry-mirrors", f"has '{shown}', which is not http(s):// and a host")
