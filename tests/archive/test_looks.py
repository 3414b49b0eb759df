"""Guesses at what a file is that is no archive."""

from __future__ import annotations

import pytest

from aiodocker_lite.archive.looks import looks_like


@pytest.mark.parametrize(
    ("first", "noun"),
    [
        (b"", "nothing, for it is empty"),
        (b"\x7fELF\x02\x01", "a program (ELF)"),
        (b"PK\x03\x04rest", "a zip file"),
        (b"\n <!DOCTYPE html><html>", "an HTML page"),
        (b"<HTML><head>", "an HTML page"),
        (b'{"errors":[]}', "JSON text"),
        (b'[{"Config":""}]', "JSON text"),
        (b"[section]\nkey = 1\n", "text"),
        (b"version https://git-lfs.github.com/spec/v1\n", "a Git LFS pointer; the file itself was not fetched"),
        ("größer".encode()[:3], "text"),
        (b"hello\n", "text"),
        (b"\xff\xfe\xfd\xfc\xfb", "data of an unknown kind"),
        (b"a\0b", "data of an unknown kind"),
        (b"#!/usr/bin/env run-singularity\n".ljust(32, b"\0") + b"SIF_MAGIC\0", "an Apptainer image (SIF)"),
        (b"\x04\x22\x4d\x18xx", "lz4 data, which is not supported"),
        (b"\x1f\x8b\x08", "gzip data"),
    ],
)  # fmt: skip
def test_a_file_is_described_by_how_it_begins(first: bytes, noun: str) -> None:
    """The noun ends a sentence that says what was wrong."""
    assert looks_like(first) == noun
