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

NEED_A_FILTER = (
    "call_a_call_of_x32",
    "call_a_call_that_is_newer_than_the_list",
    "call_keyctl",
    "call_unshare_a_user_namespace",
    "a_call_of_32_bits",
    "do_without_the_filter",
)
"""What nothing else holds, for root in a container; among it all that is answered in more than one way."""

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
        job = attempts({"runtime": runtime})
        traps = with_traps(open_directory / f"traps-{kind}-{runtime}", devices=kind == "root")
        if kind == "root":
            answer = as_root_outside(job, [layer, traps], tmp_path / "c")
        else:
            for path in (traps, *traps.rglob("*")):
                os.chown(path, 65534, 65534)
            (traps / "setuid" / "sh").chmod(0o4755)  # an owner that changes takes it away
            answer = caged(kind, *job.pop("command"), above=[str(traps)], **job)
        assert answer["rung"] == {"root": "namespaces"}.get(kind, "user-namespaces"), answer
        _FOUND[kind, runtime] = found_in(answer)
    return _FOUND[kind, runtime]


def attempts(options: dict[str, Any]) -> dict[str, Any]:
    """The job of making them all, in a container with these options."""
    command, environment, directories = python()
    sources = (*((path, path) for path in directories), ("/probes.py", str(PROGRAM)))
    return {
        "command": command,
        "mounts": [{"target": path, "source": source, "read_only": True} for path, source in sources],
        "options": {"env": environment, **options},
    }


def as_root_outside(job: dict[str, Any], layers: list[Path], container: Path) -> dict[str, Any]:
    """What comes of a job that root gives, in whose environment something is secret."""
    whole = json.dumps({**job, "layers": [str(layer) for layer in layers], "container": str(container)})
    done = subprocess.run(
        [sys.executable, str(Path(driver.__file__)), whole],
        capture_output=True, text=True, check=True, timeout=50, env={**os.environ, "SECRET": "leaks"},
    )  # fmt: skip
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def found_in(answer: dict[str, Any]) -> Outcomes:
    """What the program said."""
    assert answer.get("out"), answer
    found: Outcomes = json.loads(answer["out"])
    return found


@pytest.mark.root
@pytest.mark.parametrize("name", list(probes.PROBES))
def test_no_attempt_succeeds(outcomes: Outcomes, name: str) -> None:
    """It was made, and held."""
    assert outcomes[name] == "held"


@pytest.mark.root
@pytest.mark.skipif(not probes.IS_X86, reason="its numbers are those of x86-64")
def test_what_only_the_filter_holds_is_not_held_without_it(
    layer: Path, tmp_path: Path, as_root: None
) -> None:
    """So it is the filter that answers with whichever code, and the kernel is not asked."""
    answer = as_root_outside(attempts({"security": ["seccomp=unconfined"]}), [layer], tmp_path / "c")
    found = found_in(answer)
    assert {name: found[name] for name in NEED_A_FILTER} == dict.fromkeys(NEED_A_FILTER, "ESCAPED")
