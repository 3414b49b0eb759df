"""A private network by pasta(1), which gives the container the host's own addresses.

It leaves a namespace only when it is told to, so it is ended with the container.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import anyio

from aiodocker_lite.network.connection import Connection, Namespace
from aiodocker_lite.network.free import free_ports
from aiodocker_lite.network.ready import wait_until_ready
from aiodocker_lite.ports import Port

_RESOLVER = "169.254.1.1"
_SETPRIV = "/usr/bin/setpriv"


@asynccontextmanager
async def connected(program: str, namespace: Namespace, ports: tuple[Port, ...]) -> AsyncIterator[Connection]:
    """Connect while the block runs. Raises NetworkFailed."""
    chosen = free_ports(ports)
    with tempfile.TemporaryDirectory(prefix="adl-") as place:
        # It writes its number when all is done.
        fifo = f"{place}/ready"
        os.mkfifo(fifo, 0o600)
        ready = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
        process = await anyio.open_process(
            [
                # The kernel ends it with an engine that is killed.
                *([_SETPRIV, "--pdeathsig", "KILL"] if os.access(_SETPRIV, os.X_OK) else []),
                program, "--foreground", "--quiet", "--stderr", "--config-net", "--pid", fifo,
                "--netns", namespace.path,
                "--userns", f"/proc/{namespace.pid}/ns/user",
                "--ns-ifname", "eth0", "--dns-forward", _RESOLVER, "--no-map-gw",
                *_forwards(chosen, "tcp", "--tcp-ports"), *_forwards(chosen, "udp", "--udp-ports"),
                "--tcp-ns", "none", "--udp-ns", "none",
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )  # fmt: skip
        try:
            await wait_until_ready("pasta", process, ready)
            yield Connection("", chosen, (_RESOLVER,))
        finally:
            os.close(ready)
            with anyio.CancelScope(shield=True):
                with suppress(ProcessLookupError):
                    process.kill()
                await process.aclose()


def _forwards(ports: tuple[Port, ...], protocol: str, option: str) -> list[str]:
    words = []
    for port in ports:
        if port.protocol == protocol:
            address = f"{port.address}/" if port.address else ""
            words += [option, f"{address}{port.host}:{port.container}"]
    return words or [option, "none"]
