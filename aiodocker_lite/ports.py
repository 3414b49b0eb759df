"""Published ports: docker's ``-p [ADDRESS:][HOST-PORT:]CONTAINER-PORT[/PROTOCOL]``."""

from __future__ import annotations

import re
from dataclasses import dataclass

from aiodocker_lite.errors import InvalidOption

_RANGE = re.compile(r"(\d{1,5})(?:-(\d{1,5}))?")
_PROTOCOLS = ("tcp", "udp")


@dataclass(frozen=True, slots=True)
class Port:
    """A port of a container that is one of the host too."""

    container: int
    host: int | None = None
    """None: any that is free."""
    address: str = ""
    """Of the host; empty for all."""
    protocol: str = "tcp"

    @classmethod
    def parse(cls, text: str) -> tuple[Port, ...]:
        """Read what was given to ``-p``; a range is as many ports. Raises InvalidOption."""
        rest, _, protocol = text.partition("/")
        protocol = (protocol or "tcp").lower()
        if protocol not in _PROTOCOLS:
            raise InvalidOption("--publish", f"'{protocol}' in '{text}' is neither tcp nor udp")
        address, inside = _split_address(rest, text)
        outside = ""
        if ":" in inside:
            outside, _, inside = inside.partition(":")
        ports = _range(inside, text)
        if not outside:
            return tuple(cls(port, None, address, protocol) for port in ports)
        hosts = _range(outside, text)
        if len(hosts) != len(ports):
            raise InvalidOption("--publish", f"the ranges in '{text}' have different lengths")
        return tuple(cls(port, host, address, protocol) for port, host in zip(ports, hosts, strict=True))

    @classmethod
    def exposed(cls, text: str) -> tuple[Port, ...]:
        """Read what an image exposes, which has no say about the host. Raises InvalidOption."""
        if ":" in text:
            raise InvalidOption("--publish-all", f"'{text}', which the image exposes, is not PORT[/PROTOCOL]")
        return cls.parse(text)

    @property
    def inside(self) -> str:
        """As docker calls it: ``80/tcp``."""
        return f"{self.container}/{self.protocol}"

    @property
    def outside(self) -> str:
        """Where it is on the host."""
        address = f"[{self.address}]" if ":" in self.address else self.address or "0.0.0.0"
        return f"{address}:{self.host or ''}"

    def __str__(self) -> str:
        return f"{self.outside}->{self.inside}"


def _split_address(rest: str, text: str) -> tuple[str, str]:
    """The address in front, and what is behind it."""
    if rest.startswith("["):
        address, closed, rest = rest[1:].partition("]:")
        if not closed:
            raise InvalidOption("--publish", f"'{text}' has a [ without ]:")
    elif rest.count(":") == 2:
        address, _, rest = rest.partition(":")
    else:
        return "", rest
    if address:
        import ipaddress  # not at the top: it takes 3 ms, and few name an address

        try:
            address = str(ipaddress.ip_address(address))
        except ValueError:
            raise InvalidOption("--publish", f"'{address}' in '{text}' is not an address") from None
    return address, rest


def _range(part: str, text: str) -> range:
    found = _RANGE.fullmatch(part)
    if not found:
        raise InvalidOption("--publish", f"'{text}' is not [ADDRESS:][HOST-PORT:]CONTAINER-PORT[/PROTOCOL]")
    first, last = int(found[1]), int(found[2] or found[1])
    if not 0 < first <= last < 65536:
        raise InvalidOption("--publish", f"'{part}' in '{text}' is not a port, which are 1 to 65535")
    return range(first, last + 1)
