"""The README's example of the test kit, run as a user would."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_example_of_the_readme_passes(tmp_path: Path) -> None:
    """A pytest of its own in an empty directory, with a client that is not ours."""
    section = (ROOT / "README.md").read_text().split("## A registry of faults")[1].split("\n## ")[0]
    code = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    assert len(code) == 1
    (tmp_path / "test_client.py").write_text(code[0])
    words = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist"]
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    run = subprocess.run(words, cwd=tmp_path, env=environ, capture_output=True, text=True, check=False)
    assert "1 passed" in run.stdout, run.stdout
