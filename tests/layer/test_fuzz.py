"""Half a minute of fuzzing, other inputs each time; `scripts.fuzz` does it for as long as one likes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.timeout(300)
def test_half_a_minute_of_fuzzing_finds_nothing(tmp_path: Path) -> None:
    """Readers, unpacker and worker, as many at once as there are cores: no crash, no hang, no escape."""
    done = subprocess.run(
        [sys.executable, "-m", "scripts.fuzz", "--seconds", "30", "--findings", str(tmp_path)],
        cwd=Path(__file__).parents[2],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    assert done.stdout.endswith("; 0 findings\n")
    assert "0 worker" not in done.stdout.replace("0 worker runs", "")
