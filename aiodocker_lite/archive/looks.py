"""What some bytes look like, in words for somebody who gave us the wrong file."""

from __future__ import annotations

from typing import Final

_BEGINNINGS: Final = (
    (b"\x7fELF", "a program (ELF)"),
    (b"PK\x03\x04", "a zip file"),
    (b"PK\x05\x06", "an empty zip file"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z file"),
    (b"Rar!", "a rar file"),
    (b"hsqs", "a SquashFS file system"),
    (b"!<arch>\n", "a Debian package or another ar archive"),
    (b"\x04\x22\x4d\x18", "lz4 data, which is not supported"),
    (b"\x1f\x8b", "gzip data"),
    (b"\x28\xb5\x2f\xfd", "zstd data"),
    (b"\xfd7zXZ\x00", "xz data"),
    (b"BZh", "bzip2 data"),
    (b"\x5d\x00\x00", "LZMA data, which is not supported"),
    (b"\x89PNG", "a picture"),
    (b"%PDF", "a PDF document"),
    (b"SQLite format 3\0", "an SQLite database"),
)
_SIF = b"SIF_MAGIC"


def looks_like(first: bytes) -> str:
    """A noun for the beginning of a file."""
    if not first:
        return "nothing, for it is empty"
    for magic, noun in _BEGINNINGS:
        if first.startswith(magic):
            return noun
    if _SIF in first[:64]:
        return "an Apptainer image (SIF)"
    return _kind_of_text(first) or "data of an unknown kind"


def _kind_of_text(first: bytes) -> str | None:
    # The cut at the end may fall into a character of up to four bytes.
    if b"\0" in first or len(first) - len(first.decode(errors="ignore").encode()) > 3:
        return None
    text = first.decode(errors="ignore").strip().lower()
    if text.startswith(("<!doctype html", "<html")):
        return "an HTML page"
    if text.startswith(("{", "[{", '["')):
        return "JSON text"
    if text.startswith("version https://git-lfs"):
        return "a Git LFS pointer; the file itself was not fetched"
    return "text"
