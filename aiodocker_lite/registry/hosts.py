"""From the name of a registry to the place that is asked, and which addresses may be dialled."""

from __future__ import annotations

import ipaddress

from yarl import URL

from aiodocker_lite.errors import RegistryUnreachable
from aiodocker_lite.reference import DOCKER_HUB

_HUB = URL("https://registry-1.docker.io")
_HUB_NAMES = {DOCKER_HUB, "index.docker.io", "registry-1.docker.io"}
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


def base_url(registry: str) -> URL:
    """Where a registry is asked: over https, and over plain http on this machine.

    Raises RegistryUnreachable for what is no host with an optional port.
    """
    if registry in _HUB_NAMES:
        return _HUB
    if "/" in registry:
        raise RegistryUnreachable(registry, "a registry is named by its host and port, without '/'")
    try:
        url = URL(f"https://{registry}")
        return url.with_scheme("http") if is_loopback(url.host or "") else url
    except ValueError as error:
        raise RegistryUnreachable(registry, f"the name is not valid ({error})") from error


def is_loopback(host: str) -> bool:
    """This machine by its usual name, or by a literal address of 127.0.0.0/8 or ::1; nothing is looked up."""
    if host.lower() == "localhost":
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    return address.is_loopback and getattr(address, "ipv4_mapped", None) is None


def is_public(address: str) -> bool:
    """An address of the internet, not of this machine, this network or a cloud's metadata service."""
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    return _is_public(ip)


def _is_public(ip: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
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
