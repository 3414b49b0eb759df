"""What a machine lacks, seen by users who truly lack it."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from tests.runtime.conftest import HERE

pytestmark = pytest.mark.root

SCRIPT = """
import json
from dataclasses import asdict
from aiodocker_lite.host import describe, examine
from aiodocker_lite.runtime.ladder import probe
from pathlib import Path
ladder = probe()
print(json.dumps([[asdict(one) for one in examine(ladder, "native")], describe(ladder, Path("/tmp"), "1", "native")]))
"""


@pytest.mark.parametrize(
    ("rights", "what", "mend"),
    [
        ("root", None, None),
        ("ordinary-user", "subordinate ids are not granted", "usermod --add-subuids"),
        ("ordinary-user::nobody:100000:65536", "subordinate ids cannot be used", "newgidmap"),
        ("ordinary-user:nobody:100000:65536", None, None),
        ("nothing", "namespaces are not permitted", "sysctl -w user.max_user_namespaces="),
    ],
)
def test_what_is_missing_is_named_with_its_cure(rights: str, what: str | None, mend: str | None) -> None:
    """And what is there is not."""
    if os.geteuid() != 0:
        pytest.skip("needs uid 0")
    checkout = str(HERE.parents[1])
    command = [sys.executable, str(HERE / "cage.py"), rights, sys.executable, "-c", SCRIPT]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
        env={**os.environ, "PYTHONPATH": checkout},
    )
    assert done.returncode == 0, done.stderr
    findings, facts = json.loads(done.stdout)
    isolation = [one for one in findings if "ids" in one["what"] or "namespaces" in one["what"]]
    if what is None:
        assert isolation == []
    else:
        assert isolation[0]["what"].startswith(what)
        assert mend in isolation[0]["mend"]
        assert isolation[0]["effect"]
    assert (facts["SubordinateUIDs"] > 0) == (rights == "ordinary-user:nobody:100000:65536")
