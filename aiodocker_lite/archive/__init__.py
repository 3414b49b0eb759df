"""Archives of images: as `docker save`, podman and skopeo write them, and written so that they read them.

Blocking, and called in a thread. Nothing is ever extracted: the members of an archive are found by
their offsets in one open file, and a layer is a section of that file; what is no seekable plain tar
is copied once into a temporary file that the caller provides. What is read was written by strangers:
a path in an archive is looked up among its members and never on the disk. What is written is the same
for the same images, and is in its place when it is whole.
"""

from __future__ import annotations

from aiodocker_lite.archive.images import Archive, ArchivedImage
from aiodocker_lite.archive.output import open_output
from aiodocker_lite.archive.read import read_archive
from aiodocker_lite.archive.section import Section
from aiodocker_lite.archive.write import SavedFormat, write_archive

__all__ = [
    "Archive", "ArchivedImage", "SavedFormat", "Section", "open_output", "read_archive", "write_archive",
]  # fmt: skip
