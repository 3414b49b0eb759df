"""uvloop where little is left: libuv aborts the process where it can have no pipe, or no threads of its own."""

from __future__ import annotations

import asyncio
import ctypes
import errno
import logging
import os
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvloop

from aiodocker_lite.cli import exits


class Loop(uvloop.Loop):
    """Looks up names in Python's threads, which raise what is wrong; nothing else of ours needs libuv's."""

    async def getaddrinfo(
        self, host: Any, port: Any, *, family: int = 0, type: int = 0, proto: int = 0, flags: int = 0
    ) -> Any:
        """As in asyncio. Raises what `socket.getaddrinfo` raises, and RuntimeError where no thread can be had."""
        return await self.run_in_executor(None, socket.getaddrinfo, host, port, family, type, proto, flags)


def new_loop() -> asyncio.AbstractEventLoop:
    """An event loop; or a sentence, and the end of this process."""
    with _telling_of_abort():
        return Loop()


@contextmanager
def _telling_of_abort() -> Iterator[None]:
    """Python's own handlers run after the call that aborts, and that never returns: so this is one of C's."""
    libc = ctypes.CDLL(None)
    libc.signal.restype = ctypes.c_void_p
    libc.signal.argtypes = (ctypes.c_int, ctypes.c_void_p)

    def tell(_: int) -> None:
        sys.stdout.flush()
        exits.say_refused(os.strerror(errno.EMFILE))
        os._exit(1)

    handler = ctypes.CFUNCTYPE(None, ctypes.c_int)(tell)
    before = libc.signal(signal.SIGABRT, ctypes.cast(handler, ctypes.c_void_p))
    try:
        logging.getLogger("asyncio").disabled = True  # what is only half made complains when it goes
        yield
    finally:
        logging.getLogger("asyncio").disabled = False
        libc.signal(signal.SIGABRT, before)
