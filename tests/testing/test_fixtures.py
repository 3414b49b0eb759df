"""The kit as a stranger uses it: pytest in an empty directory, with a client of their own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

README = Path(__file__).parents[2] / "README.md"
PLUGIN = 'pytest_plugins = ["aiodocker_lite.testing.fixtures"]\n'
TWO = f"""
from urllib.request import urlopen
from aiodocker_lite.testing import image, layer
{PLUGIN}
def test_blobs_are_elsewhere(fault_registry, other_registry):
    app = image(layer({{"a": b"b"}}))
    fault_registry.add("app", "latest", app)
    fault_registry.keep_blobs_at(other_registry)
    with urlopen(f"{{fault_registry.url}}/v2/app/blobs/{{app.config.digest}}") as answer:
        assert answer.read() == app.config.raw
        assert answer.url.startswith(other_registry.url)

def test_nothing_is_left_of_another_test(fault_registry):
    assert fault_registry.requests == []
"""


def run_pytest(directory: Path, content: str) -> str:
    """What pytest says of one file, with nothing of this repository around it."""
    (directory / "test_mine.py").write_text(content)
    environment = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
    command = [sys.executable, "-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider", "test_mine.py"]
    run = subprocess.run(command, cwd=directory, env=environment, capture_output=True, text=True, check=False)
    return run.stdout + run.stderr


def test_the_example_of_the_readme_runs(tmp_path: Path) -> None:
    """To the letter."""
    (example,) = [
        block
        for block in re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
        if "aiodocker_lite.testing" in block
    ]
    assert "1 passed" in (said := run_pytest(tmp_path, example)), said


def test_the_example_fails_with_a_client_that_starts_again(tmp_path: Path) -> None:
    """So it shows something."""
    text = README.read_text()
    example = text[text.index("import asyncio\n\nimport aiohttp") : text.index("```\n\nThe first request")]
    worse = example.replace("            try:\n", '            content = b""\n            try:\n')
    assert worse != example
    assert "1 failed" in (said := run_pytest(tmp_path, worse)), said


def test_two_registries_for_a_client_that_blocks(tmp_path: Path) -> None:
    """They run in threads, and each test has its own."""
    assert "2 passed" in (said := run_pytest(tmp_path, TWO)), said


@pytest.mark.parametrize("name", ["faults", "images", "messages", "registry"])
def test_only_the_fixtures_need_pytest(name: str) -> None:
    """Whoever has another test runner uses the rest."""
    code = f"import sys, aiodocker_lite.testing.{name}; sys.exit('pytest' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
