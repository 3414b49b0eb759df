"""This process's terminal and a container's: keys go one way, what is shown the other, and the size along."""

from __future__ import annotations

import errno
import os
import select
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


async def attend(terminal: Terminal, *, interactive: bool) -> bool:
    """Show what the container shows until nothing there can show any more; keys are passed on raw.

    Returns False if it is this process's own terminal that is gone: its window was closed, its connection cut.
    """
    is_gone = False
    with _raw(0) if interactive else nullcontext():
        async with anyio.create_task_group() as tasks:

            async def end_with_ours() -> None:
                nonlocal is_gone
                await _hung_up(*((0, 1) if interactive else (1,)))
                is_gone = True
                tasks.cancel_scope.cancel()

            tasks.start_soon(end_with_ours)
            tasks.start_soon(_follow_size, terminal)
            if interactive:
                tasks.start_soon(_type, terminal)
            try:
                while True:
                    await to_thread.run_sync(_show, await terminal.receive())
            except anyio.EndOfStream:
                tasks.cancel_scope.cancel()
            except OSError as error:
                if error.errno != errno.EIO:  # else it is gone, and somebody waits for that
                    raise
    return not is_gone


async def _hung_up(*fds: int) -> None:
    """Wait until one of these is a terminal no more."""
    with select.epoll() as hangups:
        for fd in filter(os.isatty, fds):
            hangups.register(fd, 0)  # whatever is asked for, hang-ups are told
        await anyio.wait_readable(hangups.fileno())


@contextmanager
def _gone_is_no_error() -> Iterator[None]:
    """Who uses a terminal that is gone gets EIO."""
    try:
        yield
    except (OSError, termios.error) as error:
        if error.args[0] != errno.EIO:
            raise


async def _type(terminal: Terminal) -> None:
    with suppress(anyio.BrokenResourceError), _gone_is_no_error():
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
        with _gone_is_no_error():
            termios.tcsetattr(fd, termios.TCSADRAIN, before)
