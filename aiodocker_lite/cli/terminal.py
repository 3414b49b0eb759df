"""This process's terminal and a container's: keys go one way, what is shown the other, and the size along."""

from __future__ import annotations

import os
import signal
import sys
import termios
import tty
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from typing import Protocol

import anyio
from anyio import to_thread

from aiodocker_lite.errors import NotATerminal

Size = tuple[int, int]


class Terminal(Protocol):
    """What is needed of a container's terminal."""

    async def receive(self, max_bytes: int = ...) -> bytes: ...
    async def send(self, item: bytes) -> None: ...
    def resize(self, size: Size) -> None: ...


def check_keys(*, interactive: bool) -> None:
    """Raises NotATerminal where keys shall be passed on and nobody can type."""
    if interactive and not os.isatty(0):
        raise NotATerminal


def size_here() -> Size | None:
    """Lines and columns of the terminal that output goes to, or None where it goes elsewhere."""
    for stream in (sys.__stdout__, sys.__stdin__):
        with suppress(OSError, ValueError, AttributeError):
            columns, lines = os.get_terminal_size(stream.fileno())  # type: ignore[union-attr]
            return lines, columns
    return None


async def attend(terminal: Terminal, *, interactive: bool) -> None:
    """Show what the container shows until nothing there can show any more; keys are passed on raw."""
    with _raw(0) if interactive else nullcontext():
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_follow_size, terminal)
            if interactive:
                tasks.start_soon(_type, terminal)
            with suppress(anyio.EndOfStream):
                while True:
                    await to_thread.run_sync(_show, await terminal.receive())
            tasks.cancel_scope.cancel()


async def _type(terminal: Terminal) -> None:
    with suppress(anyio.BrokenResourceError):
        while True:
            await anyio.wait_readable(0)
            keys = os.read(0, 4096)
            if not keys:
                return
            await terminal.send(keys)


async def _follow_size(terminal: Terminal) -> None:
    with anyio.open_signal_receiver(signal.SIGWINCH) as changes:
        # It may have changed before anybody listened.
        if size := size_here():
            terminal.resize(size)
        async for _ in changes:
            if size := size_here():
                terminal.resize(size)


def _show(data: bytes) -> None:
    while data:
        data = data[os.write(1, data) :]


@contextmanager
def _raw(fd: int) -> Iterator[None]:
    """Every key as it is, ^C too; as it was before when the block is left, in whatever way."""
    before = termios.tcgetattr(fd)
    try:
        tty.setraw(fd, termios.TCSADRAIN)
        yield
    finally:
        termios.tcsetattr(fd, termios.TCSADRAIN, before)
