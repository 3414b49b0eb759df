"""What machine this is, and which commit of ours is measured."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from pathlib import Path

from benchmarks.cgroup import MEMORY

_HERE = Path(__file__).parent


def facts() -> dict[str, object]:
    cpu = re.search(r"model name\s*:\s*(.*)", Path("/proc/cpuinfo").read_text())
    memory = re.search(r"MemTotal:\s*(\d+)", Path("/proc/meminfo").read_text())
    return {
        "cpu": cpu[1] if cpu else platform.machine(),
        "cores": os.cpu_count(),
        "memory_gb": round(int(memory[1]) / 1e6, 1) if memory else None,
        "kernel": platform.release(),
        "file_system": "new ext4 on a loop device with direct I/O for each run",
        "python": platform.python_version(),
        "commit": _git("rev-parse", "--short=12", "HEAD") + ("+" if _git("status", "--porcelain") else ""),
        "memory_is": MEMORY,
    }


def _git(*words: str) -> str:
    done = subprocess.run(["git", "-C", _HERE, *words], capture_output=True, text=True, check=False)
    return done.stdout.strip()
