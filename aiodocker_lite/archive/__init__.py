"""Archives of images, as `docker save`, podman and skopeo write them: read as they are, never extracted.

Blocking, and called in a thread. The members of an archive are found by their offsets in one
open file, and a layer is a section of that file; what is no seekable plain tar is copied once
into a temporary file that the caller provides. Everything here reads what strangers wrote: a
path in an archive is looked up among its members and never on the disk.
"""

from __future__ import annotations

from aiodocker_lite.archive.images import Archive, ArchivedImage
from aiodocker_lite.archive.read import read_archive
from aiodocker_lite.archive.section import Section

__all__ = ["Archive", "ArchivedImage", "Section", "read_archive"]
