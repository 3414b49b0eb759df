"""A slice of what `scripts.services` does: servers in containers, as one uses them."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cases.services import IMAGE, Services
from tests.fakes.ordinary import as_ordinary_user
from tests.fakes.processes import program
from tests.fakes.small_systems import services_from_here
from tests.runtime.cage import NOBODY

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs uid 0, to be it and to become another"),
]


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    """A directory that everybody can enter, with the image."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        place = Path(name)
        place.chmod(0o755)
        services_from_here(place, IMAGE)
        yield place


def stocked(place: Path, services: Services) -> Services:
    services.home.mkdir()
    if services.prefix:
        os.chown(services.home, NOBODY, NOBODY)
    services.adl("load", "-q", "-i", str(place / "layout"))
    return services


@pytest.fixture(scope="module")
def roots(place: Path) -> Services:
    """Root's store with the image."""
    home = place / "root"
    return stocked(place, Services(home / "store", home))


def test_redis_keeps_its_data_and_ends_in_order(roots: Services) -> None:
    """As a user of the image, with a volume, asked by its own client; twice."""
    roots.redis()
    assert roots.findings == []


def test_curl_reaches_a_web_server_at_a_published_port(roots: Services) -> None:
    """As root, on a bridge."""
    roots.web("--network", "private", "-p", "127.0.0.1:PORT:8000")
    assert roots.findings == []


def test_curl_reaches_a_web_server_of_an_ordinary_user(place: Path) -> None:
    """With crun, and at a port that pasta publishes."""
    program("crun")
    program("pasta")
    home = place / "user"
    services = stocked(place, Services(home / "store", home, "crun", as_ordinary_user(place)))
    services.web("--network", "pasta", "-p", "127.0.0.1:PORT:8000")
    assert services.findings == []
