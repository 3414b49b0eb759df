"""The spec has the fields of the OCI runtime-spec (config.md, config-linux.md), with their types, and no others."""

from __future__ import annotations

from typing import Any

import pytest

from aiodocker_lite.options import Mount, RunOptions
from tests.bundle.test_spec import spec

RULE = {"allow": bool, "type": str, "major": int, "minor": int, "access": str}
MAPPING = {"containerID": int, "hostID": int, "size": int}
DEVICE = {"type": str, "path": str, "major": int, "minor": int, "fileMode": int, "uid": int, "gid": int}
ARGUMENT = {"index": int, "value": int, "valueTwo": int, "op": str}
CALL = {"names": [str], "action": str, "errnoRet": int, "args": [ARGUMENT]}
CPU = {"shares": int, "quota": int, "period": int, "cpus": str, "mems": str}
SHAPE: dict[str, Any] = {
    "ociVersion": str, "hostname": str, "domainname": str, "annotations": {"*": str},
    "root": {"path": str, "readonly": bool},
    "process": {
        "terminal": bool, "consoleSize": {"height": int, "width": int}, "args": [str], "env": [str], "cwd": str,
        # The name is in the specification, for other systems than Linux.
        "user": {"uid": int, "gid": int, "additionalGids": [int], "username": str},
        "capabilities": {"*": [str]}, "noNewPrivileges": bool, "oomScoreAdj": int,
        "rlimits": [{"type": str, "soft": int, "hard": int}],
    },
    "mounts": [{"destination": str, "type": str, "source": str, "options": [str]}],
    "linux": {
        "namespaces": [{"type": str, "path": str}], "uidMappings": [MAPPING], "gidMappings": [MAPPING],
        "devices": [DEVICE], "cgroupsPath": str, "maskedPaths": [str], "readonlyPaths": [str], "sysctl": {"*": str},
        "resources": {
            "devices": [RULE], "memory": {"limit": int, "reservation": int, "swap": int}, "cpu": CPU, "pids": {"limit": int},
        },
        "seccomp": {"defaultAction": str, "defaultErrnoRet": int, "architectures": [str], "flags": [str], "syscalls": [CALL]},
    },
}  # fmt: skip


def check(value: Any, shape: Any, where: str) -> None:
    """Fails at the first field that is not of the specification."""
    if isinstance(shape, dict):
        assert isinstance(value, dict), where
        for name, one in value.items():
            assert "*" in shape or name in shape, f"{where}.{name}"
            check(one, shape.get("*", shape.get(name)), f"{where}.{name}")
    elif isinstance(shape, list):
        assert isinstance(value, list), where
        for number, one in enumerate(value):
            check(one, shape[0], f"{where}[{number}]")
    else:
        assert type(value) is shape, f"{where} is {value!r}"


@pytest.mark.parametrize(
    "options",
    [
        RunOptions(),
        RunOptions(privileged=True),
        RunOptions(
            mounts=(Mount("/scratch"),), ulimits=("nofile=50:60",), devices=("/dev/full:/dev/full2",), cpu_shares=500,
            sysctls={"kernel.msgmax": "9000"}, domainname="x", memory=64 << 20, cpus=0.5, pids_limit=20, init=True,
            oom_score_adj=100, stop_signal="SIGINT", read_only=True,
        ),
    ],
    ids=["plain", "privileged", "many"],
)  # fmt: skip
def test_the_spec_has_no_field_of_its_own(options: RunOptions) -> None:
    """Whatever is asked for."""
    check(spec("/bin/sh", options=options), SHAPE, "spec")
