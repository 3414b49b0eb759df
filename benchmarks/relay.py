"""A link between two network namespaces, with a rate, a delay and losses: two tun devices and who carries
packets between them, for not every kernel has netem.

    python -m benchmarks.relay CLIENT_NAMESPACE SERVER_NAMESPACE MBIT MILLISECONDS LOSS

Says `ready` when the link is up: the client is 198.51.100.1 and the server 198.51.100.2. Whole
TCP segments of up to 64 KiB pass as one packet, as they do between a kernel and a network card.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import random
import struct
import subprocess
import sys
import threading
import time
from collections import deque
from pathlib import Path

CLIENT, SERVER = "198.51.100.1", "198.51.100.2"
_TUNSETIFF, _TUNSETOFFLOAD = 0x400454CA, 0x400454D0
_IFF_TUN, _IFF_NO_PI, _IFF_VNET_HDR = 0x1, 0x1000, 0x4000
_CSUM_AND_TSO = 0x1 | 0x2
_CLONE_NEWNET = 0x40000000
_QUEUE = 0.05
"""Seconds of traffic that wait for their turn; what comes when so many do is lost, as in a router."""


def attach(namespace: str, address: str) -> int:
    """Make a tun device in a namespace; the descriptor works from anywhere."""
    with Path(f"/run/netns/{namespace}").open() as file:
        if ctypes.CDLL(None, use_errno=True).setns(file.fileno(), _CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "setns")
    fd = os.open("/dev/net/tun", os.O_RDWR)
    flags = _IFF_TUN | _IFF_NO_PI | _IFF_VNET_HDR
    fcntl.ioctl(fd, _TUNSETIFF, struct.pack("16sH22x", b"wire0", flags))
    fcntl.ioctl(fd, _TUNSETOFFLOAD, _CSUM_AND_TSO)
    for words in (f"addr add {address}/24 dev wire0", "link set wire0 up", "link set lo up"):
        subprocess.run(["ip", *words.split()], check=True)
    return fd


def carry(source: int, target: int, rate: float, delay: float, loss: float) -> None:
    """One direction, for ever: `rate` in bytes a second, `delay` in seconds."""
    on_the_way: deque[tuple[float, bytes]] = deque()
    more = threading.Semaphore(0)

    def deliver() -> None:
        while True:
            more.acquire()
            due, packet = on_the_way.popleft()
            time.sleep(max(0.0, due - time.monotonic()))
            os.write(target, packet)

    threading.Thread(target=deliver, daemon=True).start()
    free = 0.0
    while True:
        packet = os.read(source, 1 << 17)
        now = time.monotonic()
        free = max(free, now)
        if free - now > _QUEUE or random.random() < loss:
            continue
        free += len(packet) / rate
        on_the_way.append((free + delay, packet))
        more.release()


def main() -> None:
    client, server, mbit, milliseconds, loss = sys.argv[1:]
    ends = attach(client, CLIENT), attach(server, SERVER)
    print("ready", flush=True)
    rate, delay = float(mbit) * 1e6 / 8, float(milliseconds) / 2000
    for source, target in (ends, ends[::-1]):
        threading.Thread(target=carry, args=(source, target, rate, delay, float(loss)), daemon=True).start()
    sys.stdin.read()  # until whoever started us has ended


if __name__ == "__main__":
    main()
