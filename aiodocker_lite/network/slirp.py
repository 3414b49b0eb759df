"""A private network by slirp4netns(1): a user's own, and root's where there is nothing better.

It ends when the other end of its ``--exit-fd`` is closed, so also with an engine that is killed.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import anyio
from anyio.abc import Process

from aiodocker_lite.errors import NetworkFailed
from aiodocker_lite.network.connection import Connection, Namespace
from aiodocker_lite.network.free import free_ports
from aiodocker_lite.network.ready import wait_until_ready
from aiodocker_lite.ports import Port

_ADDRESS, _RESOLVER = "10.0.2.100", "10.0.2.3"
_PATIENCE = 2.0
"""Seconds in which it must end by itself."""


@asynccontextmanager
async def connected(program: str, namespace: Namespace, ports: tuple[Port, ...]) -> AsyncIterator[Connection]:
    """Connect while the block runs. Raises NetworkFailed."""
    leave, alive = os.pipe()
    ready, tell_ready = os.pipe()
    with tempfile.TemporaryDirectory(prefix="adl-") as place:
        socket = Path(place, "socket")
        command = [
            program, "--configure", "--mtu=65520", "--disable-host-loopback",
            # It cannot leave a user's rights behind, which are few.
            f"--userns-path=/proc/{namespace.pid}/ns/user" if namespace.is_of_user else "--enable-sandbox",
            f"--ready-fd={tell_ready}", f"--exit-fd={leave}", f"--api-socket={socket}", "--netns-type=path",
            namespace.path, "eth0",
        ]  # fmt: skip
        async with AsyncExitStack() as stack:
            stack.callback(os.close, ready)
            try:
                process = await anyio.open_process(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.PIPE,
                    pass_fds=(tell_ready, leave),
                )
                stack.push_async_callback(_end, process)
            finally:
                os.close(tell_ready)
                os.close(leave)
                stack.callback(os.close, alive)
            await wait_until_ready("slirp4netns", process, ready)
            chosen = free_ports(ports)
            for port in chosen:
                await _forward(socket, port)
            yield Connection(_ADDRESS, chosen, (_RESOLVER,))


async def _end(process: Process) -> None:
    with anyio.CancelScope(shield=True):
        with anyio.move_on_after(_PATIENCE):
            await process.wait()
        with suppress(ProcessLookupError):
            process.kill()
        await process.aclose()


async def _forward(socket: Path, port: Port) -> None:
    arguments: dict[str, Any] = {
        "proto": port.protocol,
        "host_addr": port.address or "0.0.0.0",
        "host_port": port.host,
        "guest_addr": _ADDRESS,
        "guest_port": port.container,
    }
    async with await anyio.connect_unix(socket) as stream:
        await stream.send(json.dumps({"execute": "add_hostfwd", "arguments": arguments}).encode())
        await stream.send_eof()
        answer = b""
        with suppress(anyio.EndOfStream):
            while True:
                answer += await stream.receive()
    found = json.loads(answer or b"{}")
    if "error" in found:
        reason = found["error"].get("desc", "it refused to")
        raise NetworkFailed("slirp4netns", f"publishing {port}: {reason} (is the port in use?)")
