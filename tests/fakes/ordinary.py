"""Another user than root, as whom root has the command line run."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path

IDS = "nobody:200000:65536"
"""Subordinate ids, as a line of /etc/subuid."""
_CAGE = Path(__file__).parents[1] / "runtime" / "cage.py"


def as_ordinary_user(place: Path, ids: str = IDS) -> list[str]:
    """What such a command line begins with; `place` is a directory for a node of tun.

    Every command is in a mount namespace of its own, in which everybody may open /dev/net/tun, as udev has it
    on machines that people work at, and where /etc/subuid and /etc/subgid are these `ids`.
    """
    node = place / "tun"
    if not node.exists():
        os.mknod(node, 0o666 | stat.S_IFCHR, os.makedev(10, 200))
        node.chmod(0o666)  # in spite of the umask
    script = 'mount --bind "$0" /dev/net/tun; exec "$@"'
    cage = [sys.executable, str(_CAGE), f"ordinary-user:{ids}" if ids else "ordinary-user"]
    return ["unshare", "--mount", "sh", "-c", script, str(node), *cage]
