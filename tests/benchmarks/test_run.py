"""The whole harness, with the smallest image: registry, file systems, control groups and namespaces are real."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs uid 0")
HARNESS = [sys.executable, "-m", "benchmarks", "run", "--images=tiny", "--peers=skopeo+umoci", "--runs=1"]


def left_behind(work: Path, pid: int) -> str:
    """What of the machine still has the harness's names."""
    words = (["losetup", "--list", "--noheadings", "--output", "BACK-FILE"], ["ip", "netns"])
    said = "\n".join(
        subprocess.run(each, capture_output=True, text=True, check=True).stdout for each in words
    )
    mounts = Path("/proc/self/mountinfo").read_text()
    return "\n".join(
        line for line in (said + mounts).splitlines() if re.search(rf"{work}/|\badlb-{pid}\b", line)
    )


def test_an_image_is_pulled_by_us_and_by_another_tool(tmp_path: Path) -> None:
    """Both trees are the image's, what was fetched crossed the network, and nothing is left."""
    file = tmp_path / "runs.json"
    words = [*HARNESS, f"--work={tmp_path}", f"--json={file}"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as harness:
        table, errors = harness.communicate()
    assert harness.returncode == 0, errors
    found = json.loads(file.read_text())
    image = found["images"]["tiny"]
    for run in found["runs"]:
        assert run["error"] is None
        assert run["entries"] == image["apart"] == image["merged"] == 4
        assert image["compressed"] < run["fetched"] < 1.5 * image["compressed"]
        assert run["written"] > image["unpacked"]
        assert 0 < run["cpu"] < 20
        assert run["synced"] > run["wall"] > 0
        assert run["memory"] > 1e6
    assert [run["peer"] for run in found["runs"]] == ["aiodocker-lite", "skopeo+umoci"]
    assert "wall, ours / theirs" in table
    assert not left_behind(tmp_path, harness.pid)


def by_default() -> None:
    """What a shell starts in the background ignores SIGINT, and so does what that starts."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_benchmark_takes_everything_down(tmp_path: Path, number: signal.Signals) -> None:
    """After the first run, so that the second is on its way; a second signal changes nothing."""
    words = [*HARNESS, f"--work={tmp_path}", "--runs=50"]
    with subprocess.Popen(
        words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, preexec_fn=by_default
    ) as harness:
        assert harness.stderr is not None
        assert harness.stderr.readline().startswith("tiny 1: aiodocker-lite: ")
        for _ in range(2):
            harness.send_signal(number)
        assert harness.communicate()[1] == ""
    assert harness.returncode == 128 + number
    assert not left_behind(tmp_path, harness.pid)


def test_a_run_of_ours_that_failed_is_exit_code_1(tmp_path: Path) -> None:
    """The table says it too, and why."""
    words = [*HARNESS[:4], "--registry=127.0.0.1:1", "--image=none:1", "--peers=aiodocker-lite", "--runs=1"]
    done = subprocess.run([*words, f"--work={tmp_path}"], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "| 1 | failed: " in done.stdout
    assert done.stderr.splitlines()[-1].startswith("1 of our own runs failed, the first of none:1: ")
