"""What the system refused while a layer was unpacked, as one of our errors."""

from __future__ import annotations

import errno
import os

from aiodocker_lite.errors import DiskFull, EngineError, StoreUnwritable, UnsafeEntry

_FULL = (errno.ENOSPC, errno.EDQUOT)
_OURS = (errno.EIO, errno.EROFS, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EACCES)


def translated(error: OSError, layer: str, where: str) -> EngineError:
    """What the system refused, as an error about this place in a layer, or about the store."""
    if error.errno in (*_FULL, *_OURS):
        return store_error(error, where)
    return UnsafeEntry(layer, where, os.strerror(error.errno or 0))


def store_error(error: OSError, where: str) -> EngineError:
    """What the system refused, as an error about the store."""
    kind = DiskFull if error.errno in _FULL else StoreUnwritable
    return kind(where, os.strerror(error.errno or 0))
