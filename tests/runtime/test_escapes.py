"""Attempts to get out, each of them made in a real container, root's and an ordinary user's: none succeeds.

The attempts are in `probes`; the cases X01 to X28 that have tests of their own are elsewhere in this folder.
"""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
import sysconfig
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.processes import program
from tests.runtime import driver, probes
from tests.runtime.conftest import Caged

PROGRAM = Path(probes.__file__)
KINDS = ("root", "ordinary-user")
RUNTIMES = ("native", "crun", "runc")

OTHERWISE = {
    "call_a_call_of_x32": "libseccomp filters x32 by the list of the profile, which has this call",
    "call_a_call_that_nobody_knows": "runc has calls that are newer than its profile answered with ENOSYS",
}
"""What other runtimes do in another way, which is no way out either."""

Outcomes = dict[str, str]


def python() -> tuple[list[str], dict[str, str], list[str]]:
    """How this Python is called in a container, in which environment, and the directories that it needs."""
    libraries = [path for path in ("/lib", "/lib64", "/usr/lib", "/usr/lib64") if Path(path).exists()]
    environment = {
        "PYTHONHOME": sys.base_prefix,
        "LD_LIBRARY_PATH": sysconfig.get_config_var("LIBDIR") or "",
        "OUTSIDE": str(os.getpid()),
        "SHM": str(Path("/dev/shm").stat().st_dev),
    }
    command = [os.path.realpath(sys.executable), "-S", "/probes.py"]
    return command, environment, sorted({sys.base_prefix, *libraries})


def with_traps(layer: Path, *, devices: bool) -> Path:
    """What an image may have to help with it: a setuid shell, and nodes of devices."""
    (layer / "devices").mkdir(parents=True)
    # By its name it is to be a shell.
    (layer / "setuid").mkdir()
    shutil.copy(program("busybox"), layer / "setuid" / "sh")
    (layer / "setuid" / "sh").chmod(0o4755)
    if devices:
        for name, kind, major, minor in (("disk", stat.S_IFBLK, 254, 0), ("full", stat.S_IFCHR, 1, 7)):
            os.mknod(layer / "devices" / name, kind | 0o666, os.makedev(major, minor))
            (layer / "devices" / name).chmod(0o666)
    return layer


_FOUND: dict[tuple[str, str], Outcomes] = {}


@pytest.fixture(params=product(KINDS, RUNTIMES), ids="-".join)
def outcomes(
    request: pytest.FixtureRequest,
    layer: Path,
    open_directory: Path,
    tmp_path: Path,
    caged: Caged,
    as_root: None,
) -> Outcomes:
    """What came of all attempts, made once for each kind of container."""
    kind, runtime = request.param
    if runtime != "native":
        program(runtime)
    if (kind, runtime) not in _FOUND:
        command, environment, directories = python()
        sources = (*((path, path) for path in directories), ("/probes.py", str(PROGRAM)))
        job: dict[str, Any] = {
            "command": command,
            "mounts": [{"target": path, "source": source, "read_only": True} for path, source in sources],
            "options": {"env": environment, "runtime": runtime},
        }
        traps = with_traps(open_directory / f"traps-{kind}-{runtime}", devices=kind == "root")
        if kind == "root":
            layers = [str(layer), str(traps)]
            whole = json.dumps({**job, "layers": layers, "container": str(tmp_path / "c")})
            done = subprocess.run(
                [sys.executable, str(Path(driver.__file__)), whole],
                capture_output=True, text=True, check=True, timeout=50, env={**os.environ, "SECRET": "leaks"},
            )  # fmt: skip
            answer = json.loads(done.stdout)
        else:
            for path in (traps, *traps.rglob("*")):
                os.chown(path, 65534, 65534)
            (traps / "setuid" / "sh").chmod(0o4755)  # an owner that changes takes it away
            answer = caged(kind, *job.pop("command"), above=[str(traps)], **job)
        assert answer["rung"] == {"root": "namespaces"}.get(kind, "user-namespaces"), answer
        assert answer.get("out"), answer
        _FOUND[kind, runtime] = json.loads(answer["out"])
    return _FOUND[kind, runtime]


@pytest.mark.root
@pytest.mark.parametrize("name", list(probes.PROBES))
def test_no_attempt_succeeds(outcomes: Outcomes, name: str) -> None:
    """It was made, and held."""
    if name in OTHERWISE and outcomes not in [_FOUND.get((kind, "native")) for kind in KINDS]:
        pytest.skip(OTHERWISE[name])
    assert outcomes[name] == "held"
