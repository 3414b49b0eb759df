"""A network namespace of its own has a loopback device, and it is down (netdevice(7)).

Only imported where there is one, before strangers' files are in reach.
"""

from __future__ import annotations

import _socket
import fcntl
import struct

from aiodocker_lite.runtime.report import step

_SIOCGIFFLAGS, _SIOCSIFFLAGS = 0x8913, 0x8914
_IFF_UP = 1


def bring_up() -> None:
    """Bring it up in this process's namespace."""
    with step("bringing up the loopback device"):
        sock = _socket.socket(_socket.AF_INET, _socket.SOCK_DGRAM)
        request = struct.pack("16sH14x", b"lo", 0)
        flags = struct.unpack("16sH14x", fcntl.ioctl(sock.fileno(), _SIOCGIFFLAGS, request))[1]
        fcntl.ioctl(sock.fileno(), _SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", flags | _IFF_UP))
        sock.close()
