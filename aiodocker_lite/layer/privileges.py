"""What this user may do to files, found out by trying."""

from __future__ import annotations

import errno
import os
import stat
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from aiodocker_lite import subids


@dataclass(frozen=True, slots=True)
class Owners:
    """Whose the files of layers are that are unpacked here, and what else can be had.

    As text it is what a layer's record says: one that was unpacked with others is of no use.
    """

    privileged: bool
    """They are the image's, on this machine too; there are devices, and marks are trusted.*."""
    maps: subids.IdMaps | None = None
    """They are the image's inside of a user namespace with these ids. Without: all are this user's."""

    def __str__(self) -> str:
        if self.privileged:
            return "root"
        return f"mapped {subids.to_text(self.maps)}" if self.maps else "user"


def may_apply_everything(directory: Path) -> bool:
    """Owners, device nodes and trusted attributes, as real root can set them in this directory."""
    if os.geteuid() != 0:
        return False
    # Not by `tempfile`, which takes longer to import than all this.
    probe = directory / f"device-{os.getpid()}-{time.monotonic_ns()}.tmp"
    try:
        os.mknod(probe, stat.S_IFCHR | 0o600, os.makedev(1, 3))
        os.chown(probe, 1, 1)
        os.setxattr(probe, "trusted.overlay.opaque", b"y")
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.EINVAL, errno.ENOTSUP, errno.EACCES):
            raise
        return False
    finally:
        with suppress(FileNotFoundError):
            probe.unlink()
    return True
