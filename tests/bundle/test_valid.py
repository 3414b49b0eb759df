"""The spec as others read it: runc and crun run it, on a root that is there already."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from aiodocker_lite.options import Mount, RunOptions
from tests.bundle.test_spec import spec
from tests.fakes.processes import program

pytestmark = pytest.mark.root

SCRIPT = (
    "grep -E 'NoNewPrivs|Seccomp:' /proc/self/status; hostname; ulimit -n; ls -l /dev/full2; mount | grep -c ' /scratch ';"
    "cat /proc/sys/kernel/msgmax; touch /x"
)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A root file system with a shell."""
    if os.geteuid() != 0:
        pytest.skip("needs uid 0")
    root = tmp_path / "bundle" / "rootfs"
    (root / "bin").mkdir(parents=True)
    shutil.copy(program("busybox"), root / "bin" / "busybox")
    for name in ("sh", "grep", "hostname", "ls", "mount", "cat", "touch", "id"):
        (root / "bin" / name).symlink_to("busybox")
    return root


@pytest.mark.parametrize("runtime", ["crun", "runc"])
@pytest.mark.parametrize(
    ("options", "out"),
    [
        ({}, "NoNewPrivs:\t1|Seccomp:\t2|box|LIMIT|0|8192"),
        (
            {
                "ulimits": ("nofile=50:60",), "devices": ("/dev/full:/dev/full2",), "mounts": (Mount("/scratch"),),
                "sysctls": {"kernel.msgmax": "9000"}, "hostname": "other", "read_only": True, "shm_size": 1 << 20,
                "cap_add": ("NET_ADMIN",), "pids_limit": 20, "cpu_shares": 500, "oom_score_adj": 100, "init": True,
                "memory": 64 << 20, "security": ("no-new-privileges=false",), "stop_signal": "SIGINT",
            },
            "NoNewPrivs:\t0|Seccomp:\t2|other|50|FULL|1|9000",
        ),
        ({"privileged": True}, "NoNewPrivs:\t0|Seccomp:\t0|box|LIMIT|0|8192"),
        ({"security": ("seccomp=unconfined",), "uts": "host", "ipc": "host"}, None),
    ],
    ids=["plain", "many", "privileged", "host"],
)  # fmt: skip
def test_other_runtimes_run_it(root: Path, runtime: str, options: dict[str, Any], out: str | None) -> None:
    """With what was asked for in it."""
    # Hybrid hierarchies of control groups are not crun's.
    without = ["unshare", "-m", "sh", "-c", 'umount /sys/fs/cgroup/unified 2>/dev/null; exec "$@"', "sh"]
    command = [*(without if runtime == "crun" else []), program(runtime)]
    found = spec("/bin/sh", "-c", SCRIPT, options=RunOptions(**options))
    found["root"]["path"] = str(root)
    (root.parent / "config.json").write_text(json.dumps(found))
    name = f"spec-{secrets.token_hex(6)}"
    done = subprocess.run(
        [*command, "--root", str(root.parent / "state"), "run", "--bundle", str(root.parent), name],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=30,
    )  # fmt: skip
    if out is None:
        assert os.uname().nodename in done.stdout, done.stderr
        return
    assert len(done.stdout.splitlines()) > 5, done.stderr
    lines = ["FULL" if "full2" in line else line for line in done.stdout.splitlines()]
    limit = lines[3]
    assert "|".join(lines) == out.replace("LIMIT", limit), done.stderr
    assert (done.returncode != 0) == ("read_only" in options), done.stderr
