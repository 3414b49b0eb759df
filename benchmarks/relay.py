"""A link between two network namespaces, with a rate, a delay and losses: two tun devices and who carries
packets between them, for not every kernel has netem.

    python -m benchmarks.relay CLIENT_NAMESPACE SERVER_NAMESPACE MBIT MILLISECONDS LOSS

Says `ready` when the link is up: the client is 198.51.100.1 and the server 198.51.100.2. Whole
TCP segments of up to 64 KiB pass as one packet, as they do between a kernel and a network card.
"""

from __future__ import annotations

import fcntl
import os
import random
import select
import struct
import subprocess
import sys
import time
from collections import deque

from benchmarks.network import CLIENT, SERVER, enter

_TUNSETIFF, _TUNSETOFFLOAD = 0x400454CA, 0x400454D0
_IFF_TUN, _IFF_NO_PI, _IFF_VNET_HDR = 0x1, 0x1000, 0x4000
_CSUM_AND_TSO = 0x1 | 0x2
_QUEUE = 0.05
"""Seconds of traffic that wait for their turn; what comes when so many do is lost, as in a router."""
_STEP = 0.001
"""Seconds between two looks at the link, each of which takes and delivers all there is."""
_PACKET = 1 << 17


def attach(namespace: str, address: str) -> int:
    """Make a tun device in a namespace; the descriptor works from anywhere."""
    enter(namespace)
    fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    flags = _IFF_TUN | _IFF_NO_PI | _IFF_VNET_HDR
    fcntl.ioctl(fd, _TUNSETIFF, struct.pack("16sH22x", b"wire0", flags))
    fcntl.ioctl(fd, _TUNSETOFFLOAD, _CSUM_AND_TSO)
    for words in (f"addr add {address}/24 dev wire0", "link set wire0 up"):
        subprocess.run(["ip", *words.split()], check=True)
    return fd


class Direction:
    """One way through the link: `rate` in bytes a second, `delay` in seconds."""

    def __init__(self, source: int, target: int, rate: float, delay: float, loss: float) -> None:
        self.on_the_way: deque[tuple[float, memoryview]] = deque()
        self._source, self._target = source, target
        self._rate, self._delay, self._loss = rate, delay, loss
        self._free = 0.0
        self._buffers: list[bytearray] = []

    def take(self, now: float) -> None:
        """Everything that was sent until now sets out."""
        while True:
            buffer = self._buffers.pop() if self._buffers else bytearray(_PACKET)
            try:
                size = os.readv(self._source, [buffer])
            except BlockingIOError:
                self._buffers.append(buffer)
                return
            self._free = max(self._free, now)
            if self._free - now > _QUEUE or (self._loss and random.random() < self._loss):
                self._buffers.append(buffer)
                continue
            self._free += size / self._rate
            self.on_the_way.append((self._free + self._delay, memoryview(buffer)[:size]))

    def deliver(self, now: float) -> None:
        """What should be there by now arrives."""
        while self.on_the_way and self.on_the_way[0][0] <= now:
            _, packet = self.on_the_way.popleft()
            os.write(self._target, packet)
            buffer = packet.obj
            assert isinstance(buffer, bytearray)
            self._buffers.append(buffer)


def carry(ends: tuple[int, int], rate: float, delay: float, loss: float) -> None:
    """Both directions, until whoever started us has ended.

    In steps and by one thread, for the tools that are measured need the processor themselves.
    """
    watched = [*ends, sys.stdin.fileno()]
    # What comes waits for half a step on the average, and what is due as well.
    ways = [Direction(*pair, rate, delay - _STEP, loss) for pair in (ends, ends[::-1])]
    while True:
        if (
            not any(way.on_the_way for way in ways)
            and sys.stdin.fileno() in select.select(watched, [], [])[0]
        ):
            return
        now = time.monotonic()
        for way in ways:
            way.take(now)
            way.deliver(now)
        time.sleep(_STEP)


def main() -> None:
    client, server, mbit, milliseconds, loss = sys.argv[1:]
    ends = attach(client, CLIENT), attach(server, SERVER)
    # A link does not become slow because a tool at its end is busy.
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    print("ready", flush=True)
    carry(ends, float(mbit) * 1e6 / 8, float(milliseconds) / 2000, float(loss))


if __name__ == "__main__":
    main()
