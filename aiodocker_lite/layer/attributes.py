"""Extended attributes of files, as far as a stranger may set them here."""

from __future__ import annotations

import errno
import os

# Labels of the build machine (M06), and marks by which a layer could speak to overlayfs (M07).
_FOREIGN = (b"security.selinux", b"system.nfs4_acl", b"trusted.", b"user.overlay.")
# M08: what this file system, this kind of file or this user cannot have.
_IMPOSSIBLE = (errno.ENOTSUP, errno.EPERM, errno.E2BIG, errno.ERANGE, errno.EINVAL)


def set_xattr(where: int | bytes, key: bytes, value: bytes) -> bool:
    """Set an attribute of a descriptor, or of a name in the current directory; False if it cannot be.

    A link is not followed. Raises OSError.
    """
    if key.startswith(_FOREIGN) or not key or b"\0" in key:
        return False
    try:
        if isinstance(where, int):
            os.setxattr(where, key, value)
        else:
            os.setxattr(where, key, value, follow_symlinks=False)
    except OSError as error:
        if error.errno not in _IMPOSSIBLE:
            raise
        return False
    return True
