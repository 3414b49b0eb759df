"""Host ports that nobody has, for those that were left open."""

from __future__ import annotations

import socket
from collections.abc import Iterable, Iterator
from dataclasses import replace

from aiodocker_lite.errors import NetworkFailed
from aiodocker_lite.ports import Port


def with_free_ports(ports: Iterable[Port]) -> Iterator[Port]:
    """Each with a host port, once it is known that it can be had. Raises NetworkFailed."""
    for port in ports:
        family = socket.AF_INET6 if ":" in port.address else socket.AF_INET
        kind = socket.SOCK_DGRAM if port.protocol == "udp" else socket.SOCK_STREAM
        with socket.socket(family, kind) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((port.address, port.host or 0))
            except OSError as error:
                reason = "port is already allocated" if error.errno == 98 else error.strerror
                raise NetworkFailed("publishing", f"Bind for {port} failed: {reason}") from error
            yield replace(port, host=probe.getsockname()[1])
