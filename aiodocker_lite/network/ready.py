"""Waiting for a program that says when it is ready, or why it will not be."""

from __future__ import annotations

import os

import anyio
from anyio.abc import Process

from aiodocker_lite.errors import NetworkFailed

_PATIENCE = 10.0
"""Seconds."""


async def wait_until_ready(program: str, process: Process, ready: int) -> None:
    """Until there is something to be read. Raises NetworkFailed with its last words."""
    said = bytearray()

    async def listen() -> None:
        assert process.stderr is not None
        async for chunk in process.stderr:
            said.extend(chunk)
        tasks.cancel_scope.cancel()  # it has ended

    is_ready = False
    async with anyio.create_task_group() as tasks:
        tasks.cancel_scope.deadline = anyio.current_time() + _PATIENCE
        tasks.start_soon(listen)
        await anyio.wait_readable(ready)
        is_ready = bool(os.read(ready, 1))
        if is_ready:  # and not the end of what it would have written to
            tasks.cancel_scope.cancel()
    if not is_ready:
        lines = [
            line
            for line in said.decode(errors="replace").splitlines()
            if "syslog" not in line and "child failed" not in line
        ]
        raise NetworkFailed(program, (lines or ["it did not get ready"])[-1].strip())
