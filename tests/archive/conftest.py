"""Opening archives that a test has made."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO

import pytest

from aiodocker_lite.archive import Archive, read_archive
from aiodocker_lite.platforms import Platform
from tests.fakes.archives import Open

AMD64 = Platform("linux", "amd64")


@pytest.fixture
def open_archive(tmp_path: Path) -> Iterator[Open]:
    """Read an archive from bytes (a stream), or from a path; it is closed when the test ends."""
    with ExitStack() as closing:

        def spool() -> BinaryIO:
            return tempfile.TemporaryFile(dir=tmp_path)

        def open_it(
            source: bytes | Path | BinaryIO, platform: Platform = AMD64, name: str = "x.tar"
        ) -> Archive:
            stream = io.BytesIO(source) if isinstance(source, bytes) else source
            return closing.enter_context(read_archive(stream, name=name, spool=spool, platform=platform))

        yield open_it
