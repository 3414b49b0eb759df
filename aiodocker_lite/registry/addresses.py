"""Names and addresses of hosts: which are this machine, and which may be dialled for a stranger."""

from __future__ import annotations

import ipaddress

from yarl import URL

from aiodocker_lite.errors import RegistryUnreachable
from aiodocker_lite.reference import DOCKER_HUB

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_HUB = URL("https://registry-1.docker.io")
_HUB_NAMES = {DOCKER_HUB, "index.docker.io", "registry-1.docker.io"}
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_PORT_MAX = 65535


def base_url(registry: str) -> URL:
    """Where a registry of this name is. Raises RegistryUnreachable for what is no host with an optional port."""
    if registry in _HUB_NAMES:
        return _HUB
    if "/" in registry:
        raise RegistryUnreachable(registry, "a registry is named by its host and port, without '/'")
    port = registry.rpartition(":")[2]
    if ":" in registry and port.isdecimal() and int(port) > _PORT_MAX:
        raise RegistryUnreachable(registry, f"{port} is no port, for ports end at {_PORT_MAX}")
    try:
        return URL(f"https://{registry}")
    except ValueError as error:
        raise RegistryUnreachable(registry, f"the name is not valid ({error})") from error


def authority_of(url: URL) -> str:
    """Host and port as people write them; the scheme's own port is left out."""
    host = url.host or ""
    host = f"[{host}]" if ":" in host else host
    return host if url.is_default_port() or url.port is None else f"{host}:{url.port}"


def literal(host: str) -> Address | None:
    """The address that a host is written as; None for a name. Nothing is looked up."""
    try:
        return ipaddress.ip_address(host.strip("[]").partition("%")[0])
    except ValueError:
        return None


def is_loopback(host: str) -> bool:
    """This machine by its usual name, or by a literal address of 127.0.0.0/8 or ::1."""
    address = literal(host)
    if address is None:
        return host.lower() == "localhost"
    return address.is_loopback and getattr(address, "ipv4_mapped", None) is None


def is_public(address: str) -> bool:
    """An address of the internet, not of this machine, this network or a cloud's metadata service."""
    ip = literal(address)
    return ip is not None and _is_public(ip)


def _is_public(ip: Address) -> bool:
    if isinstance(ip, ipaddress.IPv6Address):
        # An IPv4 address in a costume is judged without it.
        inner = ip.ipv4_mapped or ip.sixtofour
        if ip in _NAT64:
            inner = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        if inner is not None:
            return _is_public(inner)
        if ip.is_site_local:
            return False
    return ip.is_global and not ip.is_multicast and not ip.is_reserved and not ip.is_unspecified
