"""Host ports that nobody has, for those that were left open."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace

from aiodocker_lite.errors import NetworkFailed
from aiodocker_lite.ports import Port


@contextmanager
def held_ports(ports: Iterable[Port]) -> Iterator[tuple[Port, ...]]:
    """All of them with host ports, which nobody else gets while the block runs. Raises NetworkFailed."""
    with ExitStack() as stack:
        chosen = []
        for port in ports:
            family = socket.AF_INET6 if ":" in port.address else socket.AF_INET
            kind = socket.SOCK_DGRAM if port.protocol == "udp" else socket.SOCK_STREAM
            holder = stack.enter_context(socket.socket(family, kind))
            if kind == socket.SOCK_STREAM:
                holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                holder.bind((port.address, port.host or 0))
                if kind == socket.SOCK_STREAM:
                    holder.listen(0)
            except OSError as error:
                is_taken = error.errno == errno.EADDRINUSE
                reason = "port is already allocated" if is_taken else error.strerror
                raise NetworkFailed("publishing", f"Bind for {port} failed: {reason}") from error
            chosen.append(replace(port, host=holder.getsockname()[1]))
        yield tuple(chosen)


def free_ports(ports: Iterable[Port]) -> tuple[Port, ...]:
    """The same, for a program that holds them itself. Raises NetworkFailed."""
    with held_ports(ports) as chosen:
        return chosen
