"""The files by which a container knows the network."""

from __future__ import annotations

from pathlib import Path

import pytest

from aiodocker_lite.errors import StoreUnwritable
from aiodocker_lite.options import RunOptions
from aiodocker_lite.runtime import network


def test_names_are_resolved_as_on_the_host(tmp_path: Path) -> None:
    """The host's resolver and names, and the container's own name besides."""
    files = network.write_network_files(tmp_path, "box", RunOptions())
    assert set(files) == {"/etc/hosts", "/etc/hostname", "/etc/resolv.conf"}
    assert files["/etc/hostname"].read_text() == "box\n"
    assert files["/etc/resolv.conf"].read_text() == network._of_host("/etc/resolv.conf")
    hosts = files["/etc/hosts"].read_text()
    assert hosts.startswith(network._of_host("/etc/hosts"))
    assert hosts.splitlines()[-1] == "127.0.1.1\tbox"
    assert {file.stat().st_mode & 0o777 for file in files.values()} == {0o644}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("1.2.3.4 other\n", "1.2.3.4 other\n127.0.1.1\tbox\n"),
        ("1.2.3.4 other", "1.2.3.4 other\n127.0.1.1\tbox\n"),
        ("1.2.3.4 other box\n", "1.2.3.4 other box\n"),
        ("# box\n", "# box\n127.0.1.1\tbox\n"),
    ],
)
def test_a_name_that_is_known_is_not_added(before: str, after: str) -> None:
    """Once is enough."""
    assert network._hosts(before, "box", "127.0.1.1") == after


def test_a_directory_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    """One sentence."""
    with pytest.raises(StoreUnwritable):
        network.write_network_files(tmp_path / "missing", "box", RunOptions())
